"""Initial weights: their spread, what makes them differ, and above all what doesn't."""

from typing import Any, get_args

import pytest
import torch
from torch import nn

from bnexp.config.model import InitSettings, ModelSettings
from bnexp.nn.build import build
from bnexp.nn.init import SCHEMES, initialize
from bnexp.nn.linear import Linear
from bnexp.streams import stream_seed
from tests.helpers import EXACT_FLOAT64, SAMPLED_STD, assert_close

FAN_IN, FAN_OUT = 400, 300
STD = {
    "normal": 1.0,
    "xavier": (2 / (FAN_IN + FAN_OUT)) ** 0.5,
    "he": (2 / FAN_IN) ** 0.5,
    "lecun": (1 / FAN_IN) ** 0.5,
    "orthogonal": (1 / FAN_IN) ** 0.5,
}


def drawn(*inits: InitSettings, seeds: list[int] | None = None, shape: tuple[int, int] = (6, 5)) -> torch.Tensor:
    """Weights (K, out, in) of a single layer in float64."""
    layer = Linear(len(inits), *shape).double()
    initialize(nn.Sequential(layer), inits, seeds or [0] * len(inits))
    return layer.weight.detach()


def weights(seeds: list[int], dtype: torch.dtype = torch.float64, **model: Any) -> list[torch.Tensor]:
    """Weights (K, out, in) of every linear layer of a network."""
    settings = ModelSettings.model_validate({"depth": 2, "width": 6, **model})
    network, _ = build([settings] * len(seeds), seeds, 9, 3, torch.device("cpu"), dtype)
    return [module.weight.detach() for module in network.modules() if isinstance(module, Linear)]


def test_every_scheme_of_the_configuration_is_there() -> None:
    assert set(SCHEMES) == set(get_args(InitSettings.model_fields["scheme"].annotation)) == set(STD)


@pytest.mark.parametrize("scheme", STD)
def test_the_spread_of_a_scheme(scheme: str) -> None:
    weight = drawn(InitSettings(scheme=scheme), shape=(FAN_IN, FAN_OUT))
    assert abs(float(weight.std()) / STD[scheme] - 1) < SAMPLED_STD
    assert abs(float(weight.mean())) < SAMPLED_STD * STD[scheme]


@pytest.mark.parametrize("scheme", STD)
@pytest.mark.parametrize("scale", [0.0, 0.5, 4.0])
def test_scale_multiplies_the_weights_exactly(scheme: str, scale: float) -> None:
    one, scaled = drawn(InitSettings(scheme=scheme), InitSettings(scheme=scheme, scale=scale))
    assert torch.equal(scaled, scale * one)


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (25, 25)], ids=["tall", "wide", "square"])
def test_orthogonal_weights_keep_lengths(shape: tuple[int, int]) -> None:
    (weight,) = drawn(InitSettings(scheme="orthogonal"), shape=shape)
    gram = weight.T @ weight if len(weight) >= weight.shape[1] else weight @ weight.T
    assert_close(gram, torch.eye(min(shape)), EXACT_FLOAT64)


def test_orthogonal_weights_have_no_preferred_sign() -> None:
    # The QR factor alone is not uniform; with R's diagonal made positive it is.
    z, q = drawn(InitSettings(scheme="normal"), InitSettings(scheme="orthogonal"), shape=(20, 30))
    r = q.T @ z
    assert bool((r.diagonal() > 0).all())
    assert_close(q @ r.triu(), z, EXACT_FLOAT64)


def test_schemes_shape_the_same_draws() -> None:
    normal, *others = drawn(*(InitSettings(scheme=scheme) for scheme in ("normal", "xavier", "he", "lecun")))
    for other, gain in zip(others, [2 / 11, 2 / 6, 1 / 6], strict=True):
        assert_close(other, normal * gain**0.5, EXACT_FLOAT64)


def test_trials_of_a_seed_start_equal_and_seeds_differ() -> None:
    init = InitSettings()
    first, second, other = drawn(init, init, init, seeds=[0, 0, 7])
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(other, drawn(init, seeds=[7])[0])


ARMS: dict[str, dict[str, Any]] = {
    "none": {"norm": "none"},
    "before": {"norm": "before"},
    "after": {"norm": "after"},
    "layer": {"norm": "layer"},
    "input": {"norm": {"input": True}},
    "dropout": {"dropout": 0.5},
    "no bias": {"bias": False},
    "residual": {"residual": True},
    "activation": {"activation": "relu"},
}


@pytest.mark.parametrize("arm", ARMS)
def test_arms_start_from_the_same_weights_bit_for_bit(arm: str) -> None:
    for one, other in zip(weights([0, 3]), weights([0, 3], **ARMS[arm]), strict=True):
        assert torch.equal(one, other)


def test_networks_of_different_depth_share_their_first_layers() -> None:
    shallow, deep = weights([2], depth=2), weights([2], depth=5)
    assert all(torch.equal(one, other) for one, other in zip(shallow[:2], deep[:2], strict=True))
    assert len({layer.sum().item() for layer in deep}) == len(deep) == 6


def test_float32_weights_are_the_float64_draws_rounded() -> None:
    for exact, rounded in zip(weights([1]), weights([1], torch.float32), strict=True):
        assert rounded.dtype == torch.float32
        assert torch.equal(rounded, exact.float())


def test_every_layer_draws_from_its_own_documented_stream() -> None:
    for index, weight in enumerate(weights([4], init={"scheme": "normal"})):
        generator = torch.Generator().manual_seed(stream_seed(4, "weights", index))
        assert torch.equal(weight[0], torch.randn(*weight[0].shape, generator=generator, dtype=torch.float64))


def test_biases_start_at_zero() -> None:
    settings = ModelSettings(depth=2, width=6, bias=True)
    network, _ = build([settings], [0], 9, 3, torch.device("cpu"))
    biases = [tensor for name, tensor in network.named_parameters() if name.endswith("bias")]
    assert len(biases) == 3
    assert all(torch.equal(bias, torch.zeros_like(bias)) for bias in biases)
