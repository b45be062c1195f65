"""Batch norm by hand, its undoing, its conventions and the cancelled bias hold; what is wrong in them is found."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from bnexp import reference
from bnexp.claims.checks import formulas
from bnexp.claims.checks.formulas import bias_cancelled, gradient_correct, momentum_convention, restores_identity
from bnexp.claims.runs import Finding
from bnexp.config.norm import NormSettings
from bnexp.nn.norm import BatchNorm
from bnexp.reference import CONVENTIONS
from tests.claims.checks.judging import failing


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "MOMENTA", (0.01, 0.1))
    monkeypatch.setattr(formulas, "MODEL", formulas.MODEL | {"width": 8})


def test_both_hold() -> None:
    assert failing(gradient_correct()) == []
    assert failing(restores_identity()) == []


def test_another_batch_is_not_restored_in_training() -> None:
    told = [finding.found for finding in restores_identity() if finding.error is None]
    assert len(told) == 2
    assert not any("0.0%" in found for found in told)


BACKWARD = reference.backward_closed_form
WRONG: dict[str, tuple[str, Callable[[reference.Gradients, np.ndarray], dict[str, Any]]]] = {
    "dx a little too large": ("backward_closed_form", lambda found, dy: {"dx": 1.0001 * found.dx}),
    "the mean of dy not taken out": ("backward", lambda found, dy: {"dx": found.dx + dy.mean()}),
    "a gradient that is no number": ("backward", lambda found, dy: {"dbeta_C": found.dbeta_C * np.nan}),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_gradient_is_found_in_features_and_images(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, change = WRONG[kind]
    monkeypatch.setattr(reference, name, lambda dy, cache: replace(found := BACKWARD(dy, cache), **change(found, dy)))  # type: ignore[has-type]
    assert [what.split(",")[0] for what in failing(gradient_correct())] == ["features (32", "images (8"]


def test_another_eps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "NormSettings", lambda: NormSettings(eps=1e-4))
    assert len(failing(gradient_correct())) == 6
    assert len(failing(restores_identity())) == 4


def test_statistics_of_another_mode_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchNorm, "eval", lambda layer: layer)
    assert [what.partition(", ")[2] for what in failing(restores_identity())] == [
        "10), on another batch in evaluation",
        "3, 6, 6), on another batch in evaluation",
    ]


# Conventions

MEAN = "running mean after 50 batches: Keras' convention, 0.99 on the old value, against PyTorch's 0.01"
VARIANCE = "running variance likewise, with PyTorch's factor m/(m − 1)"
AXIS = "axis −1 of (batch, height, width, channels) against dimension 1 of (batch, channels, height, width)"


def test_it_holds_and_the_larger_momentum_is_better_early() -> None:
    findings = list(momentum_convention(52))
    assert failing(findings) == []
    (early,) = (finding.found for finding in findings if "after 50 steps" in finding.what)
    at_001, at_01 = (float(part.partition("%")[0]) for part in early.split(", "))
    assert at_001 > 2 * at_01


def test_another_convention_and_another_axis_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "_evaluation_error", lambda steps: iter(()))
    monkeypatch.setattr(formulas.nn, "BatchNorm2d", lambda features, dtype: nn.InstanceNorm2d(features, dtype=dtype))
    assert failing(momentum_convention()) == [AXIS]
    keras = CONVENTIONS["keras"]
    monkeypatch.setitem(CONVENTIONS, "keras", replace(keras, first_variance=0.0))
    assert failing(momentum_convention()) == [VARIANCE, AXIS]
    monkeypatch.setitem(CONVENTIONS, "keras", replace(keras, kept=0.9))
    assert failing(momentum_convention()) == [MEAN, VARIANCE, AXIS]


def test_a_momentum_that_training_notices_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    features = BatchNorm.features

    def noticing(self: BatchNorm, x_KBC: Tensor) -> Tensor:
        return features(self, x_KBC) * (1 + 1e-5 * self.momentum)

    monkeypatch.setattr(BatchNorm, "features", noticing)
    assert failing(momentum_convention(52)) == ["momentum in training, 2 values"]


# The bias

GRADIENT = "|∂L/∂b| before BN in training, over the largest |∂L/∂W|, float64"
RUNS = "the same training with and without the bias, SGD in float64"
COUNT = "leaving it out"
STEPS = 8
FAR = [
    f"hidden biases from N(0, 1) against none, {moment}: logits in {mode}"
    for moment in ("before training", f"after {STEPS} steps")
    for mode in ("training mode", "evaluation")
]


@pytest.fixture
def no_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is only told, and takes most trainings."""
    monkeypatch.setattr(formulas, "_drift_by_rounding", lambda steps: Finding("drift", "left out"))


def test_it_is_cancelled() -> None:
    assert failing(bias_cancelled(STEPS)) == []


@pytest.mark.usefixtures("no_drift")
def test_layer_norm_cancels_no_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "MODEL", formulas.MODEL | {"norm": "layer"})
    assert failing(bias_cancelled(STEPS)) == [GRADIENT, RUNS, *FAR]


def test_a_bias_that_stays_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    arms = formulas._with_and_without(STEPS, "sgd", "fp64")
    monkeypatch.setattr(formulas, "_with_and_without", lambda *args: dict.fromkeys(arms, arms["bias"]))
    assert failing(formulas._equal_runs(STEPS)) == [COUNT]


def test_a_gradient_that_ignores_the_mean_moves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def ignoring(dy: np.ndarray, cache: reference.Cache) -> reference.Gradients:
        return reference.Gradients(cache.gamma_C * cache.inverse_C * dy, cache.gamma_C, cache.gamma_C)

    monkeypatch.setattr(reference, "backward", ignoring)
    assert failing(formulas._drift_without_mean(STEPS)) == [f"{STEPS} steps of b with the true gradient"]


def test_a_loss_that_moves_with_the_bias_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = reference.forward

    def leaking(x: np.ndarray, gamma_C: np.ndarray, beta_C: np.ndarray) -> tuple[np.ndarray, reference.Cache]:
        y, cache = forward(x, gamma_C, beta_C)
        return y + 1e-6 * cache.mean_C, cache

    monkeypatch.setattr(reference, "forward", leaking)
    assert "the same with a gradient that ignores that the mean depends on b" in failing(
        formulas._drift_without_mean(STEPS)
    )
