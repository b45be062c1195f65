"""K linear layers at once against torch's own, one at a time."""

import pytest
import torch
from torch.nn import functional as F

from bnexp.nn.linear import Linear
from tests.helpers import EXACT_FLOAT64, assert_close, noise, randomized

TRIALS, BATCH, FEATURES, UNITS = 3, 7, 5, 4


def alone(layer: Linear, x_BC: torch.Tensor, k: int) -> torch.Tensor:
    return F.linear(x_BC, layer.weight[k].T, None if layer.bias is None else layer.bias[k, 0])


@pytest.mark.parametrize("bias", [True, False])
def test_each_trial_is_a_linear_layer_of_its_own(bias: bool) -> None:
    layer, x_KBC = randomized(Linear(TRIALS, FEATURES, UNITS, bias=bias)), noise(TRIALS, BATCH, FEATURES, seed=9)
    expected = torch.stack([alone(layer, x_KBC[k], k) for k in range(TRIALS)])
    assert_close(layer(x_KBC).detach(), expected.detach(), EXACT_FLOAT64)


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_each_layer_alone(bias: bool) -> None:
    layer, x_KBC = randomized(Linear(TRIALS, FEATURES, UNITS, bias=bias)), noise(TRIALS, BATCH, FEATURES, seed=9)
    parameters = list(layer.parameters())
    together = torch.autograd.grad(layer(x_KBC).square().sum(), parameters)
    for k in range(TRIALS):
        by_hand = torch.autograd.grad(alone(layer, x_KBC[k], k).square().sum(), parameters)
        for one, other in zip(together, by_hand, strict=True):
            assert_close(one[k], other[k], EXACT_FLOAT64)


def test_a_shared_input_needs_no_copy() -> None:
    layer, x_1BC = randomized(Linear(TRIALS, FEATURES, UNITS)), noise(1, BATCH, FEATURES)
    shared, copied = layer(x_1BC.expand(TRIALS, -1, -1)), layer(x_1BC.repeat(TRIALS, 1, 1))
    assert_close(shared.detach(), copied.detach(), EXACT_FLOAT64)


@pytest.mark.parametrize(("bias", "expected"), [(True, ["weight", "bias"]), (False, ["weight"])])
def test_without_a_bias_there_is_no_parameter_for_it(bias: bool, expected: list[str]) -> None:
    assert [name for name, _ in Linear(2, 3, 4, bias=bias).named_parameters()] == expected
