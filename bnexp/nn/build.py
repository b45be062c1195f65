"""From the settings of K trials to their network, initialised, on the device."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.config.model import InitSettings, ModelSettings
from bnexp.nn.factory import LayerFactory, set_gains
from bnexp.nn.layers import Conv2d, Linear
from bnexp.nn.norm import Norm
from bnexp.nn.own.calls import NORM_LAYERS
from bnexp.nn.own.networks import OwnNetworks
from bnexp.streams import TrialRandom, stream_seed

Weight = Float[Tensor, "out in *kernel"]


def _gain(variance: Callable[[int, int], float]) -> Callable[[Weight], Weight]:
    """Return a scheme by the variance for fan_out and fan_in: outputs and inputs times the places of the kernel."""

    def weights(z: Weight) -> Weight:
        places = math.prod(z.shape[2:])
        return z * math.sqrt(variance(z.shape[0] * places, z.shape[1] * places))

    return weights


def _orthogonal(z: Weight) -> Weight:
    """Return the orthogonal factor of z, a row per output (Saxe et al. 2014); the signs make the draw uniform."""
    flat = z.flatten(1)
    wide = flat.shape[0] < flat.shape[1]
    q, r = torch.linalg.qr(flat.T if wide else flat)
    signed: Tensor = q * r.diagonal().sign()
    return (signed.T if wide else signed).reshape(z.shape)


_he = _gain(lambda fan_out, fan_in: 2 / fan_in)

SCHEMES: dict[str, Callable[[Weight], Weight]] = {
    "normal": _gain(lambda fan_out, fan_in: 1.0),
    "xavier": _gain(lambda fan_out, fan_in: 2 / (fan_in + fan_out)),  # Glorot & Bengio 2010
    "he": _he,  # He et al. 2015
    "lecun": _gain(lambda fan_out, fan_in: 1 / fan_in),  # LeCun et al. 1998
    "orthogonal": _orthogonal,
    "fixup": _he,  # Zhang et al. 2019; times each layer's fixup_gain
    "skipinit": _he,  # De & Smith 2020
}
"""From standard normal draws (out, in, …) to weights, by the name in model.init.scheme."""


def weight_layers(network: nn.Module) -> list[Any]:
    """Return the linear layers and convolutions in the order of the data; the last one is the output layer."""
    if isinstance(network, OwnNetworks):
        return network.weight_layers()
    return [module for module in network.modules() if isinstance(module, Linear | Conv2d)]


@torch.no_grad()
def initialize(model: nn.Module, inits: Sequence[InitSettings], seeds: Sequence[int]) -> None:
    """Set the weights of every linear layer and convolution; trial k gets the draws of seeds[k] shaped by inits[k].

    Layers are counted from the input, each with a stream of its own, so that networks of different depth share their
    first layers. Biases are 0. In the user's own network the scheme as_written keeps what its code draws, times the
    scale.
    """
    if isinstance(model, OwnNetworks):
        model.draw_weights(seeds)
    for index, layer in enumerate(weight_layers(model)):
        shape = layer.weight.shape[1:]
        wanted = [(init.scheme, seed) for init, seed in zip(inits, seeds, strict=True)]
        drawn: dict[tuple[str, int], Weight] = {
            (scheme, seed): SCHEMES[scheme](_standard_normal(seed, index, shape))
            for scheme, seed in set(wanted)
            if scheme != "as_written"
        }
        scale_K = torch.tensor([init.scale for init in inits], dtype=torch.float64)
        weight = layer.weight
        # On a CPU one trial after the other: its weights stay in the cache.
        runs = [(key, None if weight.is_cuda else k) for k, key in enumerate(wanted)]
        for (key, _), numbers in groupby(range(len(inits)), runs.__getitem__):
            trials = [*numbers]
            rows = slice(trials[0], trials[-1] + 1)
            each = (..., *(None for _ in shape))
            if key[0] == "as_written":
                weight[rows] *= scale_K[rows][each].to(weight)
                continue
            gain = layer.fixup_gain if key[0] == "fixup" else 1.0
            # A seed's draws go to the device once, and are scaled there for all of its trials.
            weight[rows] = (scale_K[rows] * gain)[each].to(weight.device) * drawn[key].to(weight.device)
            if layer.bias is not None:
                layer.bias[rows].zero_()


def _standard_normal(seed: int, layer: int, shape: Sequence[int]) -> Weight:
    # On the CPU and in float64 whatever the run's device and precision: the same network everywhere.
    generator = torch.Generator().manual_seed(stream_seed(seed, "weights", layer))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def build(
    models: Sequence[ModelSettings],
    seeds: Sequence[int],
    image: tuple[int, int, int],
    classes: int,
    draws: TrialRandom,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Return the K networks of a trial group as one module, initialised.

    The settings are equal in everything that shapes the computation, and equal seeds stand side by side.
    """
    # All weights of many trials are too much to copy to the device. A user's own code may first make numbers of its
    # own.
    with device if device.type == "cuda" and models[0].source is None else nullcontext():
        network = skeleton(models, image, classes, draws, dtype)
    initialize(network, [model.init for model in models], seeds)
    return network.to(device)


def train_norms_alone(network: nn.Module) -> None:
    """Let γ and β of norm layers be the only parameters; all others become buffers, with the same names."""
    for module in network.modules():
        if not isinstance(module, (Norm, *NORM_LAYERS)):
            for name, parameter in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, parameter.detach())


def skeleton(
    models: Sequence[ModelSettings],
    image: tuple[int, int, int],
    classes: int,
    draws: TrialRandom | None = None,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Return the networks with weights of zero; without draws they have neither dropout nor noise."""
    network: nn.Module = models[0].spec.load()(LayerFactory(models, draws), image, classes).to(dtype)
    set_gains(network, models[0].activation)
    return network
