"""K convolutions at once against torch's own, one at a time."""

import pytest
import torch
from torch import nn

from bnexp.nn.layers import Conv2d
from tests.helpers import EXACT_FLOAT32, EXACT_FLOAT64, assert_close, noise, pairwise, randomized

TRIALS, BATCH, FEATURES, CHANNELS, SIDES = 3, 4, 5, 6, (7, 4)


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


def test_a_trial_with_nan_weights_changes_no_other() -> None:
    conv, x_BDHW = made(), inputs(shared=True)
    clean = conv(x_BDHW)
    with torch.no_grad():
        conv.weight[1] = float("nan")
    y = conv(x_BDHW).unflatten(1, (TRIALS, CHANNELS))
    assert torch.equal(y[:, [0, 2]], clean.unflatten(1, (TRIALS, CHANNELS))[:, [0, 2]])
    assert bool(y[:, 1].isnan().all())


@pytest.mark.parametrize("shared", [True, False])
def test_under_autocast_the_output_is_in_half_precision(shared: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert made().float()(inputs(shared=shared).float()).dtype == torch.bfloat16
