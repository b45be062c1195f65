"""Gradient clipping: a book's two examples, torch's functions, and thresholds that belong to one trial."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from bnexp.config.train import ClipSettings
from bnexp.nn.build import weight_layers
from bnexp.nn.clipping import Clipping
from bnexp.training.group_state import GroupTrainState
from tests.helpers import (
    EXACT_FLOAT64,
    PRINTED_DIGITS,
    assert_close,
    made_up_data,
    noise,
    randomized,
    small_group,
)
from tests.nn.own import user_networks
from tests.nn.plain import network

SIZES = [4, 3, 5]


def clipped(grad_KP: torch.Tensor, *clips: dict[str, Any], sizes: list[int] | None = None) -> torch.Tensor:
    clipping = of(grad_KP, *clips)
    return torch.cat(list(clipping(grad_KP.split(sizes or grad_KP.shape[1], dim=1))), dim=1)


def of(like_KP: torch.Tensor, *clips: dict[str, Any]) -> Clipping:
    return Clipping.of([ClipSettings.model_validate(clip) for clip in clips], nn.ParameterList([like_KP]))


def gradient(trials: int = 3) -> torch.Tensor:
    return noise(trials, sum(SIZES)) * torch.tensor([[0.1], [1.0], [30.0]])[:trials]


def by_torch(grad_P: torch.Tensor, kind: str, limit: float) -> torch.Tensor:
    """torch's clipping of one trial's gradient, split into its tensors."""
    parameters = [torch.nn.Parameter(part.clone()) for part in grad_P.split(SIZES)]
    for parameter in parameters:
        parameter.grad = parameter.detach().clone()
    if kind == "value":
        clip_grad_value_(parameters, limit)
    elif kind == "norm_global":
        clip_grad_norm_(parameters, limit)
    else:
        for parameter in parameters:
            clip_grad_norm_(parameter, limit)
    return torch.cat([parameter.grad for parameter in parameters if parameter.grad is not None])


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        ({"value": 1.0}, [0.9, 1.0]),
        ({"norm_global": 1.0}, [0.00899964, 0.9999595]),
        ({"norm_per_tensor": 1.0}, [0.00899964, 0.9999595]),
    ],
)
def test_the_examples_of_hands_on_machine_learning(clip: dict[str, float], expected: list[float]) -> None:
    assert_close(clipped(torch.tensor([[0.9, 100.0]]).double(), clip)[0], expected, PRINTED_DIGITS)


@pytest.mark.parametrize("bad", [0.5, math.nan, math.inf])
@pytest.mark.parametrize("kind", ["value", "norm_per_tensor", "norm_global"])
def test_clipping_is_torchs_with_the_thresholds_of_the_trial_and_trials_without_stay(kind: str, bad: float) -> None:
    grad_KP = gradient()
    grad_KP[1, 2] = bad
    result_KP = clipped(grad_KP, {kind: 0.05}, {}, {kind: 2.0}, sizes=SIZES)
    assert_close(result_KP[0], by_torch(grad_KP[0], kind, 0.05), EXACT_FLOAT64)
    assert torch.equal(result_KP[1].nan_to_num(7.0), grad_KP[1].nan_to_num(7.0))
    assert_close(result_KP[2], by_torch(grad_KP[2], kind, 2.0), EXACT_FLOAT64)


def test_value_comes_first_then_each_tensor_then_the_whole() -> None:
    limits = {"value": 1.0, "norm_per_tensor": 0.8, "norm_global": 0.9}
    expected = gradient()[2:]
    for kind, limit in limits.items():
        expected = by_torch(expected[0], kind, limit)[None]
    assert_close(clipped(gradient()[2:], limits, sizes=SIZES), expected, EXACT_FLOAT64)


def test_without_any_threshold_the_gradient_is_handed_through() -> None:
    gradients = gradient().split(SIZES, dim=1)
    assert of(gradients[0], {}, {}, {})(gradients) is gradients


def test_an_infinite_component_is_clamped_like_any_large_one() -> None:
    grad_KP = torch.tensor([[math.inf, -math.inf, 0.5, math.nan]])
    expected_KP = torch.tensor([[1.0, -1.0, 0.5, math.nan]])
    assert torch.equal(clipped(grad_KP, {"value": 1.0}).nan_to_num(7.0), expected_KP.nan_to_num(7.0))


@pytest.mark.parametrize("component", [math.inf, -math.inf, math.nan, 1e30])
def test_what_has_no_finite_norm_becomes_nan_and_not_a_gradient_of_zero(component: float) -> None:
    grad_KP = torch.ones(1, sum(SIZES))
    grad_KP[0, 5] = component  # the square of 1e30 is beyond float32
    first, second, third = clipped(grad_KP, {"norm_per_tensor": 0.5}, sizes=SIZES).split(SIZES, dim=1)
    assert second.isnan().all()
    assert round(float(first.norm()), 4) == round(float(third.norm()), 4) == 0.5
    assert clipped(grad_KP, {"norm_global": 0.5}, sizes=SIZES).isnan().all()


def plain_adaptive(theta: torch.Tensor, grad: torch.Tensor, limit: float) -> torch.Tensor:
    """Brock et al. 2021, equation 3, a unit at a time; a vector is one unit, as in their program."""
    if theta.ndim == 1:
        return plain_adaptive(theta[None], grad[None], limit)[0]
    units = []
    for weights, each in zip(theta, grad, strict=True):
        floor = max(float(weights.norm()), 1e-3)
        units.append(each * (limit * floor / float(each.norm())) if float(each.norm()) / floor > limit else each)
    return torch.stack(units)


def adaptive(network: nn.Module, gradient: list[torch.Tensor], *limits: float | None) -> list[torch.Tensor]:
    settings = [ClipSettings(adaptive=limit) for limit in limits]
    return list(Clipping.of(settings, network)([grad.flatten(1) for grad in gradient]))


@pytest.mark.parametrize("family", ["mlp", "resnet"])
def test_adaptive_clipping_compares_each_units_gradient_with_its_weights(family: str) -> None:
    shape: dict[str, Any] = {"mlp": {"depth": 2}, "resnet": {"family": "resnet", "depth": 8}}[family]
    made = randomized(network(shape | {"width": 4, "norm": "layer"}, [0, 0, 3], (1, 4, 4)))
    named = {name: theta.detach() for name, theta in made.named_parameters()}
    named["output.weight"] *= 1e-3
    next(iter(named.values()))[0, 1] = 0  # a unit without weights
    gradient = [0.1 * noise(*theta.shape, seed=500 + i) for i, theta in enumerate(named.values())]
    found = adaptive(made, gradient, 0.02, None, 0.1)
    changed = set()
    for (name, theta), grad, mine in zip(named.items(), gradient, found, strict=True):
        for k, limit in ((0, 0.02), (2, 0.1)):
            expected = grad[k] if name.startswith("output") else plain_adaptive(theta[k], grad[k], limit)
            assert_close(mine[k], expected.flatten(), EXACT_FLOAT64)
            changed |= {name} if not torch.equal(mine[k], grad[k].flatten()) else set()
        assert torch.equal(mine[1], grad[1].flatten())
    assert changed == {name for name in named if not name.startswith("output")}


def test_adaptive_clipping_leaves_the_output_layer_of_somebodys_network() -> None:
    own = {"family": "module", "source": f"{user_networks.__file__}:Small", "depth": None, "width": None}
    group = small_group(model=own)
    made = GroupTrainState(group, made_up_data(group, side=8)).network
    gradient = [noise(*theta.shape, seed=i) for i, theta in enumerate(made.parameters())]
    found = adaptive(made, gradient, 1e-3)
    kept = [torch.equal(mine, grad.flatten(1)) for mine, grad in zip(found, gradient, strict=True)]
    layer = {id(theta) for theta in weight_layers(made)[-1].parameters()}
    assert kept == [id(theta) in layer for theta in made.parameters()]
    assert sum(kept) == 2


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_unit_whose_gradient_has_no_finite_norm_becomes_nan_under_adaptive_clipping(bad: float) -> None:
    theta, grad = torch.ones(2, 2, 3), torch.ones(2, 2, 3)
    grad[:, 1, 2] = bad
    (found,) = adaptive(nn.ParameterList([theta]), [grad], 0.5, None)
    assert found[0, 3:].isnan().any()
    assert torch.equal(found[0, :3], torch.full((3,), 0.5))
    assert torch.equal(found[1].nan_to_num(7.0), grad[1].flatten().nan_to_num(7.0))
