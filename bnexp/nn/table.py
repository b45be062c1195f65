"""The layers of a network with output shapes and parameter counts, as `bnexp show` prints them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.config.model import ModelSettings
from bnexp.config.trial import TrialSettings
from bnexp.nn.build import skeleton
from bnexp.nn.image_norm import GroupNorm
from bnexp.nn.layers import ACTIVATIONS, Conv2d, Dropout, Linear
from bnexp.nn.norm import Noise, Norm
from bnexp.nn.own.calls import BEHIND, NORM_LAYERS, WEIGHT_LAYERS, ForwardPass, LayerCall
from bnexp.nn.own.networks import arm_pass
from bnexp.nn.own.surgery import Placed
from bnexp.streams import SeedGenerators, TrialRandom

IMAGES = 2
"""Batch size of the pass that finds the shapes."""


@dataclass(frozen=True)
class LayerRow:
    """One layer of one trial's network."""

    name: str
    kind: str
    shape: tuple[int, ...]
    """Output for one image: features; channels, height, width; or in recurrent layers steps, features."""
    trainable: int
    """Learned numbers: weights, biases, γ, β."""
    fixed: int
    """Numbers that are kept but not learned: running means and variances."""
    macs: int
    """Multiply-accumulates for one image."""
    saved: int
    """Numbers that it keeps for one image until the backward pass: its output, and random or centred numbers."""
    norm: str = ""
    """A norm layer as code would make it, such as GroupNorm(8, 64); empty for other layers."""

    @property
    def output(self) -> int:
        """Numbers in its output for one image."""
        return prod(self.shape)

    @property
    def parameters(self) -> int:
        """All numbers of the layer."""
        return self.trainable + self.fixed

    def untrained(self) -> "LayerRow":
        """Return the row of the same layer, with none of its numbers learned."""
        return replace(self, trainable=0, fixed=self.parameters)

    def as_json(self) -> dict[str, Any]:
        """Return the row as `bnexp show --json` prints it."""
        counts = {"trainable": self.trainable, "fixed": self.fixed, "products": self.macs, "output": self.output}
        return {"name": self.name, "kind": self.kind, "shape": self.shape, **counts}


def trained_table(settings: TrialSettings, image: tuple[int, int, int], classes: int) -> list[LayerRow]:
    """Return the layers as `layer_table` does; what `train.only` leaves out isn't learned."""
    rows = layer_table(settings.model, image, classes)
    return rows if settings.train.only == "all" else [row if row.norm else row.untrained() for row in rows]


def layer_table(
    model: ModelSettings, image: tuple[int, int, int], classes: int, training: bool = False
) -> list[LayerRow]:
    """Return the layers in the order in which data pass them; for training, include those that only training has."""
    if model.spec.own:
        return _own_rows(arm_pass(model, image, classes))
    return list(_rows(model, image, classes, training))


@lru_cache(maxsize=256)  # one plan asks for the same table a dozen times
def _rows(model: ModelSettings, image: tuple[int, int, int], classes: int, training: bool) -> tuple[LayerRow, ...]:
    """Pass made-up images through the network on torch's meta device, which allocates nothing."""
    draws = TrialRandom(SeedGenerators([0], torch.device("cpu")), [0]) if training else None
    handed: dict[nn.Module, list[torch.Size]] = {}

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        handed.setdefault(module, []).append(output.shape)

    with torch.device("meta"):
        network = skeleton([model], image, classes, draws).eval()
        names: dict[nn.Module, str] = {layer: name for name, layer in network.named_modules()}
        for layer in names:
            if next(layer.children(), None) is None and not isinstance(layer, nn.Sequential):
                layer.register_forward_hook(hook)
            if isinstance(layer, (Linear, Norm, *ACTIVATIONS.values())):
                layer.forward = partial(_shape_only, layer)
        network(torch.empty(1, IMAGES, prod(image), dtype=torch.float32))
    return tuple(_row(names[layer], layer, outputs, model.norm.spec.saves_input) for layer, outputs in handed.items())


def _own_rows(seen: ForwardPass) -> list[LayerRow]:
    """Describe the layers of somebody's network; what functions keep for the backward pass is in the last row."""
    calls: dict[str, list[LayerCall]] = {}
    for call in seen.calls:
        calls.setdefault(call.name, []).append(call)
    rows = [_own_row(name, passes) for name, passes in calls.items()]
    rest = max(0, seen.saved - sum(row.saved for row in rows))
    return [*rows[:-1], replace(rows[-1], saved=rows[-1].saved + rest)]


def _own_row(name: str, passes: Sequence[LayerCall]) -> LayerRow:
    layer: Any = passes[0].layer
    parameters = [parameter for key, parameter in layer.named_parameters() if not key.startswith(BEHIND)]
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    kept = [buffer for key, buffer in layer.named_buffers() if "running" in key and not key.startswith(BEHIND)]
    fixed = sum(tensor.numel() for tensor in [*parameters, *kept]) - trainable
    macs = sum(_products(layer, call) for call in passes) if isinstance(layer, WEIGHT_LAYERS) else 0
    layer = layer.layers[0] if isinstance(layer, Placed) else layer
    kind = getattr(layer, "stands_for", type(layer).__name__)
    saved = sum(prod(call.outputs[1:]) for call in passes)
    return LayerRow(name, kind, passes[0].outputs[1:], trainable, fixed, macs, saved, _norm(layer, kind))


def _norm(layer: Any, kind: str) -> str:
    """Return a norm layer as code would make it; empty for other layers."""
    if isinstance(layer, Norm):
        sizes = (*([layer.groups] if type(layer) is GroupNorm else []), layer.gamma.shape[-1])
    elif isinstance(layer, NORM_LAYERS):
        names = ("num_groups", "num_channels", "num_features")
        sizes = (
            *(getattr(layer, name) for name in names if hasattr(layer, name)),
            *getattr(layer, "normalized_shape", ()),
        )
    else:
        return ""
    return f"{kind}({', '.join(map(str, sizes))})"


def _products(layer: Any, call: LayerCall) -> int:
    transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    places = call.outputs[1:-1] if isinstance(layer, nn.Linear) else (call.inputs if transposed else call.outputs)[2:]
    return int(layer.weight.numel()) * prod(places)


def _shape_only(layer: nn.Module, x: Tensor, step: int | None = None) -> Tensor:
    """Return a tensor of the output's shape: torch's own meta kernels of these layers import its compiler (1.4 s)."""
    return x.new_empty(1, x.shape[1], layer.weight.shape[1]) if isinstance(layer, Linear) else x


def _row(name: str, module: nn.Module, outputs: Sequence[torch.Size], saves_input: bool) -> LayerRow:
    """Describe a layer by the shapes of its outputs, one for each time that data passed it."""
    if len(outputs[0]) == 4:
        shape = tuple(outputs[0][1:])
        places = prod(shape[1:])
    else:
        places = sum(output[1] for output in outputs) // IMAGES
        shape = (*([places] if places > 1 else []), outputs[0][2])
    trainable = sum(parameter.numel() for parameter in module.parameters())
    kept = [module.get_buffer(name).numel() for name in module.state_dict() if name.startswith("running")]
    weights = module.weight.numel() if isinstance(module, Linear | Conv2d) else 0
    twice = isinstance(module, Dropout | Noise) or (isinstance(module, Norm) and saves_input)
    saved = prod(shape) * (2 if twice else 1)
    kind = type(module).__name__
    kind = kind if isinstance(module, Norm | Linear | Conv2d) else kind.lower()
    return LayerRow(name, kind, shape, trainable, sum(kept), weights * places, saved, _norm(module, kind))
