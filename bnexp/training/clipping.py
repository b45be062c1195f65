"""Gradient clipping, every trial by its own gradient and thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bnexp.config.train import ClipSettings


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

    def __call__(self, grad_KP: Float[Tensor, "K P"], sizes: Sequence[int]) -> Float[Tensor, "K P"]:
        """Return the gradient clipped by value, then by the norm of each tensor, then by the global norm.

        Args:
            grad_KP: the gradient of every trial.
            sizes: numbers per trial of each parameter tensor, in the order of the columns.
        """
        if self.value_K1 is not None:
            grad_KP = grad_KP.clamp(-self.value_K1, self.value_K1)
        if self.norm_per_tensor_K1 is not None:
            parts = grad_KP.split(list(sizes), dim=1)
            grad_KP = torch.cat([_shrink(part, self.norm_per_tensor_K1) for part in parts], dim=1)
        if self.norm_global_K1 is not None:
            grad_KP = _shrink(grad_KP, self.norm_global_K1)
        return grad_KP


def _shrink(grad_KP: Float[Tensor, "K P"], limit_K1: Float[Tensor, "K 1"]) -> Float[Tensor, "K P"]:
    # The 1e-6 is torch.nn.utils.clip_grad_norm_'s; where there is no limit, ∞/∞ must not make a NaN.
    norm_K1 = torch.linalg.vector_norm(grad_KP, dim=1, keepdim=True)
    factor_K1 = torch.where(limit_K1.isinf(), 1.0, limit_K1 / (norm_K1 + 1e-6)).clamp(max=1.0)
    return grad_KP * factor_K1
