"""Clipping and its record hold; clipping by another rule, and events that miss or change a number, are found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bnexp.claims.checks import gradients
from bnexp.claims.checks.gradients import clipping_numbers, gradient_tracking
from bnexp.claims.results import Finding
from bnexp.config.train import ClipSettings
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


def not_at_all(clip: Clipping, gradient: Matrices) -> Matrices:
    return gradient


WRONG: dict[str, tuple[Callable[[Clipping, Matrices], Matrices], list[str]]] = {
    "by value": (by_value, [NORM, DIRECTION, TENSOR, GLOBAL]),
    "to the norm, also where it is smaller": (by_norm, [VALUE, TENSOR, GLOBAL]),
    "not at all": (not_at_all, [VALUE, NORM, TENSOR, GLOBAL]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_another_rule_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, expected = WRONG[kind]
    monkeypatch.setattr(Clipping, "__call__", rule)
    assert failing(clipping_numbers()) == expected


def test_one_norm_in_place_of_the_other_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(**settings: float) -> ClipSettings:
        other = {"norm_global": "norm_per_tensor", "norm_per_tensor": "norm_global"}
        return ClipSettings(**{other.get(name, name): limit for name, limit in settings.items()})

    monkeypatch.setattr(gradients, "ClipSettings", swapped)
    assert failing(clipping_numbers()) == [TENSOR, GLOBAL]


def test_tracking_holds() -> None:
    assert failing(gradient_tracking(steps=3)) == []


@pytest.fixture
def not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "_read_back", lambda record, folder: iter([Finding("events", "not read")]))


RECORDED = "probes.csv of 6 weights over 3 updates, norm_per_tensor: 0.5"
MADE = "norms as clipped against ‖ΔW‖ / rate of the updates that were made"


@pytest.mark.usefixtures("not_read")
def test_clipping_that_does_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clipping, "__call__", not_at_all)
    assert failing(gradient_tracking(steps=3)) == [RECORDED]


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
    return gradients._run(tmp_path_factory.mktemp("run"), 1)


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
        lambda probes: probes.assign(value=probes["value"] * float("nan")),
        lambda probes: probes[probes["layer"] != "output"],
        lambda probes: probes[:0],
    ],
    ids=["another value", "no number", "a layer missing", "none at all"],
)
def test_events_that_say_something_else_are_found(
    change: Callable[[pd.DataFrame], pd.DataFrame], trained: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(record: Any, folder: Path) -> int:
        return tensorboard.write_events(Changed(record, change(record.probes)), folder)  # type: ignore[arg-type]

    monkeypatch.setattr(gradients, "write_events", wrong)
    found = failing(gradients._read_back(trained, tmp_path / "events"))
    assert [what[:24] for what in found] == 2 * ["event files against the "]


def test_without_tensorboard_it_says_what_is_not_tested(trained: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "_run", lambda folder, steps: trained)
    monkeypatch.setattr("bnexp.errors.find_spec", lambda name: None)
    *_, last = gradient_tracking(steps=1)
    assert last.found == "not tested: tensorboard is not installed: pip install '.[tensorboard]' in the clone of bnexp"
    assert last.error is None
