"""The arms of the user's network: norm layers are taken out, put in, replaced or changed.

Everything else stays as written. Layers keep their names: a norm layer that is put after another layer becomes its
child `norm_behind`, called by a hook.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnexp.config.model import ModelSettings
from bnexp.config.norm import NormSettings
from bnexp.config.text import listed
from bnexp.errors import InputError
from bnexp.nn.factory import LayerFactory, sequence
from bnexp.nn.own.calls import (
    ACTIVATION_FUNCTIONS,
    ACTIVATION_LAYERS,
    CHANNELS,
    IMAGES,
    LAST,
    NORM_FUNCTIONS,
    NORM_LAYERS,
    WEIGHT_LAYERS,
    ForwardPass,
    LayerCall,
)
from bnexp.nn.plain_layers import Converter, InTurn, OverFeatures, hang_behind, put
from bnexp.streams import TrialRandom


class Placed(nn.Module):
    """A norm layer with the trial axis, K = 1, in somebody's network.

    Args:
        layers: the norm, and what belongs to it.
        axis: of the features, CHANNELS or LAST.
    """

    def __init__(self, layers: nn.Sequential, axis: int):
        super().__init__()
        self.layers, self.axis = layers, axis

    def forward(self, x: Tensor) -> Tensor:
        """Normalise.

        If features are the last axis, every token is a sample; otherwise the places of an image belong together.
        """
        if x.ndim == 2 or self.axis == LAST:
            y: Tensor = self.layers(x.flatten(0, -2)[None])
        else:
            y = self.layers(x if x.ndim == 4 else x.flatten(2)[..., None])
        return y.reshape(x.shape)

    def plain(self, axes: int) -> nn.Module:
        """Return a layer of torch that does the same in evaluation, for inputs with this many axes."""
        as_usual = axes == 2 or (axes == 4 and self.axis == CHANNELS)
        to = Converter.of(images=axes != 2 and self.axis == CHANNELS)
        layer = nn.Sequential(*to.layers(self.layers))[0]
        return layer if as_usual else OverFeatures(layer, self.axis)


class OwnDropout(nn.Module):
    """Inverted dropout of one trial in somebody's network; its random numbers come from the seed's stream.

    Args:
        layer: the layer of torch that it stands for.
        draws: of this trial; None: nothing is dropped.
    """

    def __init__(self, layer: Any, draws: TrialRandom | None):
        super().__init__()
        self.rate, self.draws, self.whole = float(layer.p), draws, not isinstance(layer, nn.Dropout)
        self.stands_for = type(layer).__name__

    def forward(self, x: Tensor) -> Tensor:
        """Drop units in training, or whole channels; uniforms are drawn as (B, C) or (B, places…, C)."""
        batch, channels, *places = x.shape if x.ndim > 1 else (1, *x.shape)
        shape = (batch, *(1 for _ in places), channels) if self.whole else (batch, *places, channels)
        return self.dropped(x, lambda draws: draws.uniform("dropout", *shape)[0].movedim(-1, 1))

    def dropped(self, x: Tensor, uniforms: Callable[[TrialRandom], Tensor]) -> Tensor:
        """Return x scaled up where its uniforms are above the rate, and 0 elsewhere; x itself if nothing is dropped."""
        if not self.training or self.draws is None or self.rate == 0:
            return x
        scale = 1 / (1 - self.rate) if self.rate < 1 else 0.0
        return x * ((uniforms(self.draws) >= self.rate) * scale).to(x.dtype)


class SlicedBatchNorm(_BatchNorm):
    """Batch norm of torch that in training normalises slices of the batch, one after the other.

    Attributes:
        over: samples of a slice, along the first axis.
    """

    over: int

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; the running statistics learn of each slice."""
        if not self.training or len(x) <= self.over:
            return super().forward(x)
        return torch.cat([_BatchNorm.forward(self, part) for part in x.split(self.over)])

    def _check_input_dim(self, input: Tensor) -> None:
        """Leave the check to the original layer."""


