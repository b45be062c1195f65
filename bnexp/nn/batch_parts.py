"""The parts of batch norm by themselves: subtracting the batch's mean alone, and dividing by its deviation alone.

Mean-only batch norm: Salimans & Kingma 2016, arXiv:1602.07868, section 4, where β is learned and γ belongs to the
weights.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.nn.norm import RunningNorm, scale_channels
from bnexp.nn.plain_layers import Converter, ScaleAndShift, layer_from_state


class _Part(RunningNorm):
    """Base of both: a scale and a shift of every channel, which in evaluation are fixed."""

    def normalize(self, x: Float[Tensor, "_ D *places"]) -> Float[Tensor, "_ D *places"]:
        if self.training and x.numel() == x.shape[1]:
            raise ValueError(f"expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
        scale_D, shift_D = self._from_batch(x) if self.training else self._from_averages()
        return scale_channels(x, scale_D, shift_D)

    def _from_batch(self, x: Float[Tensor, "_ D *places"]) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        """Return scale and shift by the statistics of the batch, of which the running ones learn."""
        raise NotImplementedError

    def _from_averages(self) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        """Return scale and shift by the running statistics."""
        raise NotImplementedError

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        scale_D, shift_D = self._from_averages()
        yield layer_from_state(ScaleAndShift, {"weight": scale_D, "bias": shift_D}, len(scale_D))


class MeanNorm(_Part):
    """γ (x − μ) + β with the mean μ of the batch.

    Attributes:
        running_mean: (K, C), starting at 0.
    """

    starts: ClassVar = {"running_mean": 0.0}
    running_mean: Tensor

    def _from_batch(self, x: Float[Tensor, "_ D *places"]) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        mean_D = _mean(x.to(self.gamma.dtype))
        self.running_mean.view(-1).lerp_(mean_D.detach(), self.momentum)
        return self._around(mean_D)

    def _from_averages(self) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        return self._around(self.running_mean.view(-1))

    def _around(self, mean_D: Float[Tensor, " D"]) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        gamma_D = self.gamma.flatten()
        return gamma_D, torch.addcmul(self.beta.flatten(), gamma_D, mean_D, value=-1)


class VarianceNorm(_Part):
    """γ x / √(σ² + ε) + β: σ² is the variance around the batch's mean, but the mean stays where it is.

    The biased variance normalises, and the unbiased one is averaged, as in batch norm.

    Attributes:
        running_var: (K, C), starting at 1.
    """

    starts: ClassVar = {"running_var": 1.0}
    running_var: Tensor

    def _from_batch(self, x: Float[Tensor, "_ D *places"]) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        whole, samples = x.to(self.gamma.dtype), x.numel() // x.shape[1]
        centred = whole - _mean(whole).view(-1, *(1 for _ in x.shape[2:]))
        var_D = _mean(centred * centred)
        self.running_var.view(-1).lerp_(var_D.detach() * (samples / (samples - 1)), self.momentum)
        return self._divided(var_D)

    def _from_averages(self) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        return self._divided(self.running_var.view(-1))

    def _divided(self, var_D: Float[Tensor, " D"]) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        return self.gamma.flatten() * (var_D + self.eps).rsqrt(), self.beta.flatten()


def _mean(x: Float[Tensor, "_ D *places"]) -> Float[Tensor, " D"]:
    """Return every channel's mean; the gradient of `Tensor.mean` fills a tensor, in another order than the images'."""
    mean_D: Tensor = x.sum((0, *range(2, x.ndim))) * (x.shape[1] / x.numel())
    return mean_D
