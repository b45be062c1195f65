"""Scaled inputs have their properties, and a sigmoid its linear range; other transforms and wider inputs are found."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from bnexp.claims.checks import inputs
from bnexp.claims.checks.inputs import input_scaling, linear_regime
from bnexp.data.normalize import Normalization
from tests.claims.checks.judging import failing


def test_scaling_holds() -> None:
    assert failing(input_scaling()) == []


class Clamped(Normalization):
    """Cuts off what leaves 0 to 1."""

    def __call__(self, images_P: Any) -> Any:
        return super().__call__(images_P).clamp(0, 1)


def clamped(fitted: Normalization) -> Normalization:
    return Clamped(fitted.shift_P, fitted.spread_P, None)


AFFINE = ["z-score of the bytes", "z-score and back", "min-max of the bytes", "min-max and back"]
WRONG: dict[str, tuple[Callable[[Normalization], Normalization], list[str]]] = {
    "a spread that is too large": (
        lambda fitted: replace(fitted, spread_P=1.001 * fitted.spread_P),
        ["z-score: mean 0", "min-max: from 0 to 1", "min-max of a test pixel"],
    ),
    "a shift that is too large": (
        lambda fitted: replace(fitted, shift_P=fitted.shift_P + 1),
        ["z-score: mean 0", "z-score of a channel", "min-max: from 0 to 1", "min-max of a test pixel"],
    ),
    "cut off": (
        clamped,
        ["z-score: mean 0", "min-max of a test pixel", *AFFINE],
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_another_transform_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, expected = WRONG[kind]
    fit = inputs.fit
    monkeypatch.setattr(inputs, "fit", lambda *args: change(fit(*args)))
    found = failing(input_scaling())
    assert len(found) == len(expected)
    assert all(what.startswith(start) for what, start in zip(found, expected, strict=True))


def test_the_linear_range_holds() -> None:
    findings = list(linear_regime(steps=3))
    assert failing(findings) == []
    assert len(findings) == 7


def test_a_steeper_nonlinearity_has_no_such_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "last_moments", lambda **raw: {})
    monkeypatch.setattr(torch.Tensor, "sigmoid", lambda z: torch.sigmoid(4 * z))
    assert failing(linear_regime()) == ["a line fitted to a sigmoid over N(0, 1)"]


def test_a_fit_that_gets_better_with_wider_inputs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "last_moments", lambda **raw: {})
    monkeypatch.setattr(inputs, "WIDTHS", (1.0, 4.0, 2.0))
    assert failing(linear_regime()) == ["R² by the standard deviation of the inputs"]