def apply_arm(network: nn.Module, model: ModelSettings, seen: ForwardPass, draws: TrialRandom | None) -> None:
    """Change the norm layers of a network as an arm says, in place.

    Args:
        network: as it is written.
        model: settings of the arm.
        seen: the network's forward pass.
        draws: random numbers for noise; None where nothing will be trained.

    Raises:
        InputError: names the layer at which it can't be done, and what to change.
    """
    norm, norms = model.norm, seen.of(NORM_LAYERS)
    if norm.placement == "as_written" and norm.kind == "as_written":
        for call in norms:
            _set(call, norm)
        if norm.over and not any(isinstance(call.layer, SlicedBatchNorm) for call in norms):
            raise InputError("it has no batch norm for norm.over; leave it out, or set norm.kind: batch")
        if norm.frozen_from and not any(getattr(call.layer, "track_running_stats", False) for call in norms):
            raise InputError("it has no running statistics for norm.freeze_at; leave it out, or set norm.kind: batch")
        return
    _refuse(seen, NORM_FUNCTIONS, "it can't be changed", "nn.BatchNorm2d")
    if norm.placement == "as_written" and not norms:
        raise InputError("it has no norm layer to take out or to replace; the arms before and after put some in")
    kind = "batch" if norm.kind == "as_written" else norm.kind
    factory = LayerFactory([model.model_copy(update={"norm": norm.model_copy(update={"kind": kind})})], draws)
    exchanged = norm.placement == "as_written" and kind != "none"
    for call in norms:
        if inner := [name for name, _ in call.layer.named_children()]:
            more = f"{call.name} is a {type(call.layer).__name__}, a norm layer that has {listed(inner)} inside"
            raise InputError(f"{more}; it can't be taken out alone: separate the norm layer from the rest")
        axis = _normalized(call)
        put(network, call.name, _placed(factory, call, call.inputs, axis) if exchanged else nn.Identity())
    if kind == "none" or norm.placement == "after":
        _give_biases(seen)
    if kind != "none" and not exchanged:
        _insert_norms(factory, seen)


def _set(call: LayerCall, norm: NormSettings) -> None:
    """Change settings of a norm layer of torch, and nothing else about it."""
    layer: Any = call.layer
    if norm.eps is not None:
        layer.eps = norm.eps
    if norm.momentum is not None and isinstance(layer, _BatchNorm):
        layer.momentum = norm.momentum
    if norm.over and isinstance(layer, _BatchNorm):
        if type(layer).forward not in (_BatchNorm.forward, SlicedBatchNorm.forward):
            known = f"{call.name} is a {type(layer).__name__} with a forward of its own"
            raise InputError(f"{known}, which norm.over can't cut into slices; set norm.kind: batch")
        vars(layer)["over"] = _samples(call, call.inputs, norm.over, CHANNELS)
        layer.__class__ = SlicedBatchNorm
    for name, which, start in (("weight", "gamma", norm.gamma), ("bias", "beta", None)):
        parameter = getattr(layer, name, None)
        learned = norm.affine in (None, "both", which)
        if parameter is None:
            if norm.affine is not None and learned and not isinstance(layer, nn.RMSNorm):
                raise InputError(f"{call.name} is written without γ and β; leave norm.affine out, or write them")
            continue
        if start is not None or not learned:
            neutral = 1.0 if which == "gamma" else 0.0
            nn.init.constant_(parameter, neutral if start is None else start)
        parameter.requires_grad_(learned and parameter.requires_grad)


def _refuse(seen: ForwardPass, functions: Sequence[str], what: str, instead: str) -> None:
    """Raise InputError if the network calls functions that only a layer could stand for."""
    called = [f"{place or 'forward'} calls {name}" for place, name in seen.functions if name in functions]
    if called:
        raise InputError(f"{listed(called)} as a function, where {what}; use a layer such as {instead}")


