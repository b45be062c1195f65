"""A trial's row: final numbers from its last record, the best by validation alone."""

from typing import Any

import pytest

from bnexp.plan import Trial, trials
from bnexp.records import MEASURES, Outcome
from bnexp.store.results import TRIAL_COLUMNS, trial_row
from tests.helpers import experiment


@pytest.fixture
def trial() -> Trial:
    return trials(experiment(arms=["none", "before"], grid={"train.lr": [0.1, 1]}, seeds=[5]))[3]


def records(*validation: float | None, test: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)) -> list[dict[str, Any]]:
    return [
        dict.fromkeys(MEASURES, 0.5) | {"val_accuracy": val, "test_accuracy": test[i], "seconds": float(i)}
        for i, val in enumerate(validation)
    ]


DONE = Outcome(3, "completed")


def test_an_unfinished_trial_has_its_settings_only(trial: Trial) -> None:
    assert trial_row(trial, records(0.5), None) == {"trial": 3, "arm": "before", "seed": 5, "train.lr": 1}


def test_final_numbers_are_those_of_the_last_record(trial: Trial) -> None:
    rows = records(0.9, 0.6)
    rows[-1] |= {"train_loss": 1.5, "train_accuracy": 0.7}
    row = trial_row(trial, rows, DONE)
    assert {
        name: row[f"final_{name}"] for name in ("train_loss", "train_accuracy", "val_accuracy", "test_accuracy")
    } == {
        "train_loss": 1.5,
        "train_accuracy": 0.7,
        "val_accuracy": 0.6,
        "test_accuracy": 0.2,
    }
    assert (row["outcome"], row["diverged_step"], row["reason"], row["seconds"]) == ("completed", None, "", 1.0)
    assert set(row) == {"trial", "arm", "seed", "train.lr", *TRIAL_COLUMNS}


@pytest.mark.parametrize(
    ("validation", "best", "test_there"),
    [
        ((0.2, 0.8, 0.5), 0.8, 0.2),
        ((0.8, 0.8, 0.8), 0.8, 0.1),
        ((0.1, 0.7, 0.3, 0.7), 0.7, 0.2),
        ((0.0, 0.0), 0.0, 0.1),
        ((0.3,), 0.3, 0.1),
    ],
)
def test_the_best_is_the_first_highest_validation_and_the_test_accuracy_is_the_one_beside_it(
    trial: Trial, validation: tuple[float, ...], best: float, test_there: float
) -> None:
    row = trial_row(trial, records(*validation), DONE)
    assert (row["best_val_accuracy"], row["test_accuracy_at_best_val"]) == (best, test_there)


def test_without_validation_images_there_is_no_best(trial: Trial) -> None:
    row = trial_row(trial, records(None, None), DONE)
    assert not {"best_val_accuracy", "test_accuracy_at_best_val"} & set(row)
    assert row["final_test_accuracy"] == 0.2


@pytest.mark.parametrize(
    "outcome", [Outcome(3, "diverged", diverged_step=12), Outcome(3, "failed", reason="MemoryError: out of memory")]
)
def test_how_a_trial_ended_stands_beside_what_was_measured(trial: Trial, outcome: Outcome) -> None:
    row = trial_row(trial, records(0.4), outcome)
    assert (row["outcome"], row["diverged_step"], row["reason"]) == (
        outcome.kind,
        outcome.diverged_step,
        outcome.reason,
    )
    assert (row["final_val_accuracy"], row["best_val_accuracy"]) == (0.4, 0.4)


def test_a_trial_that_failed_before_its_first_record_has_no_numbers(trial: Trial) -> None:
    row = trial_row(trial, [], Outcome(3, "failed", reason="no memory"))
    assert row["reason"] == "no memory"
    assert not [name for name in row if name.startswith(("final", "best"))]
