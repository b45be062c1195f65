"""Noise behind batch norm whose distribution changes at every step (Santurkar et al. 2018, arXiv:1805.11604, app. A).

It undoes what batch norm was once said to be for, steady means and variances of a layer's inputs, and leaves the rest.
Where the source speaks of a unit it is a feature here, or a channel.
"""

import torch
from torch import Tensor, nn

from bnexp.draws import SeedDraws
from bnexp.nn.layout import Activations, draws_for

MEAN, SCALE = 0.5, 1.25
"""A unit's mean is drawn from ±MEAN at every step, its scale from 1 to SCALE."""
SPREAD = 0.1
"""Around them an activation's own mean is uniform within ±SPREAD, and its scale normal with this deviation."""


class Noise(nn.Module):
    """In training, x becomes s·x + m with s and m of every activation's own, the same in all trials of a seed.

    A step draws, in this order: uniforms of the units' means, uniforms of their scales (both (C,)), then uniforms of
    the means and normals of the scales of all activations, (B, C) or (B, H, W, C).

    Args:
        trials: K.
        features: C.
        draws: where the random numbers come from.
    """

    def __init__(self, trials: int, features: int, draws: SeedDraws):
        super().__init__()
        # Only for its shape: buffers are cut with the trials.
        self.register_buffer("like_KC", torch.zeros(trials, features), persistent=False)
        self.draws = draws

    like_KC: Tensor

    def forward(self, x: Activations) -> Activations:
        """Add the noise in training; return the input in evaluation."""
        if not self.training:
            return x
        trials, features = self.like_KC.shape
        mean_KC = MEAN * (2 * self.draws.uniform("noise", features) - 1)
        scale_KC = 1 + (SCALE - 1) * self.draws.uniform("noise", features)
        uniform = draws_for(x, trials, lambda *shape: self.draws.uniform("noise", *shape))
        normal = draws_for(x, trials, lambda *shape: self.draws.normal("noise", *shape))
        mean = _per_feature(mean_KC, x) + SPREAD * (2 * uniform - 1)
        scale = _per_feature(scale_KC, x) + SPREAD * normal
        return x * scale.to(x.dtype) + mean.to(x.dtype)


def _per_feature(numbers_KC: Tensor, x: Tensor) -> Tensor:
    return numbers_KC[:, None] if x.ndim == 3 else numbers_KC.flatten()[:, None, None]
