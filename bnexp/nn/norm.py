"""Normalisation layers for K trials at once: batch, layer and group norm.

Batch norm: Ioffe & Szegedy 2015, arXiv:1502.03167. Layer norm: Ba et al. 2016, arXiv:1607.06450.
Group norm: Wu & He 2018, arXiv:1803.08494. Initialising them draws nothing: γ = 1, β = 0.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config.model import NormSettings


class Norm(nn.Module):
    """What all kinds share: γ and β of every trial and feature, each learned or fixed at 1 and 0.

    Attributes:
        gamma, beta: (K, C).
    """

    gamma: Tensor
    beta: Tensor

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__()
        self.eps = settings.eps
        for name, start in (("gamma", torch.ones(trials, features)), ("beta", torch.zeros(trials, features))):
            if settings.affine in ("both", name):
                setattr(self, name, nn.Parameter(start))
            else:
                self.register_buffer(name, start, persistent=False)

    def scale_and_shift(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        """Return γ x + β."""
        return torch.addcmul(self.beta[:, None], x_KBC, self.gamma[:, None])


class BatchNorm(Norm):
    """Normalises every feature of every trial over the batch; running statistics in evaluation.

    One library call over K·C channels, so each trial's statistics are exactly what it would have alone.
    As in PyTorch the batch is normalised with the biased variance, the unbiased one is averaged, and
    `momentum` weights the new value.

    Attributes:
        running_mean, running_var: (K, C), starting at 0 and 1.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__(trials, features, settings)
        self.momentum = settings.momentum
        self.register_buffer("running_mean", torch.zeros(trials, features))
        self.register_buffer("running_var", torch.ones(trials, features))

    def forward(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        """Normalise with the batch's statistics and update the running ones, or use those in evaluation.

        Raises:
            ValueError: a batch of one in training mode.
        """
        trials, batch, features = x_KBC.shape
        y_1XB = F.batch_norm(
            x_KBC.mT.reshape(1, trials * features, batch),
            self.running_mean.view(-1),
            self.running_var.view(-1),
            self.gamma.reshape(-1),
            self.beta.reshape(-1),
            self.training,
            self.momentum,
            self.eps,
        )
        return y_1XB.view(trials, features, batch).mT


class LayerNorm(Norm):
    """Normalises every sample over its features; the same in training and evaluation."""

    def forward(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        """Normalise over C."""
        return self.scale_and_shift(F.layer_norm(x_KBC, x_KBC.shape[-1:], eps=self.eps))


class GroupNorm(Norm):
    """Normalises every sample over groups of neighbouring features."""

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__(trials, features, settings)
        self.shape = (settings.groups, features // settings.groups)

    def forward(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        """Normalise over each group's features."""
        grouped = F.layer_norm(x_KBC.unflatten(-1, self.shape), self.shape[-1:], eps=self.eps)
        return self.scale_and_shift(grouped.flatten(-2))


NORMS: dict[str, type[Norm]] = {"batch": BatchNorm, "layer": LayerNorm, "group": GroupNorm}
"""Norm layers by the name in model.norm.kind."""
