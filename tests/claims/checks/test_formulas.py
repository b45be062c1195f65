"""Batch norm by hand and its undoing hold, and fail where a formula is wrong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bnexp import reference
from bnexp.claims.checks import formulas
from bnexp.claims.checks.formulas import gradient_correct, restores_identity
from bnexp.config.norm import NormSettings
from bnexp.nn.norm import BatchNorm
from tests.claims.checks.judging import failing


def test_both_hold() -> None:
    assert failing(gradient_correct()) == []
    assert failing(restores_identity()) == []


def test_another_batch_is_not_restored_in_training() -> None:
    told = [finding.found for finding in restores_identity() if finding.error is None]
    assert len(told) == 2
    assert not any("0.0%" in found for found in told)


def with_wrong(name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(reference, name, value)


def scaled_dx(backward: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(dy: np.ndarray, cache: reference.Cache) -> Any:
        found = backward(dy, cache)
        return replace(found, dx=1.0001 * found.dx)

    return wrong


def without_mean(dy: np.ndarray, cache: reference.Cache) -> reference.Gradients:
    found = reference.backward_closed_form(dy, cache)
    return replace(found, dx=found.dx + dy.mean())


def no_gradient_of_gamma(dy: np.ndarray, cache: reference.Cache) -> Any:
    found = reference.backward_closed_form(dy, cache)
    return replace(found, dgamma_C=0 * found.dgamma_C)


WRONG = {
    "dx a little too large": with_wrong("backward_closed_form", scaled_dx(reference.backward_closed_form)),
    "the mean of dy not taken out": with_wrong("backward", without_mean),
    "no gradient of γ": with_wrong("backward", no_gradient_of_gamma),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_gradient_is_found_in_features_and_images(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    WRONG[kind](monkeypatch)
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
