"""Batch norm by hand, its undoing and its conventions hold; a wrong formula, weight, variance or axis is found."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from bnexp import reference
from bnexp.claims.checks import formulas
from bnexp.claims.checks.formulas import gradient_correct, momentum_convention, restores_identity
from bnexp.config.norm import NormSettings
from bnexp.nn.norm import BatchNorm
from bnexp.reference import CONVENTIONS
from tests.claims.checks.judging import failing


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
    "no gradient of γ": ("backward", lambda found, dy: {"dgamma_C": 0 * found.dgamma_C}),
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
STEPS = 52


@pytest.fixture(autouse=True)
def two_momenta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "MOMENTA", (0.01, 0.1))


def test_it_holds_and_the_larger_momentum_is_better_early() -> None:
    findings = list(momentum_convention(STEPS))
    assert failing(findings) == []
    (early,) = (finding.found for finding in findings if "after 50 steps" in finding.what)
    at_001, at_01 = (float(part.partition("%")[0]) for part in early.split(", "))
    assert at_001 > 2 * at_01


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"kept": 0.9}, [MEAN, VARIANCE]), ({"first_variance": 0.0}, [VARIANCE])],
)
def test_another_convention_is_found(
    changes: dict[str, Any], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formulas, "_evaluation_error", lambda steps: iter(()))
    monkeypatch.setitem(CONVENTIONS, "keras", replace(CONVENTIONS["keras"], **changes))
    assert failing(momentum_convention()) == expected


def test_another_axis_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "_evaluation_error", lambda steps: iter(()))
    monkeypatch.setattr(formulas.nn, "BatchNorm2d", lambda features, dtype: nn.InstanceNorm2d(features, dtype=dtype))
    assert failing(momentum_convention()) == [AXIS]


def test_a_momentum_that_training_notices_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    features = BatchNorm.features

    def noticing(self: BatchNorm, x_KBC: Tensor) -> Tensor:
        return features(self, x_KBC) * (1 + 1e-5 * self.momentum)

    monkeypatch.setattr(BatchNorm, "features", noticing)
    assert failing(momentum_convention(STEPS)) == ["momentum in training, 2 values"]
