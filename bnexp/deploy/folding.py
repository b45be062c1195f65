"""A trial without its norm layers, and a check on images that nothing else has changed.

In evaluation, norms over the batch are fixed affine maps, which can be folded into the weights beside them.

After a layer with weights, A (W x + b) + t is (A W) x + (A b + t) (Jacob et al. 2018, arXiv:1712.05877, section 3.2).
Before one, W (A x + t) + b is (W A) x + (W t + b), but not if zeros are padded in between: t isn't added to them. Time
steps share their weights, so what differs from step to step can't be folded into them. Everything is folded, or nothing
is.

Shapes: O outputs of a layer, C channels that enter or leave it, P places of its kernel, or of flattened images.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnexp.data.dataset import Dataset, Split
from bnexp.nn.norm import Norm
from bnexp.nn.own.calls import NORM_LAYERS
from bnexp.nn.own.networks import OwnNetworks
from bnexp.nn.plain_layers import (
    OTHER_NORMS,
    Converter,
    ImageRowsAsSteps,
    OverFeatures,
    Recurrent,
    Residual,
    ScaleAndShift,
    Whitening,
    put,
)
from bnexp.nn.table import layer_table
from bnexp.plan import Trial
from bnexp.runner.trained import TrainedTrial
from bnexp.training.group_state import CHUNK_NUMBERS, chunks
from bnexp.training.numerics import dtype_of

Weights = nn.Linear | nn.Conv2d


class Unfoldable(ValueError):  # noqa: N818 (no fault, an answer)
    """A network has a norm layer that can't be folded exactly, or has none; the text says which and why."""


@torch.no_grad()
def folded(network: nn.Module) -> nn.Sequential:
    """Return a copy of one trial's network in evaluation mode, as `to_torch` does, without its norm layers.

    The new weights are computed in float64, and rounded to the type of the old.

    Raises:
        Unfoldable: one of the norm layers can't be folded exactly, or there is none.
    """
    if isinstance(network, OwnNetworks):
        return nn.Sequential(_own_folded(network)).eval()
    plain = Converter(network)
    names = {layer: name for name, layer in network.named_modules() if isinstance(layer, Norm)}
    norms = {made: names[origin] for made, origin in plain.made_from.items() if origin in names}
    if not norms:
        raise Unfoldable("there is no norm layer")
    layers = _without_norms(list(plain.network.double()), norms)
    return nn.Sequential(*layers).to(next(network.parameters()).dtype).eval()


def _own_folded(networks: OwnNetworks) -> nn.Module:
    """Return the module of the user's own class without the norm layers right after layers with weights."""
    (network,), dtype = networks.to_torch(), next(networks.parameters()).dtype
    seen = networks.seen_plain(network)
    norms = seen.of((*NORM_LAYERS, *OTHER_NORMS, OverFeatures))
    weights = [call.name for call in seen.of((nn.Linear, nn.Conv2d))]
    if not norms:
        raise Unfoldable("there is no norm layer")
    network.double()
    for call in norms:
        name, before = call.name, call.behind
        takers = [each.name for each in seen.calls if each.behind == before]
        norm = network.get_submodule(name)
        over, norm = (norm.axis % len(call.inputs), norm.layer) if isinstance(norm, OverFeatures) else (1, norm)
        try:
            affine = _affine(norm)
            if weights.count(before) != 1 or takers != [name] or seen.taken[before] != 1:
                raise Unfoldable("no layer with weights stands right before it alone")
            layer = network.get_submodule(before)
            assert isinstance(layer, Weights)
            if isinstance(layer, nn.Linear) and over != len(call.inputs) - 1:
                raise Unfoldable(f"it normalises each token, and {before} has weights for features, not for tokens")
            _fold_back(layer, *affine)
        except Unfoldable as reason:
            raise Unfoldable(f"{name}: {reason}") from None
        put(network, name, nn.Identity())
    return network.to(dtype)


