"""Fixup's scalars: one learned number a trial, added to all activations or multiplied with them.

One number serves a whole layer, and its gradient sums up over all of it: as in the program of Zhang et al. 2019 it
learns at a tenth of the rate of the weights. Here it is √(1/10) of a parameter, which under SGD, with momentum too,
comes to the same: the gradient shrinks by that factor, and so does what the step makes of it. At the full rate a
ResNet-110 (width 4, rate 0.1, CIFAR-10) stayed at chance; so it reached 23 % of its training images in 120 steps.
"""

import torch
from torch import nn

from bnexp.nn.layout import Activations, per_trial

SHARE = 0.1**0.5
"""Of a parameter's change, what its scalar changes by."""


class ScalarBias(nn.Module):
    """x + b, with b = 0 at the start.

    Attributes:
        bias: (K, 1); b is SHARE times that.
    """

    def __init__(self, trials: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(trials, 1))

    def forward(self, x: Activations) -> Activations:
        """Add each trial's number."""
        return x + per_trial(SHARE * self.bias[:, 0], x).to(x.dtype)


class ScalarMultiplier(nn.Module):
    """a·x, with a = 1 at the start.

    Attributes:
        factor: (K, 1); a − 1 is SHARE times factor − 1.
    """

    def __init__(self, trials: int):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(trials, 1))

    def forward(self, x: Activations) -> Activations:
        """Multiply with each trial's number."""
        return x * per_trial(1 + SHARE * (self.factor[:, 0] - 1), x).to(x.dtype)
