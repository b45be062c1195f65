"""Fixup's scalars: one learned number a trial, added to all activations or multiplied with them."""

import torch
from torch import nn

from bnexp.nn.layout import Activations, per_trial


class ScalarBias(nn.Module):
    """x + b, with b = 0 at the start.

    Attributes:
        bias: (K, 1).
    """

    def __init__(self, trials: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(trials, 1))

    def forward(self, x: Activations) -> Activations:
        """Add each trial's number."""
        return x + per_trial(self.bias[:, 0], x).to(x.dtype)


class ScalarMultiplier(nn.Module):
    """a·x, with a = 1 at the start.

    Attributes:
        factor: (K, 1).
    """

    def __init__(self, trials: int):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(trials, 1))

    def forward(self, x: Activations) -> Activations:
        """Multiply with each trial's number."""
        return x * per_trial(self.factor[:, 0], x).to(x.dtype)