def _without_norms(layers: Sequence[nn.Module], norms: Mapping[nn.Module, str]) -> list[nn.Module]:
    """Return the layers of a plain network, with weights that also do what the named norm layers did."""
    kept: list[nn.Module] = []
    for place, layer in enumerate(layers):
        if isinstance(layer, Residual):
            layer.branch = nn.Sequential(*_without_norms(list(layer.branch), norms))
        if isinstance(layer, Recurrent):
            for way in (layer.input, layer.state):
                if len(way.norms) > 1:
                    reason = "it has one set of statistics per time step, and the steps share their weights"
                    raise Unfoldable(f"{norms[way.norms[0]]}: {reason}")
                _without_norms([way.linear, *way.norms], norms)
                way.norms = nn.ModuleList()
        if layer not in norms:
            kept.append(layer)
            continue
        try:
            matrix_CC, shift_C = _affine(layer)
            if kept and isinstance(kept[-1], Weights):
                _fold_back(kept[-1], matrix_CC, shift_C)
            else:
                _fold_ahead(_target(layers[place + 1 :], matrix_CC, shift_C), matrix_CC, shift_C)
        except Unfoldable as reason:
            raise Unfoldable(f"{norms[layer]}: {reason}") from None
    return kept


def _affine(norm: nn.Module) -> tuple[Float[Tensor, "C C"], Float[Tensor, " C"]]:
    """Return A and t of the map A x + t that a norm layer is at every place."""
    match norm:
        case _BatchNorm() if type(norm).forward is not _BatchNorm.forward:
            raise Unfoldable("it does more than normalise")
        case _BatchNorm() if norm.running_mean is not None and norm.running_var is not None:
            scale_C = (norm.running_var + norm.eps).rsqrt()
            scale_C = scale_C if norm.weight is None else norm.weight * scale_C
            shift_C = -scale_C * norm.running_mean
            return scale_C.diag(), shift_C if norm.bias is None else norm.bias + shift_C
        case _BatchNorm():
            raise Unfoldable("it keeps no running statistics, so it isn't a fixed map")
        case ScaleAndShift():
            return norm.weight.diag(), norm.bias
        case Whitening():
            return norm.weight, norm.bias - norm.weight @ norm.mean
    raise Unfoldable("its statistics are those of each image, so it isn't a fixed map")


def _target(following: Iterable[nn.Module], matrix_CC: Float[Tensor, "C C"], shift_C: Float[Tensor, " C"]) -> Weights:
    """Return the layer that a map can be moved into, past layers that it commutes with."""
    for layer in following:
        match layer:
            case nn.Linear():
                return layer
            case nn.Conv2d():
                if shift_C.any():
                    raise Unfoldable("the next convolution pads with zeros, which don't get the shift")
                return layer
            case nn.MaxPool2d():
                scale_C = matrix_CC.diagonal()
                if (scale_C < 0).any() or not torch.equal(matrix_CC, scale_C.diag()):
                    raise Unfoldable(
                        "max pooling comes next, and a negative γ, or mixed channels, change which number is largest"
                    )
            case nn.Flatten() | nn.Unflatten() | ImageRowsAsSteps() | nn.AdaptiveAvgPool2d():
                pass  # the mean of mapped values is the mapped mean
            case Recurrent():
                raise Unfoldable("the rows of an image share the next layer's weights, and it differs from row to row")
            case Residual():
                raise Unfoldable("its output enters the next residual block, and also its shortcut")
            case _:
                break
    raise Unfoldable("it comes after an addition, which has no weights of its own, and before an activation")


def _fold_back(layer: Weights, matrix_CC: Float[Tensor, "C C"], shift_C: Float[Tensor, " C"]) -> None:
    """Let a layer do the work of the map after it."""
    weight_OI = layer.weight.flatten(1)
    bias_O = weight_OI.new_zeros(len(weight_OI)) if layer.bias is None else layer.bias
    layer.bias = nn.Parameter(matrix_CC @ bias_O + shift_C)
    layer.weight = nn.Parameter((matrix_CC @ weight_OI).view_as(layer.weight))


def _fold_ahead(layer: Weights, matrix_CC: Float[Tensor, "C C"], shift_C: Float[Tensor, " C"]) -> None:
    """Let a layer do the work of the map before it."""
    weight_OCP = layer.weight.reshape(len(layer.weight), len(shift_C), -1)
    if shift_C.any():
        shift_O = torch.einsum("ocp,c->o", weight_OCP, shift_C)
        layer.bias = nn.Parameter(shift_O if layer.bias is None else layer.bias + shift_O)
    layer.weight = nn.Parameter(torch.einsum("ocp,cd->odp", weight_OCP, matrix_CC).reshape(layer.weight.shape))


