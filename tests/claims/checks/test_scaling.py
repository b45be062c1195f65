"""Inputs that are scaled, clipping and its record hold; other transforms, rules and events are found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bnexp.claims.checks import scaling
from bnexp.claims.checks.scaling import clipping_numbers, gradient_tracking, input_scaling, linear_regime
from bnexp.claims.runs import Finding
from bnexp.data.normalize import Normalization
from bnexp.nn.clipping import Clipping
from bnexp.nn.shards import Matrices
from bnexp.report import tensorboard
from bnexp.store.reader import RunRecord
from tests.claims.checks.judging import failing

VALUE, NORM, DIRECTION = (
    "[0.9, 100] clipped by value to 1",
    "[0.9, 100] clipped by norm to 1",
    "direction, clipped by norm",
)
TENSOR = "norm_per_tensor: 1, each by its own norm, on tensors of norm 100, 0.05 and 5"
GLOBAL = "norm_global: 1, as PyTorch's clip_grad_norm_"


def test_clipping_holds() -> None:
    assert failing(clipping_numbers()) == []


def by_value(clip: Clipping, gradient: Matrices) -> Matrices:
    return [grad_KP.clamp(-1, 1) for grad_KP in gradient]


def by_norm(clip: Clipping, gradient: Matrices) -> Matrices:
    return [grad_KP / grad_KP.norm() for grad_KP in gradient]


WRONG: dict[str, tuple[Callable[[Clipping, Matrices], Matrices], list[str]]] = {
    "by value": (by_value, [NORM, DIRECTION, TENSOR, GLOBAL]),
    "to the norm, also where it is smaller": (by_norm, [VALUE, TENSOR, GLOBAL]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_another_rule_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, expected = WRONG[kind]
    monkeypatch.setattr(Clipping, "__call__", rule)
    assert failing(clipping_numbers()) == expected


def test_tracking_holds() -> None:
    assert failing(gradient_tracking(steps=3)) == []


@pytest.fixture
def not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "_read_back", lambda record, folder: iter([Finding("events", "not read")]))


RECORDED = "probes.csv of 6 weights over 3 updates, norm_per_tensor: 0.5"
MADE = "norms as clipped against ‖ΔW‖ / rate of the updates that were made"


@pytest.mark.usefixtures("not_read")
@pytest.mark.parametrize(
    ("place", "expected"), [("bnexp.training.group_state", [MADE]), ("bnexp.probes.prober", [RECORDED, MADE])]
)
def test_an_update_that_is_clipped_in_another_way_than_recorded_is_found(
    place: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unclipped(Clipping):
        def __call__(self, gradient: Matrices) -> Matrices:
            return gradient

    monkeypatch.setattr(f"{place}.Clipping", Unclipped)
    assert failing(gradient_tracking(steps=3)) == expected


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return scaling._run(tmp_path_factory.mktemp("run"), 1)


class Changed:
    """A run whose probes are others than those in its folder."""

    def __init__(self, record: Any, probes: pd.DataFrame):
        self._record, self.probes = record, probes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record, name)


@pytest.mark.parametrize(
    "change",
    [
        lambda probes: probes.assign(value=probes["value"] * (1 + 1e-5)),
        lambda probes: probes[probes["layer"] != "output"],
    ],
    ids=["another value", "a layer missing"],
)
def test_events_that_say_something_else_are_found(
    change: Callable[[pd.DataFrame], pd.DataFrame], trained: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(record: Any, folder: Path) -> int:
        return tensorboard.write_events(Changed(record, change(record.probes)), folder)  # type: ignore[arg-type]

    monkeypatch.setattr(scaling, "write_events", wrong)
    found = failing(scaling._read_back(trained, tmp_path / "events"))
    assert [what[:24] for what in found] == 2 * ["event files against the "]


def test_without_tensorboard_it_says_what_is_not_tested(trained: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "_run", lambda folder, steps: trained)
    monkeypatch.setattr("bnexp.errors.find_spec", lambda name: None)
    *_, last = gradient_tracking(steps=1)
    assert last.found == "not tested: tensorboard is not installed: pip install '.[tensorboard]' in the clone of bnexp"
    assert last.error is None


# Inputs


def test_scaling_holds() -> None:
    assert failing(input_scaling()) == []


class Clamped(Normalization):
    """Cuts off what leaves 0 to 1."""

    def __call__(self, images_P: Any) -> Any:
        return super().__call__(images_P).clamp(0, 1)


def clamped(fitted: Normalization) -> Normalization:
    return Clamped(fitted.shift_P, fitted.spread_P, None)


AFFINE = ["z-score of the bytes", "z-score and back", "min-max of the bytes", "min-max and back"]
TRANSFORMS: dict[str, tuple[Callable[[Normalization], Normalization], list[str]]] = {
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


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_another_transform_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, expected = TRANSFORMS[kind]
    fit = scaling.fit
    monkeypatch.setattr(scaling, "fit", lambda *args: change(fit(*args)))
    found = failing(input_scaling())
    assert len(found) == len(expected)
    assert all(what.startswith(start) for what, start in zip(found, expected, strict=True))


def test_the_linear_range_holds() -> None:
    findings = list(linear_regime(steps=3))
    assert failing(findings) == []
    assert len(findings) == 7


def test_a_steeper_nonlinearity_has_no_such_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "last_moments", lambda **raw: {})
    monkeypatch.setattr(torch.Tensor, "sigmoid", lambda z: torch.sigmoid(4 * z))
    assert failing(linear_regime()) == ["a line fitted to a sigmoid over N(0, 1)"]


def test_a_fit_that_gets_better_with_wider_inputs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "last_moments", lambda **raw: {})
    monkeypatch.setattr(scaling, "WIDTHS", (1.0, 4.0, 2.0))
    assert failing(linear_regime()) == ["R² by the standard deviation of the inputs"]
