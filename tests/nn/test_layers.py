"""K linear layers and K convolutions against torch's own, one at a time; and which units dropout drops."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnexp.config.model import WeightKind
from bnexp.nn.layers import ACTIVATIONS, GAINS, Conv2d, Dropout, Linear
from tests.helpers import (
    EXACT_FLOAT32,
    EXACT_FLOAT64,
    SAMPLED_GAIN,
    SAMPLED_MEAN,
    SAMPLED_SHARE,
    assert_close,
    noise,
    pairwise,
    randomized,
)
from tests.nn.plain import generator, quadrature_gain, seed_draws

TRIALS, BATCH, FEATURES, UNITS, CHANNELS, SIDES = 3, 7, 5, 4, 6, (7, 4)


# Linear


def by_torch(layer: Linear, x_BC: torch.Tensor, k: int) -> torch.Tensor:
    return F.linear(x_BC, layer.weight[k], None if layer.bias is None else layer.bias[k])


@pytest.mark.parametrize("bias", [True, False])
def test_each_trial_is_a_linear_layer_of_its_own(bias: bool) -> None:
    layer, x_KBC = randomized(Linear(TRIALS, FEATURES, UNITS, bias=bias)), noise(TRIALS, BATCH, FEATURES, seed=9)
    expected = torch.stack([by_torch(layer, x_KBC[k], k) for k in range(TRIALS)])
    assert_close(layer(x_KBC).detach(), expected.detach(), EXACT_FLOAT64)
    parameters = list(layer.parameters())
    together = torch.autograd.grad(layer(x_KBC).square().sum(), parameters)
    for one, other in zip(together, torch.autograd.grad(expected.square().sum(), parameters), strict=True):
        assert_close(one, other, EXACT_FLOAT64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("inputs", [1, 2, 6])
def test_inputs_are_shared_by_neighbouring_trials(inputs: int, bias: bool) -> None:
    layer, x_SBC = randomized(Linear(6, FEATURES, UNITS, bias=bias)), noise(inputs, BATCH, FEATURES)
    own = layer(x_SBC.repeat_interleave(6 // inputs, dim=0))
    assert_close(layer(x_SBC).detach(), own.detach(), EXACT_FLOAT64)


@pytest.mark.parametrize("inputs", [1, 2])
def test_first_and_second_derivatives_of_shared_products_are_right(inputs: int) -> None:
    layer, x_SBC = randomized(Linear(4, 3, 2)), noise(inputs, 5, 3, seed=9)

    def output(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        called = torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x_SBC,))
        return called.square()

    parameters = tuple(parameter.detach().requires_grad_() for parameter in layer.parameters())
    assert torch.autograd.gradcheck(output, parameters)
    assert torch.autograd.gradgradcheck(output, parameters)


def test_the_output_lies_in_memory_as_batch_norm_reads_it() -> None:
    for inputs in (1, TRIALS):
        output = randomized(Linear(TRIALS, FEATURES, UNITS))(noise(inputs, BATCH, FEATURES))
        assert output.mT.is_contiguous()


@pytest.mark.parametrize("bias", [True, False])
def test_a_shared_input_gives_products_of_the_same_precision(bias: bool) -> None:
    layer, x_SBC = Linear(6, FEATURES, UNITS, bias=bias), torch.ones(2, BATCH, FEATURES)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x_SBC).dtype == layer(x_SBC.repeat_interleave(3, dim=0)).dtype == torch.bfloat16


def test_inputs_that_cannot_be_shared_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="2 inputs can't be shared by 3 trials"):
        Linear(3, 4, 5)(torch.zeros(2, 6, 4))


# Convolutions


def alone(conv: Conv2d, k: int) -> nn.Conv2d:
    """torch's convolution with the parameters of trial k."""
    _, channels, features, *_ = conv.weight.shape
    one = nn.Conv2d(features, channels, 3, conv.stride, padding=1, bias=conv.bias is not None).double()
    one.weight.data = conv.weight[k].detach().clone()
    if conv.bias is not None:
        assert one.bias is not None
        one.bias.data = conv.bias[k].detach().clone()
    return one


