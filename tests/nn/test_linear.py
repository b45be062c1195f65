"""K linear layers at once against torch's own, one at a time."""

import pytest
import torch
from torch.nn import functional as F

from bnexp.nn.layers import Linear
from tests.helpers import EXACT_FLOAT64, assert_close, noise, randomized

TRIALS, BATCH, FEATURES, UNITS = 3, 7, 5, 4


def alone(layer: Linear, x_BC: torch.Tensor, k: int) -> torch.Tensor:
    return F.linear(x_BC, layer.weight[k], None if layer.bias is None else layer.bias[k])


@pytest.mark.parametrize("bias", [True, False])
def test_each_trial_is_a_linear_layer_of_its_own(bias: bool) -> None:
    layer, x_KBC = randomized(Linear(TRIALS, FEATURES, UNITS, bias=bias)), noise(TRIALS, BATCH, FEATURES, seed=9)
    expected = torch.stack([alone(layer, x_KBC[k], k) for k in range(TRIALS)])
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
