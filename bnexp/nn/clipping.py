"""Gradient clipping, every trial by its own gradient and thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bnexp.config.train import ClipSettings
from bnexp.nn.shards import Matrices


@dataclass(frozen=True)
class Clipping:
    """Thresholds of K trials; infinity where a trial doesn't clip, None where none does."""

    value_K1: Float[Tensor, "K 1"] | None
    norm_per_tensor_K1: Float[Tensor, "K 1"] | None
    norm_global_K1: Float[Tensor, "K 1"] | None

    @classmethod
    def of(cls, settings: Sequence[ClipSettings], like: Tensor) -> "Clipping":
        """Collect the trials' settings on the device and in the precision of a tensor."""

        def column(name: str) -> Tensor | None:
            given = [getattr(clip, name) for clip in settings]
            limits = [float("inf") if limit is None else limit for limit in given]
            return None if given.count(None) == len(given) else like.new_tensor(limits)[:, None]

        return cls(column("value"), column("norm_per_tensor"), column("norm_global"))

    def __call__(self, gradient: Matrices) -> Matrices:
        """Return the gradient clipped by value, then by the norm of each tensor, then by the global norm.

        An infinite component is clamped like any large one. What has no finite norm can't be shrunk to one: it becomes
        NaN, so that the trial diverges, and doesn't stand still on a gradient of zero.
        """
        if self.value_K1 is not None:
            gradient = [grad_KP.clamp(-self.value_K1, self.value_K1) for grad_KP in gradient]
        if self.norm_per_tensor_K1 is not None:
            factors = [_factor(norm_K1, self.norm_per_tensor_K1) for norm_K1 in _norms(gradient)]
            gradient = [grad_KP * factor_K1 for grad_KP, factor_K1 in zip(gradient, factors, strict=True)]
        if self.norm_global_K1 is not None:
            whole_K1 = torch.linalg.vector_norm(torch.cat(_norms(gradient), dim=1), dim=1, keepdim=True)
            factor_K1 = _factor(whole_K1, self.norm_global_K1)
            gradient = [grad_KP * factor_K1 for grad_KP in gradient]
        return gradient


def _norms(gradient: Matrices) -> list[Float[Tensor, "K 1"]]:
    return [torch.linalg.vector_norm(grad_KP, dim=1, keepdim=True) for grad_KP in gradient]


def _factor(norm_K1: Float[Tensor, "K 1"], limit_K1: Float[Tensor, "K 1"]) -> Float[Tensor, "K 1"]:
    # The 1e-6 is torch.nn.utils.clip_grad_norm_'s; Keras' clipnorm has none. Where there is no limit, ∞/∞ must not make
    # a NaN.
    factor_K1 = torch.where(norm_K1.isinf(), torch.nan, limit_K1 / (norm_K1 + 1e-6))
    return torch.where(limit_K1.isinf(), 1.0, factor_K1).clamp(max=1.0)