def made(stride: int = 1, bias: bool = True) -> Conv2d:
    conv = Conv2d(TRIALS, FEATURES, CHANNELS, stride=stride, bias=bias)
    randomized(conv)
    return conv


def inputs(*, shared: bool) -> torch.Tensor:
    """Images of one trial for all, or of every trial."""
    x_BDHW = noise(BATCH, FEATURES * (1 if shared else TRIALS), *SIDES, seed=9)
    return x_BDHW.contiguous(memory_format=torch.channels_last)


def by_hand(layers: list[nn.Conv2d], x_BDHW: torch.Tensor) -> torch.Tensor:
    each = x_BDHW.chunk(len(layers), dim=1) if x_BDHW.shape[1] > FEATURES else [x_BDHW] * len(layers)
    return torch.cat([layer(x) for layer, x in zip(layers, each, strict=True)], dim=1)


@pytest.mark.parametrize(("stride", "bias", "shared"), pairwise([1, 2], [True, False], [True, False]))
def test_outputs_and_gradients_are_those_of_each_convolution_alone(stride: int, bias: bool, shared: bool) -> None:
    conv, x_BDHW = made(stride, bias), inputs(shared=shared).requires_grad_()
    layers = [alone(conv, k) for k in range(TRIALS)]
    y, expected = conv(x_BDHW), by_hand(layers, x_BDHW)
    assert_close(y.detach(), expected.detach(), EXACT_FLOAT64)
    factors = noise(*y.shape, seed=10)
    dx, *together = torch.autograd.grad((y * factors).sum(), [x_BDHW, *conv.parameters()])
    separate = [parameter for layer in layers for parameter in layer.parameters()]
    expected_dx, *each = torch.autograd.grad((expected * factors).sum(), [x_BDHW, *separate])
    assert_close(dx, expected_dx, EXACT_FLOAT64)
    for number, gradient in enumerate(together):
        assert_close(gradient, torch.stack(each[number :: len(together)]), EXACT_FLOAT64)


@pytest.mark.parametrize("shared", [True, False])
def test_channels_last_in_memory_stay_so_and_other_inputs_give_the_same(shared: bool) -> None:
    conv, x_BDHW = made(stride=2).float(), inputs(shared=shared).float()
    assert x_BDHW.is_contiguous(memory_format=torch.channels_last)
    y = conv(x_BDHW)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert_close(conv(x_BDHW.contiguous()).detach(), y.detach(), EXACT_FLOAT32)


