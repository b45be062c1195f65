"""Trials find their partner and their cell, and contribute what was measured."""

import numpy as np
import pandas as pd
import pytest

from bnexp.analysis.pairing import (
    FOR_A_SPREAD,
    MEASURES,
    cells,
    complete,
    grid_points,
    measured,
    pair_trials,
    point_numbers,
)

# Trials find their partner and their cell, whatever the grid values are.

KEYS = ["train.clip", "model.activation"]


@pytest.fixture
def trials() -> pd.DataFrame:
    rows = [
        ("none", 0, np.nan, "relu", "completed", 0.1),
        ("before", 0, np.nan, "relu", "diverged", 0.2),
        ("before", 0, 1.0, "relu", "completed", 0.3),
        ("none", 0, 1.0, "relu", "failed", 0.4),
        ("before", 1, np.nan, "relu", "completed", 0.5),
        ("none", 1, np.nan, "tanh", "completed", 0.6),
        ("none", 1, np.nan, "relu", "completed", np.nan),
        ("before", 1, np.nan, "tanh", None, np.nan),
    ]
    frame = pd.DataFrame(rows, columns=["arm", "seed", *KEYS, "outcome", "score"])
    return frame.assign(trial=range(10, 18))


def measures(trials: pd.DataFrame) -> pd.DataFrame:
    """The score as every measure."""
    return pd.DataFrame(dict.fromkeys(MEASURES, trials["score"]))


def test_points_are_numbered_as_they_appear_and_blanks_are_values(trials: pd.DataFrame) -> None:
    assert point_numbers(trials, KEYS).tolist() == [0, 0, 1, 1, 0, 2, 0, 2]
    assert grid_points(trials, KEYS) == [
        {"train.clip": None, "model.activation": "relu"},
        {"train.clip": 1.0, "model.activation": "relu"},
        {"train.clip": None, "model.activation": "tanh"},
    ]


def test_partners_share_seed_and_point_and_both_finished(trials: pd.DataFrame) -> None:
    paired = pair_trials(trials, measures(trials), grid_keys=KEYS, baseline="none").set_index("trial")
    assert paired.index.tolist() == trials["trial"].tolist()
    assert paired.index[paired["paired"]].tolist() == [10, 11, 14, 15, 16]
    assert paired.loc[11, "partner_value"] == 0.1
    assert np.isnan(
        paired.loc[14, "partner_value"]
    )  # the baseline finished without a finite value: a pair all the same
    assert paired["finished"].tolist() == [True, True, True, False, True, True, True, False]


def test_cells_come_as_they_appear(trials: pd.DataFrame) -> None:
    paired = pair_trials(trials, measures(trials), grid_keys=KEYS, baseline="none")
    found = [(place, cell["trial"].tolist()) for place, cell in cells(paired, point_numbers(trials, KEYS))]
    assert found == [(0, [10, 16]), (0, [11, 14]), (1, [12]), (1, [13]), (2, [15]), (2, [17])]
    assert list(cells(paired[:0], point_numbers(trials[:0], KEYS))) == []


# Means over grid points take the seeds that have all of them.


def kept(table: str, fewest: int = FOR_A_SPREAD) -> str:
    """Return a table of places (rows) and seeds (columns) with what is left: x a trial, - none."""
    rows = table.split()
    there = np.array([[mark == "x" for mark in row] for row in rows])
    places, seeds = np.nonzero(there)
    marked = np.zeros_like(there)
    marked[places, seeds] = complete(places, seeds, fewest)
    return " ".join("".join("-x"[mark] for mark in row.astype(int)) for row in marked)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("xxx xxx xxx", "xxx xxx xxx"),
        ("xxx x-x xxx", "x-x x-x x-x"),
        ("xxxxxx xx---- xx----", "xx---- xx---- xx----"),
        ("xxx--- xxxxxx xxx---", "xxx--- xxx--- xxx---"),
        ("x x x", "x x x"),
        ("x", "x"),
        # Fewer than two seeds have all places: the place with the fewest goes.
        ("xxxx xxxx x---", "xxxx xxxx ----"),
        ("xxx--- ---xxx", "xxx--- ------"),
        ("xx---- --xxxx", "------ --xxxx"),
        ("x- -x", "x- --"),
        ("xx-- -xx- --xx xxxx", "xx-- ---- ---- xx--"),
    ],
)
def test_what_is_left(table: str, expected: str) -> None:
    assert kept(table) == expected


def test_one_seed_may_be_enough() -> None:
    assert kept("xxxx xxxx x---", fewest=1) == "x--- x--- x---"
    assert kept("xxx--- ---xxx", fewest=1) == "xxx--- ------"


def test_nothing_has_nothing() -> None:
    assert complete([], []).tolist() == []


def test_names_and_order_do_not_matter() -> None:
    places, seeds = np.array([5, 5, 9, 9, 5]), np.array(["b", "a", "a", "b", "c"])
    assert complete(places, seeds).tolist() == [True, True, True, True, False]


# What a trial contributes, from a curve worked out by hand.


@pytest.fixture
def measured_trials() -> pd.DataFrame:
    """Three trials, not in the order of their numbers; the last one has no record."""
    blank = dict.fromkeys(["final_val_accuracy", "best_val_accuracy", "test_accuracy_at_best_val"], np.nan)
    rows = {
        "trial": [7, 3, 5],
        "final_train_accuracy": [0.95, 0.6, np.nan],
        "final_test_accuracy": [0.9, 0.7, np.nan],
        "final_train_loss": [0.1, 1.0, np.nan],
    }
    return pd.DataFrame(rows).assign(**blank)


@pytest.fixture
def curves() -> pd.DataFrame:
    rows = [
        (3, 0, 0, 0.0, 0.1),
        (7, 0, 0, 0.0, 0.1),
        (7, 2, 20, 3.0, 0.9),
        (7, 1, 10, 1.0, 0.8),
        (3, 2, 20, 5.0, 0.7),
    ]
    return pd.DataFrame(rows, columns=["trial", "epoch", "step", "seconds", "test_accuracy"])


def test_every_measure(measured_trials: pd.DataFrame, curves: pd.DataFrame) -> None:
    frame = measured(measured_trials, curves, "final_test_accuracy", 0.8)
    assert tuple(frame) == MEASURES
    expected = {
        "value": [0.9, 0.7, np.nan],
        "gap": [0.05, -0.1, np.nan],
        "epoch": [1, np.nan, np.nan],
        "there": [1.0, np.nan, np.nan],
        "seconds": [3.0, 5.0, np.nan],
        "seconds_per_epoch": [1.5, 2.5, np.nan],
        "seconds_per_step": [0.15, 0.25, np.nan],
        "epochs": [2, 2, np.nan],
        "validation": [np.nan, np.nan, np.nan],
    }
    pd.testing.assert_frame_equal(frame, pd.DataFrame(expected))


def test_the_gap_is_to_validation_where_nothing_was_tested(measured_trials: pd.DataFrame, curves: pd.DataFrame) -> None:
    untested = measured_trials.assign(final_test_accuracy=np.nan, final_val_accuracy=[0.5, 0.5, np.nan])
    curves = curves.assign(train_accuracy=curves["test_accuracy"])
    gap = measured(untested, curves, "final_train_accuracy", 0.8)["gap"]
    assert gap.tolist()[:2] == pytest.approx([0.45, 0.1])
