"""How much an arm minds a setting: worst, best and spread along an axis, and where it can be used at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import RobustnessRow
from tests.analysis.conftest import a_study

LR = "train.lr"
CHANCE = 0.1
Scores = Mapping[str, Mapping[object, Sequence[float]]]
"""By arm and value of the axis, each seed's accuracy."""


def trials(scores: Scores) -> list[dict]:
    return [
        {"arm": arm, "seed": seed, LR: at, "accuracy": accuracy}
        for arm, along in scores.items()
        for at, accuracies in along.items()
        for seed, accuracy in enumerate(accuracies)
    ]


def robustness(*rows: dict, chance: float | None = CHANCE, **options) -> tuple[RobustnessRow, ...]:
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    found = compare_arms(a_study(rows, arms, chance), **options).robustness
    json.dumps([asdict(row) for row in found], allow_nan=False)
    return found


def along(values: Mapping[object, Sequence[float]], **options) -> RobustnessRow:
    (row,) = robustness(*trials({"none": values}), **options)
    return row


def usable(values: Mapping[object, Sequence[float]], **options) -> tuple:
    row = along(values, **options)
    return row.usable, row.usable_low, row.usable_high, row.width


def test_both_arms_by_hand() -> None:
    none, before = robustness(
        *trials(
            {
                "none": {0.01: [0.3, 0.5], 0.1: [0.6, 0.8], 1.0: [0.1, 0.1], 10.0: [0.1, 0.1]},
                "before": {0.01: [0.2, 0.4], 0.1: [0.8, 0.8], 1.0: [0.9, 0.7], 10.0: [0.5, 0.3]},
            }
        )
    )
    shared = {"axis": LR, "baseline": "none", "values": 4, "guessing": CHANCE, "guessing_measured": False}
    shared["usable_above"] = pytest.approx(0.12)
    assert asdict(none) == shared | {
        "arm": "none",
        "worst": pytest.approx(0.1),
        "worst_at": 1.0,
        "best": pytest.approx(0.7),
        "best_at": 0.1,
        "spread": pytest.approx(0.6),
        "usable": 2,
        "usable_low": 0.01,
        "usable_high": 0.1,
        "width": pytest.approx(10),
        "width_ratio": None,
    }
    assert asdict(before) == shared | {
        "arm": "before",
        "worst": pytest.approx(0.3),
        "worst_at": 0.01,
        "best": pytest.approx(0.8),
        "best_at": 1.0,  # of 0.1 and 1.0 alike, the last
        "spread": pytest.approx(0.5),
        "usable": 4,
        "usable_low": 0.01,
        "usable_high": 10.0,
        "width": pytest.approx(1000),
        "width_ratio": pytest.approx(100),
    }


@pytest.mark.parametrize(("seeds", "needed"), [(10, 9), (20, 18), (6, 6), (1, 1)])
def test_nine_seeds_in_ten_make_a_value_usable_and_one_fewer_does_not(seeds: int, needed: int) -> None:
    def share(trained: int) -> list[float]:
        return [0.5] * trained + [CHANCE] * (seeds - trained)

    assert usable({1: share(needed), 2: share(needed - 1)}) == (1, 1, 1, 1)


@pytest.mark.parametrize("chance", [0.1, 0.01])
def test_two_points_above_chance_is_not_enough_and_a_little_more_is(chance: float) -> None:
    at, above = round(chance + 0.02, 4), round(chance + 0.0201, 4)
    assert usable({1: [at], 2: [above]}, chance=chance) == (1, 2, 2, 1)


def test_a_diverged_trial_has_not_been_trained_and_failed_or_unfinished_ones_say_nothing() -> None:
    rows = trials({"none": {1: [0.9], 2: [0.9]}})
    rows[1]["outcome"] = "diverged"
    (row,) = robustness(*rows)
    assert (row.usable, row.usable_high, row.worst) == (1, 1, 0.9)
    rows = trials({"none": {1: [0.9, 0.1], 2: [0.9, 0.1], 3: [0.2]}})
    rows[1]["outcome"], rows[3]["outcome"], rows[4]["outcome"] = "failed", None, "failed"
    (row,) = robustness(*rows)
    assert (row.values, row.usable, row.worst) == (2, 2, 0.9)


def test_means_along_an_axis_are_over_the_seeds_that_have_all_of_it() -> None:
    scores = {1: [0.5, 0.5, 0.5, 0.9, 0.9], 2: [0.7, 0.7, 0.7], 3: [0.4, 0.4, 0.4]}
    row = along(scores)
    assert (row.best, row.best_at, row.worst) == (pytest.approx(0.7), 2, pytest.approx(0.4))


def test_chance_is_by_default_what_was_measured_before_training() -> None:
    rows = [{**row, "curve": [0.3, row["accuracy"]]} for row in trials({"none": {1: [0.31], 2: [0.33]}})]
    (row,) = robustness(*rows, chance=None)
    assert (row.usable, row.usable_low) == (1, 2)
    assert (row.usable_above, row.guessing, row.guessing_measured) == (pytest.approx(0.32), pytest.approx(0.3), True)
    (row,) = robustness(*rows)
    assert row.usable == 2