TOLERANCE = 1e-9
"""Largest difference between logits in float64, relative to the largest logit, that rounding explains."""


@dataclass(frozen=True)
class Difference:
    """Largest difference between the logits of two networks, over images and classes; NaN if one of them is."""

    largest: float
    logit: float
    """The largest logit of the first network, by its magnitude."""

    @classmethod
    def between(cls, before_NC: Float[Tensor, "N C"], after_NC: Float[Tensor, "N C"]) -> "Difference":
        """Compare logits."""
        return cls(float((after_NC - before_NC).abs().max()), float(before_NC.abs().max()))

    @property
    def relative(self) -> float:
        """The largest difference over the largest logit; the difference itself where all logits are 0."""
        return self.largest / (self.logit or 1.0)


@dataclass(frozen=True)
class Proof:
    """A network's answers to images before and after it was folded."""

    split: str
    """Which images: test, else val, else train."""
    images: int
    float64: Difference
    float32: Difference
    """Both networks in float32; the new weights are computed in float64 nevertheless."""
    accuracy: tuple[float, float]
    """Before and after, in the precision of the run."""
    same: float
    """Share of images that both put into the same class."""
    parameters: int
    """Numbers that the folded network has."""

    @property
    def exact(self) -> bool:
        """True if rounding explains the difference."""
        return self.float64.relative <= TOLERANCE


@dataclass(frozen=True)
class FoldedTrial:
    """One trial with the proof, or with the reason why it wasn't folded."""

    trial: Trial
    parameters: int
    """Numbers that its network has: learned ones and running statistics."""
    proof: Proof | None
    reason: str = ""


@torch.no_grad()
def fold_trial(trained: TrainedTrial, data: Dataset, device: torch.device) -> FoldedTrial:
    """Fold one trial's norm layers into the weights beside them, and compare both networks on images."""
    parameters = _numbers(trained.network(data.shape, device))
    try:
        return FoldedTrial(trained.trial, parameters, _prove(trained, data, device))
    except Unfoldable as reason:
        return FoldedTrial(trained.trial, parameters, None, str(reason))


def _prove(trained: TrainedTrial, data: Dataset, device: torch.device) -> Proof:
    if not trained.finite:
        raise Unfoldable("the weights are not finite")
    after = folded(trained.network(data.shape, device))
    split = next(name for name in ("test", "val", "train") if len(getattr(data, name)))
    images: Split = getattr(data, split)
    said = {dtype: _logits(trained, data, images, device, dtype) for dtype in (torch.float64, torch.float32)}
    float64, float32 = (Difference.between(*logits) for logits in said.values())
    if not (isfinite(float64.largest) and isfinite(float32.largest)):
        raise Unfoldable("the logits are not finite")
    before_N, after_N = (logits_NC.argmax(1) for logits_NC in said[dtype_of(trained.trial.settings.train.precision)])
    accuracy = _share(before_N, images.labels_N), _share(after_N, images.labels_N)
    return Proof(split, len(images), float64, float32, accuracy, _share(before_N, after_N), _numbers(after))


def _logits(
    trained: TrainedTrial, data: Dataset, images: Split, device: torch.device, dtype: torch.dtype
) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N C"]]:
    """Return the logits of both networks, computed in a precision from inputs in the run's own."""
    before = trained.network(data.shape, device).to(dtype)
    after = folded(before)
    layers = layer_table(trained.trial.settings.model, data.shape.image, data.shape.classes)
    size = max(1, CHUNK_NUMBERS[device.type] // max(layer.output for layer in layers))
    inputs = [data.inputs(images_BP).to(dtype) for images_BP, _ in chunks(images, size)]
    before_NC = torch.cat([before(x_BP[None])[0] for x_BP in inputs])
    return before_NC, torch.cat([after(x_BP.unflatten(1, data.shape.image)) for x_BP in inputs])


def _share(one_N: Tensor, other_N: Tensor) -> float:
    return float((one_N == other_N).double().mean())


def _numbers(network: nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.state_dict().values())
