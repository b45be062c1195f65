"""Norm layers folded into the weights beside them: in evaluation, batch norm and whitening are fixed affine maps.

Behind a layer with weights, A (W x + b) + t is (A W) x + (A b + t) (Jacob et al. 2018, arXiv:1712.05877, section 3.2).
Ahead of one, W (A x + t) + b is (W A) x + (W t + b), but not where zeros are padded in between: they don't get the t.
Time steps share their weights, so what differs from step to step can't be folded into them.
Everything is folded, or nothing is.

Shapes: O outputs of a layer, C channels that enter or leave it, P places of its kernel, or of pictures made flat.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.nn.norm import Norm
from bnexp.nn.plain import plain
from bnexp.nn.plain_layers import Recurrent, Residual, Rows, Whitening
from bnexp.nn.step_norm import StepBatchNorm

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, Whitening)
"""Norm layers of plain networks."""

Weights = nn.Linear | nn.Conv2d


class Unfoldable(ValueError):  # noqa: N818 (no fault, an answer)
    """A network has a norm layer that can't be folded exactly, or has none; the text says which and why."""


@torch.no_grad()
def folded(network: nn.Module) -> nn.Sequential:
    """Return a copy of one trial's network in evaluation mode, as `plain` does, without its norm layers.

    The new weights are worked out in float64, and rounded to the type of the old.

    Args:
        network: an MLP, VGG, ResNet or RNN with K = 1.

    Raises:
        Unfoldable: one of the norm layers can't be folded exactly, or there is none.
    """
    _refuse_steps(network)
    made = plain(network)
    # In both networks the layers stand in the order of the data.
    names = [name for name, layer in network.named_modules() if isinstance(layer, Norm)]
    norms = [layer for layer in made.modules() if isinstance(layer, NORMS)]
    if not names:
        raise Unfoldable("there is no norm layer")
    made = made.double()
    layers = _without_norms(list(made), dict(zip(norms, names, strict=True)))
    return nn.Sequential(*layers).to(next(network.parameters()).dtype).eval()


@dataclass(frozen=True)
class _Affine:
    """What a norm layer does at every place: matrix x + shift."""

    matrix_CC: Float[Tensor, "C C"]
    shift_C: Float[Tensor, " C"]

    @property
    def keeps_order(self) -> bool:
        """Whether the larger of two numbers in a channel stays the larger one, so that the largest does."""
        scale_C = self.matrix_CC.diagonal()
        return bool((scale_C >= 0).all()) and torch.equal(self.matrix_CC, scale_C.diag())


def _without_norms(layers: Sequence[nn.Module], names: Mapping[nn.Module, str]) -> list[nn.Module]:
    """Return the layers with weights that do what the norm layers did; the names are those of the norm layers."""
    kept: list[nn.Module] = []
    for place, layer in enumerate(layers):
        if isinstance(layer, Residual):
            layer.branch = nn.Sequential(*_without_norms(list(layer.branch), names))
        if isinstance(layer, Recurrent):
            for way in (layer.input, layer.state):
                _without_norms([way.linear, *way.norms], names)
                way.norms = nn.ModuleList()
        if not isinstance(layer, NORMS):
            kept.append(layer)
            continue
        try:
            if kept and isinstance(kept[-1], Weights):
                _fold_back(kept[-1], _affine(layer))
            else:
                _fold_ahead(_target(layers[place + 1 :], _affine(layer)), _affine(layer))
        except Unfoldable as reason:
            raise Unfoldable(f"{names[layer]}: {reason}") from None
    return kept


def _refuse_steps(network: nn.Module) -> None:
    for name, layer in network.named_modules():
        if isinstance(layer, StepBatchNorm) and layer.running_mean.shape[1] > 1:
            raise Unfoldable(f"{name}: it has one set of statistics per time step, and the steps share their weights")


def _affine(norm: nn.Module) -> _Affine:
    if isinstance(norm, Whitening):
        return _Affine(norm.weight, norm.bias - norm.weight @ norm.mean)
    if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        mean_C, variance_C = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        scale_C = norm.weight / (variance_C + norm.eps).sqrt()
        return _Affine(scale_C.diag(), norm.bias - scale_C * mean_C)
    raise Unfoldable("its statistics are those of each image, so it is no fixed map")


def _target(following: Iterable[nn.Module], affine: _Affine) -> Weights:
    """Return the layer that a map can be moved into, past layers that it may change places with."""
    for layer in following:
        match layer:
            case nn.Linear():
                return layer
            case nn.Conv2d():
                if affine.shift_C.any():
                    raise Unfoldable("the next convolution pads with zeros, which don't get the shift")
                return layer
            case nn.MaxPool2d():
                if not affine.keeps_order:
                    raise Unfoldable(
                        "max pooling comes next, and a negative γ, or mixed channels, change which number is largest"
                    )
            case nn.Flatten() | nn.Unflatten() | Rows() | nn.AdaptiveAvgPool2d():
                pass  # means of what is mapped are mapped means
            case Recurrent():
                raise Unfoldable("the rows of an image share the next layer's weights, and it differs from row to row")
            case Residual():
                raise Unfoldable("what it hands on enters the next residual block, and goes around it, too")
            case _:
                break
    raise Unfoldable("it stands behind an addition, which has no weights of its own, and before an activation")


def _fold_back(layer: Weights, affine: _Affine) -> None:
    """Let a layer do what the map behind it does."""
    weight_OI = layer.weight.flatten(1)
    bias_O = weight_OI.new_zeros(len(weight_OI)) if layer.bias is None else layer.bias
    layer.bias = nn.Parameter(affine.matrix_CC @ bias_O + affine.shift_C)
    layer.weight = nn.Parameter((affine.matrix_CC @ weight_OI).view_as(layer.weight))


def _fold_ahead(layer: Weights, affine: _Affine) -> None:
    """Let a layer do what the map ahead of it does."""
    weight_OCP = layer.weight.reshape(len(layer.weight), len(affine.shift_C), -1)
    if affine.shift_C.any():
        shift_O = torch.einsum("ocp,c->o", weight_OCP, affine.shift_C)
        layer.bias = nn.Parameter(shift_O if layer.bias is None else layer.bias + shift_O)
    layer.weight = nn.Parameter(torch.einsum("ocp,cd->odp", weight_OCP, affine.matrix_CC).reshape(layer.weight.shape))
