"""Norms that look at one image at a time: group, layer, instance and RMS norm, the same in training and evaluation.

Group norm: Wu & He 2018, arXiv:1803.08494. Layer norm: Ba et al. 2016, arXiv:1607.06450. Instance norm: Ulyanov et al.
2016, arXiv:1607.08022. RMS norm: Zhang & Sennrich 2019, arXiv:1910.07467.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config.norm import NormSettings
from bnexp.nn import plain_layers
from bnexp.nn.norm import Norm, scale_channels
from bnexp.nn.plain_layers import Converter, layer_from_state


class GroupNorm(Norm):
    """Normalises every sample over groups of neighbouring features, and in images over all places.

    The same in training and evaluation.
    """

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__(trials, features, settings)
        self.groups = settings.groups

    def features(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        x_KBGg = x_KBC.unflatten(-1, (self.groups, -1))
        return self.scale_and_shift(F.layer_norm(x_KBGg, x_KBGg.shape[-1:], eps=self.eps).flatten(-2))

    def images(self, x_BDHW: Float[Tensor, "B D H W"]) -> Float[Tensor, "B D H W"]:
        groups = len(self.gamma) * self.groups
        y_BDHW = F.group_norm(x_BDHW, groups, self.gamma.flatten(), self.beta.flatten(), self.eps)
        return y_BDHW.contiguous(memory_format=torch.channels_last)  # which it isn't on a GPU

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        features = self.gamma.shape[1]
        yield layer_from_state(nn.GroupNorm, self._scale_and_shift_state(), self.groups, features, eps=self.eps)


class LayerNorm(GroupNorm):
    """Normalises every sample over all its features, and in images over all places: a single group."""

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__(trials, features, settings.model_copy(update={"groups": 1}))

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        if to.images:
            yield from super().to_torch(to)
        else:
            features = self.gamma.shape[1]
            yield layer_from_state(nn.LayerNorm, self._scale_and_shift_state(), features, eps=self.eps)


class InstanceNorm(Norm):
    """Normalises every channel of every image over its places, with the biased variance.

    On a CPU this took a third of the time of F.group_norm with as many groups as channels.
    """

    def images(self, x_BDHW: Float[Tensor, "B D H W"]) -> Float[Tensor, "B D H W"]:
        whole_BDHW, places = x_BDHW.to(self.gamma.dtype), x_BDHW.shape[2] * x_BDHW.shape[3]
        centred_BDHW = whole_BDHW - whole_BDHW.sum((2, 3), keepdim=True) / places
        var_BD11 = (centred_BDHW * centred_BDHW).sum((2, 3), keepdim=True) / places
        y_BDHW = centred_BDHW * (var_BD11 + self.eps).rsqrt()
        return scale_channels(y_BDHW, self.gamma.flatten(), self.beta.flatten()).to(x_BDHW.dtype)

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        features = self.gamma.shape[1]
        yield layer_from_state(nn.InstanceNorm2d, self._scale_and_shift_state(), features, eps=self.eps, affine=True)


class RMSNorm(Norm):
    """Divides every image by the root of its mean square over all features, and in images over all places.

    The source has no β; norm.affine: gamma leaves it out.
    """

    def features(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        trials, batch, features = x_KBC.shape
        whole_KBC = x_KBC.to(self.gamma.dtype)
        square_KB1 = (whole_KBC * whole_KBC).sum(-1, keepdim=True) / features
        y_1DB = (whole_KBC * (square_KB1 + self.eps).rsqrt()).mT.reshape(1, trials * features, batch)
        y_1DB = scale_channels(y_1DB, self.gamma.flatten(), self.beta.flatten())
        return y_1DB.view(trials, features, batch).mT.to(x_KBC.dtype)

    def images(self, x_BDHW: Float[Tensor, "B D H W"]) -> Float[Tensor, "B D H W"]:
        trials, features = self.gamma.shape
        whole_BDHW, numbers = x_BDHW.to(self.gamma.dtype), features * x_BDHW.shape[2] * x_BDHW.shape[3]
        square_BKC = (whole_BDHW * whole_BDHW).sum((2, 3)).unflatten(1, (trials, features))
        factor_BK1 = (square_BKC.sum(2, keepdim=True) / numbers + self.eps).rsqrt()
        y_BDHW = whole_BDHW * factor_BK1.expand_as(square_BKC).flatten(1)[..., None, None]
        return scale_channels(y_BDHW, self.gamma.flatten(), self.beta.flatten()).to(x_BDHW.dtype)

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        features = self.gamma.shape[1]
        yield layer_from_state(plain_layers.RMSNorm, self._scale_and_shift_state(), features, eps=self.eps)