def test_a_value_is_usable_at_the_best_of_the_other_settings() -> None:
    rows = [
        {"arm": "none", "seed": seed, LR: lr, "model.depth": depth, "accuracy": accuracy}
        for lr, depth, accuracies in ((1, 2, [0.1, 0.1]), (1, 5, [0.5, 0.5]), (2, 2, [0.5, 0.1]), (2, 5, [0.1, 0.5]))
        for seed, accuracy in enumerate(accuracies)
    ]
    by_rate, by_depth = robustness(*rows)
    assert (by_rate.axis, by_rate.usable, by_rate.usable_low) == (LR, 1, 1)
    assert (by_rate.worst, by_rate.best) == (pytest.approx(0.3), pytest.approx(0.3))
    assert (by_depth.axis, by_depth.usable, by_depth.usable_low) == ("model.depth", 1, 5)
    assert (by_depth.worst, by_depth.worst_at) == (pytest.approx(0.2), 2)


@pytest.mark.parametrize(
    ("good", "ends"), [("-", (None, None)), ("x-xx", (3, 4)), ("xx-xx", (1, 2)), ("-xxx-xx", (2, 4))]
)
def test_the_longest_stretch_or_the_first_of_equally_long_ones(good: str, ends: tuple) -> None:
    assert usable({at: [0.5 if mark == "x" else 0.1] for at, mark in enumerate("--" + good, start=-1)})[1:3] == ends


def test_an_axis_with_zero_has_a_range_but_no_width() -> None:
    assert usable({value: [0.5] for value in (0, 1, 10)}) == (3, 0, 10, None)


def test_an_arm_without_usable_values_or_finished_trials_has_blanks() -> None:
    for none, before, widths in ((0.1, 0.5, [None, 2]), (0.5, 0.1, [2, None])):
        rows = robustness(*trials({"none": {1: [none], 2: [none]}, "before": {1: [before], 2: [before]}}))
        assert [row.width for row in rows] == widths
        assert rows[1].width_ratio is None
    (row,) = robustness(*(row | {"outcome": "failed"} for row in trials({"none": {1: [0.5], 2: [0.5]}})))
    assert (row.values, row.worst, row.worst_at, row.spread, row.usable) == (0, None, None, None, 0)


@pytest.mark.parametrize("values", [["he", "xavier"], [True, False], ["100 50", 100], [1.0], [None, 1.0], [None]])
def test_what_is_no_axis_of_numbers_has_no_row(values: list) -> None:
    assert robustness(*trials({"none": {value: [0.5] for value in values}})) == ()


def test_null_is_no_place_on_an_axis() -> None:
    row = along({None: [0.2], 1.0: [0.5], 5.0: [0.6]})
    assert (row.values, row.worst, row.worst_at, row.usable_high) == (2, 0.5, 1, 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 9.0])
def test_of_a_loss_the_highest_or_one_without_bounds_is_the_worst(bad: float) -> None:
    rows = trials({"none": {1: [0.5, 0.5], 2: [0.5, 0.1]}})
    rows[3] |= {"loss": bad, "outcome": "diverged"}
    (row,) = robustness(*rows, metric="final_train_loss")
    worst, spread = ((0.5 + 9) / 2, 4.25) if bad == 9 else (None, None)
    assert (row.worst, row.worst_at, row.best, row.best_at, row.spread) == (worst, 2, 0.5, 1, spread)
    assert row.usable == 1  # by accuracy, as ever


# Everything else equal


EPOCHS = "train.epochs"


def crossed(points: Sequence[tuple[Any, Any]], arm: str = "none") -> list[dict]:
    """A trial at each point of rate and epochs; its accuracy tells the point."""
    return [
        {"arm": arm, "seed": 0, LR: lr, EPOCHS: epochs, "accuracy": lr / 10 + epochs / 100} for lr, epochs in points
    ]


TOGETHER, THREE, TWO = [(1, 1), (2, 2), (3, 3)], [(1, 1), (2, 1), (3, 1)], [(1, 1), (2, 1)]


@pytest.mark.parametrize(
    ("none", "before", "expected"),
    [
        (TOGETHER, TOGETHER, []),  # settings that only change together have no axis
        # Arms are held against each other at the values that all of them tried.
        (THREE, [(2, 1), (3, 1), (4, 1)], [(LR, "none", 2, 2, 3), (LR, "before", 2, 2, 3)]),
        (TWO, [(2, 1)], [(LR, "none", 2, 1, 2)]),  # an arm with one value is in nobody's way
        (TWO, [(3, 1), (4, 1)], []),
        (TWO, [(1, 5), (2, 5)], []),
    ],
)
def test_an_axis_is_where_all_arms_tried_several_values_at_the_same_points(none, before, expected) -> None:
    rows = robustness(*crossed(none), *crossed(before, "before"))
    assert [(row.axis, row.arm, row.values, row.worst_at, row.best_at) for row in rows] == expected


def test_points_of_the_other_settings_without_all_values_are_left_out() -> None:
    (row,) = robustness(*crossed([(1, 1), (2, 1), (3, 1), (1, 5), (2, 5), (3, 9)]))[:1]
    assert (row.axis, row.values, row.worst, row.best) == (LR, 3, pytest.approx(0.11), pytest.approx(0.31))
