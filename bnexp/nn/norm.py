"""Normalisation layers for K trials at once: batch, layer and group norm.

Batch norm: Ioffe & Szegedy 2015, arXiv:1502.03167. Layer norm: Ba et al. 2016, arXiv:1607.06450.
Group norm: Wu & He 2018, arXiv:1803.08494. Initialising them draws nothing: γ = 1 or what norm.gamma says,
β = 0.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config.norm import NormSettings
from bnexp.nn.layout import Activations


class Norm(nn.Module):
    """What all kinds share: γ and β of every trial and feature, each learned or fixed where it starts.

    Attributes:
        gamma, beta: (K, C).
    """

    gamma: Tensor
    beta: Tensor

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__()
        self.eps = settings.eps
        for name, start in (("gamma", settings.gamma), ("beta", 0.0)):
            # In float64, which the network then rounds to its own precision.
            start_KC = torch.full((trials, features), start, dtype=torch.float64)
            if settings.affine in ("both", name):
                setattr(self, name, nn.Parameter(start_KC))
            else:
                self.register_buffer(name, start_KC, persistent=False)

    def forward(self, x: Activations) -> Activations:
        """Normalise activations in either layout."""
        return self.features(x) if x.ndim == 3 else self.images(x)

    def features(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        """Normalise what fully connected layers hand on."""
        raise NotImplementedError

    def images(self, x_BDHW: Float[Tensor, "B D H W"]) -> Float[Tensor, "B D H W"]:
        """Normalise what convolutions hand on."""
        raise NotImplementedError

    def scale_and_shift(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        """Return γ x + β."""
        return torch.addcmul(self.beta[:, None], x_KBC, self.gamma[:, None])


class RunningNorm(Norm):
    """What kinds share that normalise over the batch: a running mean, and what else stands in for it in evaluation.

    `momentum` weights the new value.

    Attributes:
        running_mean: (K, C), starting at 0.
    """

    running_mean: Tensor

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__(trials, features, settings)
        self.momentum = settings.momentum
        self.register_buffer("running_mean", torch.zeros(trials, features))

    def forget(self) -> None:
        """Put the running statistics back to their start."""
        self.running_mean.zero_()


class BatchNorm(RunningNorm):
    """Normalises every feature of every trial over the batch and, in images, over all places.

    One library call over K·C channels, so each trial's statistics are exactly what it would have alone.
    As in PyTorch the batch is normalised with the biased variance, and the unbiased one is averaged.

    Attributes:
        running_var: (K, C), starting at 1.
        steps: parts of the samples that are normalised apart.
    """

    running_var: Tensor
    steps = 1

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__(trials, features, settings)
        self.register_buffer("running_var", torch.ones(trials, features))

    def forget(self) -> None:
        """Put the running statistics back to their start."""
        super().forget()
        self.running_var.fill_(1)

    def features(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        """Normalise with the batch's statistics and update the running ones, or use those in evaluation.

        Raises:
            ValueError: a batch of one in training mode.
        """
        trials, batch, features = x_KBC.shape
        y_1DB = self._normalize(x_KBC.mT.reshape(1, trials * features, batch))
        return y_1DB.view(trials, features, batch).mT

    def images(self, x_BDHW: Float[Tensor, "B D H W"]) -> Float[Tensor, "B D H W"]:
        """As features, over all places of the batch's images."""
        return self._normalize(x_BDHW)

    def _normalize(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x,
            self.running_mean.view(-1),
            self.running_var.view(-1),
            self.gamma.reshape(-1),
            self.beta.reshape(-1),
            self.training,
            self.momentum,
            self.eps,
        )


class GroupNorm(Norm):
    """Normalises every sample over groups of neighbouring features, and in images over all places.

    The same in training and evaluation.
    """

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__(trials, features, settings)
        self.groups = settings.groups

    def features(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        """Normalise over each group's features."""
        x_KBGg = x_KBC.unflatten(-1, (self.groups, -1))
        return self.scale_and_shift(F.layer_norm(x_KBGg, x_KBGg.shape[-1:], eps=self.eps).flatten(-2))

    def images(self, x_BDHW: Float[Tensor, "B D H W"]) -> Float[Tensor, "B D H W"]:
        """Normalise over each group's channels, H and W."""
        groups = len(self.gamma) * self.groups
        y_BDHW = F.group_norm(x_BDHW, groups, self.gamma.flatten(), self.beta.flatten(), self.eps)
        return y_BDHW.contiguous(memory_format=torch.channels_last)  # which it isn't on a GPU


class LayerNorm(GroupNorm):
    """Normalises every sample over all its features, and in images over all places: a single group."""

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__(trials, features, settings)
        self.groups = 1
