"""Initial weights: their spread, what makes them differ, and above all what doesn't."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bnexp.config.model import InitSettings, ModelSettings
from bnexp.nn.build import build, initialize
from bnexp.nn.layers import Conv2d, Linear
from bnexp.streams import stream_seed
from tests.helpers import EXACT_FLOAT64, SAMPLED_STD, assert_close, crossed
from tests.nn.plain import CPU, seed_draws

FAN_IN, FAN_OUT = 400, 300
STD: dict[str, Callable[[int, int], float]] = {
    "normal": lambda fan_in, fan_out: 1.0,
    "xavier": lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5,
    "he": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,
    "lecun": lambda fan_in, fan_out: (1 / fan_in) ** 0.5,
    "orthogonal": lambda fan_in, fan_out: (1 / max(fan_in, fan_out)) ** 0.5,
    "fixup": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,
    "skipinit": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,
}


def drawn(
    *inits: InitSettings,
    seeds: list[int] | None = None,
    shape: tuple[int, int] = (6, 5),
    make: type[Linear | Conv2d] = Linear,
) -> torch.Tensor:
    """Weights (K, out, in, …) of a single layer in float64; the shape is (in, out)."""
    layer = make(len(inits), *shape).double()
    initialize(nn.Sequential(layer), inits, seeds or [0] * len(inits))
    return layer.weight.detach()


def weights(seeds: list[int], dtype: torch.dtype = torch.float64, **model: Any) -> list[torch.Tensor]:
    """Weights (K, out, in, …) of every linear layer and convolution of a network."""
    settings = ModelSettings.model_validate({"depth": 2, "width": 6, **model})
    network = build([settings] * len(seeds), seeds, (1, 3, 3), 3, seed_draws(seeds), CPU, dtype)
    return [module.weight.detach() for module in network.modules() if isinstance(module, Linear | Conv2d)]


@pytest.mark.parametrize("scheme", STD)
def test_the_spread_of_a_scheme(scheme: str) -> None:
    weight = drawn(InitSettings(scheme=scheme), shape=(FAN_IN, FAN_OUT))
    std = STD[scheme](FAN_IN, FAN_OUT)
    assert abs(float(weight.std()) / std - 1) < SAMPLED_STD
    assert abs(float(weight.mean())) < SAMPLED_STD * std


def test_fans_are_torchs() -> None:
    weight = drawn(InitSettings(), shape=(7, 11), make=Conv2d)[0]
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(weight)
    assert (fan_in, fan_out) == (7 * 9, 11 * 9)
    normal, xavier, he, lecun = drawn(
        *(InitSettings(scheme=scheme) for scheme in ("normal", "xavier", "he", "lecun")), shape=(7, 11), make=Conv2d
    )
    for other, scheme in ((xavier, "xavier"), (he, "he"), (lecun, "lecun")):
        assert_close(other, normal * STD[scheme](fan_in, fan_out), EXACT_FLOAT64)


@pytest.mark.parametrize("scheme", STD)
def test_scale_multiplies_the_weights_exactly(scheme: str) -> None:
    one, none, more = drawn(*(InitSettings(scheme=scheme, scale=scale) for scale in (1, 0, 4)))
    assert torch.equal(none, 0 * one)
    assert torch.equal(more, 4 * one)


@pytest.mark.parametrize("shape", [(2, 30), (5, 6), (2, 18)], ids=["tall", "wide", "square"])
def test_orthogonal_convolutions_are_orthogonal_as_matrices_with_a_row_per_output(shape: tuple[int, int]) -> None:
    (weight,) = drawn(InitSettings(scheme="orthogonal"), shape=shape, make=Conv2d)
    (normal,) = drawn(InitSettings(scheme="normal"), shape=shape, make=Conv2d)
    flat, drawn_flat = weight.reshape(len(weight), -1), normal.reshape(len(normal), -1)
    tall, drawn_tall = (flat, drawn_flat) if len(flat) >= flat.shape[1] else (flat.T, drawn_flat.T)
    assert_close(tall.T @ tall, torch.eye(tall.shape[1]), EXACT_FLOAT64)
    # The draws span what the weights span, in this order: column j is drawn of the first j + 1.
    r = tall.T @ drawn_tall
    assert_close(r.triu(), r, EXACT_FLOAT64)


def test_orthogonal_weights_have_no_preferred_sign() -> None:
    # The QR factor alone is not uniform; with R's diagonal made positive it is.
    z, q = drawn(InitSettings(scheme="normal"), InitSettings(scheme="orthogonal"), shape=(20, 30))
    r = q.T @ z
    assert bool((r.diagonal() > 0).all())
    assert_close(q @ r.triu(), z, EXACT_FLOAT64)


ARMS: dict[str, dict[str, Any]] = {
    "none": {"norm": "none"},
    "before": {"norm": "before"},
    "after": {"norm": "after"},
    "layer": {"norm": "layer"},
    "input": {"norm": {"input": True}},
    "dropout": {"dropout": 0.5},
    "no bias": {"bias": False},
    "activation": {"activation": "relu"},
    "addition": {"norm": {"addition": "after"}},
    "group": {"norm": {"kind": "group", "groups": 2}},
    "whiten": {"norm": {"kind": "whiten", "group_size": 2}},
    "noisy": {"norm": "noisy_batch"},
}


FAMILIES = {"mlp": 3, "vgg": 5, "resnet": 8}


@pytest.mark.parametrize(("family", "arm"), crossed(list(FAMILIES), list(ARMS), fast=3))
def test_arms_start_from_the_same_weights_bit_for_bit(family: str, arm: str) -> None:
    base = {"family": family, "depth": FAMILIES[family], "width": 4}
    for one, other in zip(weights([0, 3], **base), weights([0, 3], **base | ARMS[arm]), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("raw", "shapes"),
    [
        ({"family": "rnn", "norm": "none"}, [(6, 3), (6, 6), (6, 6), (6, 6), (3, 6)]),
        (
            {"family": "resnet", "depth": 8, "width": 2},
            [(2, 1, 3, 3), *[(2, 2, 3, 3)] * 2, (4, 2, 3, 3), (4, 4, 3, 3), (8, 4, 3, 3), (8, 8, 3, 3), (3, 8)],
        ),
    ],
    ids=["rnn", "resnet"],
)
def test_every_layer_draws_from_its_own_documented_stream(raw: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    assert [tuple(weight[0].shape) for weight in weights([4], **raw)] == shapes
    for index, weight in enumerate(weights([4], init={"scheme": "normal"}, **raw)):
        generator = torch.Generator().manual_seed(stream_seed(4, "weights", index))
        assert torch.equal(weight[0], torch.randn(*weight[0].shape, generator=generator, dtype=torch.float64))