def _normalized(call: LayerCall) -> int:
    """Return along which axis the features of a norm layer lie."""
    layer = call.layer
    if len(call.inputs) < 2:
        raise InputError(f"{call.name}: its features are unknown, since its input isn't a tensor of several axes")
    axis = CHANNELS
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm) and len(layer.normalized_shape) == 1:
        # Subclasses for images, as in torchvision, normalise along the channels.
        images = type(layer) not in (nn.LayerNorm, nn.RMSNorm) and call.inputs[CHANNELS] == layer.normalized_shape[0]
        axis = CHANNELS if images else LAST
    return axis


def _placed(factory: LayerFactory, call: LayerCall, shape: Sequence[int], axis: int) -> Placed:
    """Return a norm layer for inputs of some shape, of which two images are in front, with features along an axis."""
    model, features = factory.model, shape[axis]
    if model.norm.spec.over_places and (axis == LAST or prod(shape[2:]) == 1):
        raise InputError(f"norm.kind {model.norm.kind} has no places to normalise over at {call.name}; set group, say")
    name, size = model.norm.grouping
    if features % size:
        raise InputError(f"norm.{name} {size} does not divide the {features} features at {call.name}")
    if model.norm.sliced and model.norm.over:
        norm = model.norm.model_copy(update={"over": _samples(call, shape, model.norm.over, axis)})
        factory = LayerFactory([model.model_copy(update={"norm": norm})], factory.draws)
    return Placed(sequence(factory.norm_slot(features)), axis)


def _samples(call: LayerCall, shape: Sequence[int], images: int, axis: int) -> int:
    """Return the samples that a batch has along the axis that a norm layer cuts: each token is one."""
    two = prod(shape[:-1]) if axis == LAST else shape[0]
    if two % IMAGES:
        raise InputError(f"{call.name}: norm.over needs the images along the first axis; leave it out")
    if prod(shape) // shape[axis] * images <= IMAGES:
        raise InputError(f"{call.name}: norm.over 1 leaves one number a feature to normalise; set 2 or more")
    return two // IMAGES * images


def _give_biases(seen: ForwardPass) -> None:
    """Give weight layers right before a norm layer a bias of zero if they have none: β was their bias."""
    layers = {call.name: call.layer for call in seen.of(WEIGHT_LAYERS)}
    for call in seen.of(NORM_LAYERS):
        layer = layers.get(call.behind)
        if layer is not None and layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros(call.inputs[_normalized(call)]))


def _insert_norms(factory: LayerFactory, seen: ForwardPass) -> None:
    """Put norm layers after the hidden weight layers, or after the activations between them."""
    after = factory.model.norm.placement == "after"
    if after:
        _refuse(seen, ACTIVATION_FUNCTIONS, "no norm layer can be put after it", "nn.ReLU")
        if seen.own_functions:
            hidden = f"{seen.own_functions[0]} is a torch.autograd.Function, perhaps an activation"
            instead = "use a layer such as nn.ReLU, or the arm before"
            raise InputError(f"{hidden}, and no norm layer can be put after it; {instead}")
    places = sorted(_hidden(seen, ACTIVATION_LAYERS if after else WEIGHT_LAYERS), key=lambda place: place[0].name)
    if not places:
        raise InputError(f"it has no hidden {'activation' if after else 'weight'} layer to put a norm layer after")
    for _, same in groupby(places, key=lambda place: place[0].name):
        calls = list(same)
        layers = InTurn(*(_placed(factory, call, call.outputs, axis) for call, axis in calls))
        hang_behind(calls[0][0].layer, layers)


def _hidden(seen: ForwardPass, kinds: tuple[type[nn.Module], ...]) -> Iterator[tuple[LayerCall, int]]:
    """Yield the calls of layers of some kinds before the last weight layer, with the axis of their features."""
    weights = [index for index, call in enumerate(seen.calls) if isinstance(call.layer, WEIGHT_LAYERS)]
    axes = seen.axes
    for call in seen.calls[: weights[-1] if weights else 0]:
        if isinstance(call.layer, kinds) and len(call.outputs) > 1:
            yield call, axes[call.name]
