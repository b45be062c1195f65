"""What a measure looks at in each trial, by hand."""

import numpy as np
import pytest

from bnexp.claims.pairs import trial_values
from tests.claims.made_up import a_study, measure

PROBES = [
    ("hidden.0", "saturation", 0, 0.2),
    ("hidden.1", "saturation", 0, 0.4),
    ("hidden.0", "saturation", 50, -0.6),
    ("hidden.1", "saturation", 50, 0.8),
    ("hidden.0", "rank", 0, 99.0),
]


def values(row: dict[str, object], **raw: object) -> tuple[float, bool]:
    found = trial_values(a_study({"arm": "none", "seed": 0} | row), measure(**raw)).iloc[0]
    return found["value"], found["bound"]


def test_a_column_of_the_table() -> None:
    assert values({"accuracy": 0.7}) == (0.7, False)


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, (20, False)), (0.65, (30, False)), (0.9, (40, True))])
def test_steps_to_a_threshold(threshold: float, expected: tuple[float, bool]) -> None:
    row = {"curve": [0.1, 0.4, 0.6, 0.8, 0.7]}
    assert values(row, value="steps_to", better="lower", threshold=threshold) == expected


def test_seconds_per_step_are_over_all_steps() -> None:
    assert values({"curve": [0.1, 0.2, 0.3], "pace": 2.0}, value="seconds_per_step") == (pytest.approx(0.2), False)


def test_roughness_is_the_spread_of_the_changes_in_the_second_half() -> None:
    curve = [0.1, 0.9, 0.1, 0.5, 0.6, 0.4, 0.8]
    assert values({"curve": curve}, value="roughness")[0] == pytest.approx(np.std([0.1, -0.2, 0.4], ddof=1))


def test_the_gap_is_training_less_test_accuracy() -> None:
    assert values({"accuracy": 0.7, "train": 0.9}, value="gap")[0] == pytest.approx(0.2)


@pytest.mark.parametrize(("loss", "expected"), [(0.75, 0.05), (0.5, 0.1), (0.25, 0.3), (0.1, np.nan)])
def test_the_gap_at_a_loss_is_on_the_line_between_two_records_or_not_measured(loss: float, expected: float) -> None:
    study = a_study({"arm": "none", "seed": 0, "curve": [0.5, 0.5, 0.5], "losses": [1.0, 0.5, 0.25]})
    study.curves["train_accuracy"] = [0.5, 0.6, 0.8]
    found = trial_values(study, measure(value="gap_at_loss", loss=loss)).iloc[0]
    assert (found["value"], found["bound"]) == (pytest.approx(expected, nan_ok=True), False)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, 0.2),
        ({"layer": "hidden.1"}, 0.6),
        ({"steps": [0, 0]}, 0.3),
        ({"steps": [1, 50]}, 0.1),
        ({"layer": "hidden.0", "steps": [50, 50]}, -0.6),
        ({"layer": "hidden.0", "steps": [50, 50], "absolute": True}, 0.6),
    ],
)
def test_a_probe_is_averaged_over_what_is_asked_for(raw: dict[str, object], expected: float) -> None:
    assert values({"probes": PROBES}, value="probe", probe="saturation", **raw)[0] == pytest.approx(expected)


def test_a_probe_that_found_nothing_has_no_value() -> None:
    assert np.isnan(values({"probes": PROBES}, value="probe", probe="dead_units")[0])
    assert np.isnan(values({}, value="probe", probe="saturation")[0])


@pytest.mark.parametrize("value", ["roughness", "gap", "gap_at_loss"])
def test_how_a_trial_that_has_diverged_learned_is_not_measured(value: str) -> None:
    row = {"curve": [0.1, 0.5, 0.3, 0.5, 0.4], "losses": [1.0, 0.05, 0.05, 0.05, 0.05]}
    assert np.isfinite(values(row, value=value)[0])
    assert np.isnan(values(row | {"outcome": "diverged"}, value=value)[0])


def test_a_trial_that_got_there_and_then_diverged_is_cut_off() -> None:
    row = {"curve": [0.1, 0.95, 0.1, 0.1], "outcome": "diverged"}
    assert values(row, value="steps_to", better="lower") == (30, True)


@pytest.mark.parametrize(("outcome", "expected"), [("diverged", 1.0), ("completed", 0.0)])
def test_diverged_is_1_or_0(outcome: str, expected: float) -> None:
    assert values({"outcome": outcome}, value="diverged") == (expected, False)
