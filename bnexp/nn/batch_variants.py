"""Variants of batch norm: its mean alone, its deviation alone, and batch renormalization.

Mean-only batch norm: Salimans & Kingma 2016, arXiv:1602.07868, section 4, where β is learned and γ belongs to the
weights. Batch renormalization: Ioffe 2017, arXiv:1702.03275, algorithm 1.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config.norm import NormSettings
from bnexp.nn.norm import RunningNorm, scale_channels
from bnexp.nn.plain_layers import Converter, ScaleAndShift, layer_from_state

PerChannel = tuple[Float[Tensor, " D"], Float[Tensor, " D"]]
"""Scale and shift."""


class _Variant(RunningNorm):
    """Base of all: in evaluation a fixed scale and shift of every channel."""

    def normalize(self, x: Float[Tensor, "_ D *places"]) -> Float[Tensor, "_ D *places"]:
        if not self.training:
            return scale_channels(x, *self.in_evaluation())
        if x.numel() == x.shape[1]:
            raise ValueError(f"expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
        return self.in_training(x)

    def in_training(self, x: Float[Tensor, "_ D *places"]) -> Float[Tensor, "_ D *places"]:
        """Normalise by the statistics of the batch, and update the running ones."""
        raise NotImplementedError

    def in_evaluation(self) -> PerChannel:
        """Return scale and shift by the running statistics."""
        raise NotImplementedError

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        scale_D, shift_D = self.in_evaluation()
        yield layer_from_state(ScaleAndShift, {"weight": scale_D, "bias": shift_D}, len(scale_D))


class MeanNorm(_Variant):
    """γ (x − μ) + β with the mean μ of the batch.

    Attributes:
        running_mean: (K, C), starting at 0.
    """

    starts: ClassVar = {"running_mean": 0.0}
    running_mean: Tensor

    def in_training(self, x: Float[Tensor, "_ D *places"]) -> Float[Tensor, "_ D *places"]:
        mean_D = _mean(x.to(self.gamma.dtype))
        self.running_mean.view(-1).lerp_(mean_D.detach(), self.momentum)
        return scale_channels(x, *self._around(mean_D))

    def in_evaluation(self) -> PerChannel:
        return self._around(self.running_mean.view(-1))

    def _around(self, mean_D: Float[Tensor, " D"]) -> PerChannel:
        gamma_D = self.gamma.flatten()
        return gamma_D, torch.addcmul(self.beta.flatten(), gamma_D, mean_D, value=-1)


class VarianceNorm(_Variant):
    """γ x / √(σ² + ε) + β: σ² is the variance around the batch's mean, but the mean stays where it is.

    The biased variance normalises, and the unbiased one is averaged, as in batch norm.

    Attributes:
        running_var: (K, C), starting at 1.
    """

    starts: ClassVar = {"running_var": 1.0}
    running_var: Tensor

    def in_training(self, x: Float[Tensor, "_ D *places"]) -> Float[Tensor, "_ D *places"]:
        whole, samples = x.to(self.gamma.dtype), x.numel() // x.shape[1]
        centred = whole - _mean(whole).view(-1, *(1 for _ in x.shape[2:]))
        var_D = _mean(centred * centred)
        self.running_var.view(-1).lerp_(var_D.detach() * (samples / (samples - 1)), self.momentum)
        return scale_channels(x, *self._divided(var_D))

    def in_evaluation(self) -> PerChannel:
        return self._divided(self.running_var.view(-1))

    def _divided(self, var_D: Float[Tensor, " D"]) -> PerChannel:
        return self.gamma.flatten() * (var_D + self.eps).rsqrt(), self.beta.flatten()


def _mean(x: Float[Tensor, "_ D *places"]) -> Float[Tensor, " D"]:
    """Return every channel's mean; the gradient of `Tensor.mean` fills a tensor, in another order than the images'."""
    mean_D: Tensor = x.sum((0, *range(2, x.ndim))) * (x.shape[1] / x.numel())
    return mean_D


class Renorm(_Variant):
    """γ (r (x − μ_B) / σ_B + d) + β with the batch's mean μ_B and deviation σ_B = √(σ²_B + ε).

    r = σ_B / σ and d = (μ_B − μ) / σ with the running μ and σ: a batch is normalised as in evaluation, as far as the
    limits permit. r stays within 1/r_max and r_max, d within ±d_max. No gradient passes through r and d.

    Attributes:
        running_mean: (K, C), starting at 0.
        running_std: (K, C), starting at 1: the average of σ_B.
        limits: r_max and d_max in force, (K, 2); 1 and 0 at first, with which this is batch norm.
    """

    starts: ClassVar = {"running_mean": 0.0, "running_std": 1.0}
    running_mean: Tensor
    running_std: Tensor
    limits: Tensor
    averages_in_training = True

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__(trials, features, settings)
        self.register_buffer("limits", torch.ones(trials, 2), persistent=False)
        self.reset_running_stats()

    @property
    def running_var(self) -> Float[Tensor, "K C"]:
        """The variance that evaluation divides by, without ε."""
        return (self.running_std.square() - self.eps).clamp(min=0)

    def reset_running_stats(self) -> None:
        super().reset_running_stats()
        self.limit(1.0, 0.0)

    def limit(self, r_max: float | Float[Tensor, ""], d_max: float | Float[Tensor, ""]) -> None:
        """Set the limits."""
        self.limits[..., 0] = r_max
        self.limits[..., 1] = d_max

    def in_training(self, x: Float[Tensor, "_ D *places"]) -> Float[Tensor, "_ D *places"]:
        with torch.no_grad():
            r_D, d_D = self._corrections(x)
        gamma_D = self.gamma.flatten()
        shift_D = torch.addcmul(self.beta.flatten(), gamma_D, d_D)
        return F.batch_norm(x, None, None, gamma_D * r_D, shift_D, training=True, eps=self.eps)

    def _corrections(self, x: Float[Tensor, "_ D *places"]) -> PerChannel:
        """Return r and d, and update the running statistics with the batch."""
        mean_D, var_D = self.gamma.new_zeros(2, x.shape[1])
        # With a momentum of 1, the arguments end up as the statistics of this batch alone.
        F.batch_norm(x, mean_D, var_D, training=True, momentum=1.0, eps=self.eps)
        samples = x.numel() // x.shape[1]
        std_D = (var_D * ((samples - 1) / samples) + self.eps).sqrt()
        running_mean_D, running_std_D = self.running_mean.view(-1), self.running_std.view(-1)
        r_max_D, d_max_D = (each_K.repeat_interleave(self.gamma.shape[1]) for each_K in self.limits.unbind(-1))
        r_D = (std_D / running_std_D).clamp(1 / r_max_D, r_max_D)
        d_D = ((mean_D - running_mean_D) / running_std_D).clamp(-d_max_D, d_max_D)
        running_mean_D.lerp_(mean_D, self.momentum)
        running_std_D.lerp_(std_D, self.momentum)
        return r_D, d_D

    def in_evaluation(self) -> PerChannel:
        scale_D = self.gamma.flatten() / self.running_std.view(-1)
        return scale_D, torch.addcmul(self.beta.flatten(), scale_D, self.running_mean.view(-1), value=-1)


class Relaxation:
    """Sets the limits of a network's renorm layers, update by update; does nothing if there are none.

    Args:
        network: the K networks of a group.
        settings: of their norm layers.
        updates: how many the whole training makes.
    """

    def __init__(self, network: nn.Module, settings: NormSettings, updates: int):
        self._norms = [layer for layer in network.modules() if isinstance(layer, Renorm)]
        self._settings, (self._start, *self._ends) = settings, settings.relaxed_at(updates)

    def __call__(self, step: Int[Tensor, ""]) -> None:
        """Set the limits of an update: they grow linearly from those of batch norm to those of the settings."""
        if not self._norms:
            return
        since = step.to(self._norms[0].limits.dtype) - self._start
        r_share, d_share = ((since / max(end - self._start, 1)).clamp(0, 1) for end in self._ends)
        for norm in self._norms:
            norm.limit(1 + (self._settings.r_max - 1) * r_share, self._settings.d_max * d_share)
