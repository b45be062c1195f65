"""Means over grid points take the seeds that have all of them, and trials contribute what was measured."""

import numpy as np
import pandas as pd
import pytest

from bnexp.analysis.pairing import FOR_A_SPREAD, complete, measured


def kept(table: str, fewest: int = FOR_A_SPREAD) -> str:
    """Return a table of places (rows) and seeds (columns) with what is left: x a trial, - none."""
    there = np.array([[mark == "x" for mark in row] for row in table.split()])
    places, seeds = np.nonzero(there)
    marked = np.zeros_like(there)
    marked[places, seeds] = complete(places, seeds, fewest)
    return " ".join("".join("-x"[mark] for mark in row.astype(int)) for row in marked)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("xxx x-x xxx", "x-x x-x x-x"),
        ("xxx--- xxxxxx xxx---", "xxx--- xxx--- xxx---"),
        ("x x x", "x x x"),
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
    assert complete([], []).tolist() == []


def test_names_and_order_do_not_matter() -> None:
    places, seeds = np.array([5, 5, 9, 9, 5]), np.array(["b", "a", "a", "b", "c"])
    assert complete(places, seeds).tolist() == [True, True, True, True, False]


# What a trial contributes, from a curve worked out by hand.


def test_every_measure() -> None:
    # Three trials, not in the order of their numbers; the last one has no record.
    trials = pd.DataFrame(
        {
            "trial": [7, 3, 5],
            "final_train_accuracy": [0.95, 0.6, np.nan],
            "final_test_accuracy": [0.9, 0.7, np.nan],
            "final_val_accuracy": np.nan,
        }
    )
    records = [
        (3, 0, 0, 0.0, 0.1),
        (7, 0, 0, 0.0, 0.1),
        (7, 2, 20, 3.0, 0.9),
        (7, 1, 10, 1.0, 0.8),
        (3, 2, 20, 5.0, 0.7),
    ]
    curves = pd.DataFrame(records, columns=["trial", "epoch", "step", "seconds", "test_accuracy"])
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
    pd.testing.assert_frame_equal(measured(trials, curves, "final_test_accuracy", 0.8), pd.DataFrame(expected))
    untested = trials.assign(final_test_accuracy=np.nan, final_val_accuracy=[0.5, 0.5, np.nan])
    curves = curves.assign(train_accuracy=curves["test_accuracy"])
    gap = measured(untested, curves, "final_train_accuracy", 0.8)["gap"]  # to validation
    assert gap.tolist()[:2] == pytest.approx([0.45, 0.1])
