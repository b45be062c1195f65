"""Gradient clipping: a book's two examples, torch's functions, and thresholds that belong to one trial."""

import math
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from bnexp.config.train import ClipSettings
from bnexp.nn.clipping import Clipping
from tests.helpers import EXACT_FLOAT64, PRINTED_DIGITS, assert_close, noise

SIZES = [4, 3, 5]


def clipped(grad_KP: torch.Tensor, *clips: dict[str, Any], sizes: list[int] | None = None) -> torch.Tensor:
    clipping = Clipping.of([ClipSettings.model_validate(clip) for clip in clips], grad_KP)
    return torch.cat(list(clipping(grad_KP.split(sizes or grad_KP.shape[1], dim=1))), dim=1)


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
    assert Clipping.of([ClipSettings()] * 3, gradients[0])(gradients) is gradients


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
