"""Gradient clipping, every trial by its own gradient and thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.config.train import ClipSettings
from bnexp.nn.build import weight_layers
from bnexp.nn.shards import Matrices

ADAPTIVE_EPS = 1e-3
"""A unit's norm counts as this much at least under adaptive clipping, so that weights of 0 can grow."""


@dataclass(frozen=True)
class Clipping:
    """Thresholds of K trials; infinity where a trial doesn't clip, None where none does."""

    value_K1: Float[Tensor, "K 1"] | None
    norm_per_tensor_K1: Float[Tensor, "K 1"] | None
    norm_global_K1: Float[Tensor, "K 1"] | None
    adaptive_K1: Float[Tensor, "K 1"] | None
    units: Sequence[Float[Tensor, "K _ _"] | None]
    """The parameters with a row for each unit, for adaptive clipping; None for the output layer, which isn't
    clipped."""

    @classmethod
    def of(cls, settings: Sequence[ClipSettings], network: nn.Module) -> "Clipping":
        """Collect the settings of K trials on the device and in the precision of their network's parameters."""
        like = next(network.parameters())

        def column(name: str) -> Tensor | None:
            given = [getattr(clip, name) for clip in settings]
            limits = [float("inf") if limit is None else limit for limit in given]
            return None if given.count(None) == len(given) else like.new_tensor(limits)[:, None]

        adaptive_K1 = column("adaptive")
        limits = column("value"), column("norm_per_tensor"), column("norm_global")
        return cls(*limits, adaptive_K1, () if adaptive_K1 is None else _units(network))

    def __call__(self, gradient: Matrices) -> Matrices:
        """Return the gradient clipped by value, then by each tensor's norm, then by the global norm; or adaptively.

        An infinite component is clamped like any large one. A gradient without a finite norm can't be scaled to one: it
        becomes NaN, so that the trial diverges instead of standing still on a gradient of zero.
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
        if self.adaptive_K1 is not None:
            pairs = zip(gradient, self.units, strict=True)
            gradient = [g_KP if unit is None else _adapted(g_KP, unit, self.adaptive_K1) for g_KP, unit in pairs]
        return gradient


def _norms(gradient: Matrices) -> list[Float[Tensor, "K 1"]]:
    return [torch.linalg.vector_norm(grad_KP, dim=1, keepdim=True) for grad_KP in gradient]


def _factor(norm_K1: Float[Tensor, "K 1"], limit_K1: Float[Tensor, "K 1"]) -> Float[Tensor, "K 1"]:
    # The 1e-6 is torch.nn.utils.clip_grad_norm_'s; Keras' clipnorm has none. Where there is no limit, ∞/∞ must not make
    # a NaN.
    factor_K1 = torch.where(norm_K1.isinf(), torch.nan, limit_K1 / (norm_K1 + 1e-6))
    return torch.where(limit_K1.isinf(), 1.0, factor_K1).clamp(max=1.0)


def _units(network: nn.Module) -> Sequence[Float[Tensor, "K _ _"] | None]:
    """Return each parameter with a row for each output unit; a vector, such as a bias, is one unit as a whole."""
    output = {id(theta) for layer in weight_layers(network)[-1:] for theta in layer.parameters(recurse=False)}
    return [
        None if id(theta) in output else theta.detach().view(len(theta), theta.shape[1] if theta.ndim > 2 else 1, -1)
        for theta in network.parameters()
    ]


def _adapted(
    grad_KP: Float[Tensor, "K P"], theta_KUI: Float[Tensor, "K U _"], limit_K1: Float[Tensor, "K 1"]
) -> Float[Tensor, "K P"]:
    """Scale the gradient of each unit down to λ max(‖W_unit‖, ε) (Brock et al. 2021, arXiv:2102.06171, equation 3)."""
    grad_KUI = grad_KP.reshape(theta_KUI.shape)
    norm_KU = torch.linalg.vector_norm(grad_KUI, dim=2)
    most_KU = limit_K1 * torch.linalg.vector_norm(theta_KUI, dim=2).clamp(min=ADAPTIVE_EPS)
    factor_KU = torch.where(norm_KU.isinf(), torch.nan, most_KU / norm_KU)
    # Without a limit, nothing is larger than infinity.
    factor_KU = torch.where(norm_KU > most_KU, factor_KU, 1.0)
    return (grad_KUI * factor_KU[..., None]).flatten(1)
