"""Dropout with a rate per trial and uniforms per seed, so that the arms of a seed drop the same units."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnexp.draws import SeedDraws
from bnexp.nn.layout import Activations, draws_for, per_trial


class Dropout(nn.Module):
    """Inverted dropout: in training, units whose uniform is below the trial's rate become 0, the rest grow.

    Args:
        rates: dropout probability of each of the K trials.
        draws: where the uniforms come from.
    """

    rate_K: Tensor
    gain_K: Tensor

    def __init__(self, rates: Sequence[float], draws: SeedDraws):
        super().__init__()
        self.draws = draws
        self.register_buffer("rate_K", torch.tensor(rates, dtype=torch.float32), persistent=False)
        self.register_buffer("gain_K", 1 / (1 - torch.tensor(rates, dtype=torch.float64)), persistent=False)

    def forward(self, x: Activations) -> Activations:
        """Drop units in training; return the input in evaluation."""
        if not self.training:
            return x
        uniforms = draws_for(x, len(self.rate_K), lambda *shape: self.draws.uniform("dropout", *shape))
        kept = uniforms >= per_trial(self.rate_K, x)
        return x * (kept * per_trial(self.gain_K, x)).to(x.dtype)