@pytest.mark.parametrize("shared", [True, False])
def test_under_autocast_the_output_is_in_half_precision(shared: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert made().float()(inputs(shared=shared).float()).dtype == torch.bfloat16


# Standardised weights


def plain_weights(weight: torch.Tensor, gain: torch.Tensor | None, activation_gain: float) -> torch.Tensor:
    """The formulas of Qiao et al. 2019 and of Brock et al. 2021, for one trial's units (rows)."""
    mean = weight.mean(1, keepdim=True)
    variance = weight.var(1, correction=0, keepdim=True)
    if gain is None:
        return (weight - mean) / (variance + 1e-5).sqrt()
    return gain[:, None] * activation_gain * (weight - mean) / (weight.shape[1] * variance + 1e-4).sqrt()


@pytest.mark.parametrize("kind", ["standardized", "scaled"])
@pytest.mark.parametrize("make", [Linear, Conv2d])
def test_standardized_weights_and_their_gradients(make: type[Linear | Conv2d], kind: WeightKind) -> None:
    layer = make(TRIALS, FEATURES, UNITS, weights=kind)
    randomized(layer).activation_gain = 1.7  # type: ignore[assignment]
    shape = layer.weight.shape
    rows = [w.flatten(1) for w in layer.weight]
    gains = [None] * TRIALS if layer.gain is None else list(layer.gain)
    made_by_hand = [plain_weights(w, g, 1.7) for w, g in zip(rows, gains, strict=True)]
    expected = torch.stack(made_by_hand).view(shape)
    made = layer.used_weight()
    assert_close(made.detach(), expected.detach(), EXACT_FLOAT64)
    wanted = [layer.weight, *([] if layer.gain is None else [layer.gain])]
    weighting = noise(*shape, seed=77)
    ours, theirs = (torch.autograd.grad((each * weighting).sum(), wanted) for each in (made, expected))
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other, EXACT_FLOAT64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gain_of_an_activation_keeps_the_variance_of_a_standard_normal(name: str) -> None:
    assert abs(GAINS[name] / quadrature_gain(name) - 1) < EXACT_FLOAT64


# By simulation, in the program of Brock et al. (nfnets/base.py).
PUBLISHED = {"relu": 1.7139588594436646, "gelu": 1.7015043497085571, "silu": 1.7881293296813965}
PUBLISHED |= {"elu": 1.2716004848480225, "tanh": 1.5939117670059204, "sigmoid": 4.803835391998291}


@pytest.mark.parametrize("name", PUBLISHED)
def test_so_do_the_published_gains_nearly(name: str) -> None:
    assert abs(GAINS[name] / PUBLISHED[name] - 1) < SAMPLED_GAIN


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh"])
def test_scaled_weights_keep_the_variance_of_the_signal(name: str) -> None:
    layer = Linear(1, 1000, 400, bias=False, weights="scaled").double()
    layer.weight.data, layer.activation_gain = noise(1, 400, 1000, seed=6), GAINS[name]
    y_KBC = layer(ACTIVATIONS[name]()(noise(1, 500, 1000, seed=5)))
    assert abs(float(y_KBC.detach().var()) - 1) < SAMPLED_MEAN


# Dropout


def dropout(rates: Sequence[float], seeds: Sequence[int]) -> Dropout:
    return Dropout(rates, seed_draws(seeds))


def test_a_unit_falls_where_its_uniform_is_below_the_rate_of_the_trial() -> None:
    rates = [0.0, 0.2, 0.7]
    y_KBC = dropout(rates, [4, 4, 4])(torch.ones(3, 6, 5))
    dropped_KBC = y_KBC == 0
    u_BC = torch.rand(6, 5, generator=generator(4, "dropout"))
    assert torch.equal(dropped_KBC, torch.stack([u_BC < torch.tensor(rate) for rate in rates]))
    assert torch.equal(y_KBC[0], torch.ones(6, 5))


@pytest.mark.parametrize("rate", [0.1, 0.9])
def test_the_share_of_dropped_units_is_the_rate_and_the_expectation_stays(rate: float) -> None:
    y_KBC = dropout([0.3, rate], [0, 1])(torch.ones(2, 400, 500))
    assert abs(float((y_KBC[1] == 0).double().mean()) - rate) < SAMPLED_SHARE
    assert abs(float(y_KBC[1].mean()) - 1) < SAMPLED_MEAN


def test_evaluation_returns_the_input_and_draws_nothing() -> None:
    layer, x_KBC = dropout([0.5], [0]), torch.ones(1, 6, 5)
    assert layer.eval()(x_KBC) is x_KBC
    assert torch.equal(layer.train()(x_KBC), dropout([0.5], [0])(x_KBC))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_changes_neither_the_draws_nor_the_dtype(dtype: torch.dtype) -> None:
    y_KBC = dropout([0.4], [0]).to(dtype)(torch.ones(1, 60, 50, dtype=dtype))
    assert y_KBC.dtype == dtype
    assert torch.equal(y_KBC == 0, dropout([0.4], [0])(torch.ones(1, 60, 50)) == 0)
