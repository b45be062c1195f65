"""Every field of a row, of a study that was worked out by hand."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import ArmRow
from bnexp.analysis.pairing import better
from tests.analysis.conftest import a_study

ARMS = ["none", "before"]
STUDY = [
    # arm, seed, outcome, final test and training accuracy, curve, seconds per epoch
    ("none", 0, "completed", 0.80, 0.85, [0.1, 0.6, 0.7, 0.8], 1.0),
    ("none", 1, "completed", 0.70, 0.80, [0.1, 0.5, 0.6, 0.7], 2.0),
    ("none", 2, "diverged", 0.60, 0.62, [0.1, 0.6], 1.0),
    ("none", 3, "failed", 0.99, 0.99, [0.1, 0.99], 9.0),
    ("before", 0, "completed", 0.90, 0.92, [0.1, 0.9, 0.9, 0.9], 1.5),
    ("before", 1, "completed", 0.75, 0.80, [0.1, 0.2, 0.3, 0.75], 2.5),
    ("before", 2, "completed", 0.65, 0.66, [0.1, 0.2, 0.65, 0.65], 3.0),
    ("before", 3, "completed", 0.95, 0.99, [0.1, 0.8, 0.9, 0.95], 4.0),
    ("before", 4, None, np.nan, np.nan, [0.1, 0.7], 5.0),
]
NAMES = ("arm", "seed", "outcome", "accuracy", "train", "curve", "pace")


def rows(*trials: dict, **options) -> tuple[ArmRow, ...]:
    return compare_arms(a_study(trials), threshold=0.7, **options).rows


def close(row: dict) -> dict:
    return {name: pytest.approx(value, rel=1e-6) if isinstance(value, float) else value for name, value in row.items()}


BASELINE = {
    "n": 3,
    "mean": 0.7,
    # 0.7 ± 4.302653 · 0.1 / √3
    "low": 0.4515862,
    "high": 0.9484138,
    "trials": 3,
    "diverged": 1,
    # Wilson: (1/3 + 1.920729/3 ± 1.959964 · √(2/27 + 0.960365/9)) / (1 + 3.841459/3)
    "diverged_low": 0.0614919,
    "diverged_high": 0.7923404,
    "survivors_mean": 0.75,
    "failed": 1,
    "gap": (0.05 + 0.10 + 0.02) / 3,
    "epochs_to_threshold": 3,
    "reached": 2,
    "restricted_epochs": (2 + 3 + 3) / 3,
    "seconds_to_threshold": 6.0,
    "seconds_per_epoch": 1.0,
}
NO_PAIRS = dict.fromkeys(("difference", "difference_low", "difference_high", "deviation", "effect", "p", "step_cost"))
TREATED = {
    "point": {},
    "arm": "before",
    "baseline": "none",
    "n": 4,
    "mean": 0.8125,
    # 0.8125 ± 3.182446 · √(0.056875 / 3) / 2
    "low": 0.5934053,
    "high": 1.0,  # 1.0315947, cut
    "difference": 0.2 / 3,
    # 0.2/3 ± 4.302653 · 0.0288675 / √3
    "difference_low": -0.00504421,
    "difference_high": 0.1383775,
    "deviation": 0.05 / 3**0.5,
    "effect": 4 / 3**0.5 / np.pi**0.5,
    "p": 0.25,
    "pairs": 3,
    "better": 3,
    "trials": 4,
    "diverged": 0,
    "diverged_low": 0.0,
    "diverged_high": 0.4898908,
    "survivors_mean": None,
    "failed": 0,
    "gap": (0.02 + 0.05 + 0.01 + 0.04) / 4,
    "epochs_to_threshold": 1,
    "reached": 3,
    "restricted_epochs": (1 + 3 + 3 + 1) / 4,
    "first": 1,
    "seconds_to_threshold": 4.0,
    "seconds_per_epoch": 2.75,
    "step_cost": 1.5,
}


def test_every_field_by_hand() -> None:
    baseline, treated = rows(*(dict(zip(NAMES, row, strict=True)) for row in STUDY))
    known = {"point": {}, "arm": "none", "baseline": "none", "pairs": 0, "better": 0, "first": 0}
    assert asdict(baseline) == close(known | NO_PAIRS | BASELINE)
    assert asdict(treated) == close(TREATED)


def grid_study() -> list[dict]:
    """Three seeds at two learning rates; at the second, seed 2 has no baseline."""
    found = [
        {"arm": arm, "seed": seed, "train.lr": lr, "accuracy": accuracy, "curve": [0.1, accuracy]}
        for lr, arm, accuracies in (
            (0.1, "none", [0.5, 0.6, 0.7]),
            (0.1, "before", [0.7, 0.7, 0.7]),
            (1.0, "none", [0.3, 0.3, 0.2]),
            (1.0, "before", [0.8, 0.5, 0.9]),
        )
        for seed, accuracy in enumerate(accuracies)
    ]
    return [row | ({"outcome": "failed"} if row["accuracy"] == 0.2 else {}) for row in found]


def test_grid_points_are_taken_together_seed_by_seed() -> None:
    baseline, row = rows(*grid_study(), by=[])
    # Seed 2 has one learning rate in the baseline: a mean with it would be over other points than those of the rest.
    assert (baseline.n, baseline.mean, baseline.trials) == (2, pytest.approx((0.4 + 0.45) / 2), 5)
    assert (row.n, row.trials, row.mean) == (3, 6, pytest.approx((0.75 + 0.6 + 0.8) / 3))
    differences = [0.75 - 0.4, 0.6 - 0.45]
    assert (row.pairs, row.better, row.difference) == (2, 2, pytest.approx(np.mean(differences)))
    assert row.p == 0.5
    assert row.point == {}


def test_a_lead_in_time_is_counted_by_seed_too() -> None:
    # Seed 0 leads at both learning rates; seed 1 at one; seed 2 has a pair at one only.
    _, row = rows(*grid_study(), by=[])
    assert [each.first for each in rows(*grid_study())] == [0, 2, 0, 1]
    assert (row.first, row.pairs) == (2, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_hides_what_it_enters_and_nothing_else(bad: float) -> None:
    trials = [
        {"arm": arm, "seed": seed, "accuracy": 0.5 + seed / 10, "loss": 0.3 if arm == "none" else 0.2}
        for arm in ARMS
        for seed in range(3)
    ]
    trials[1] |= {"loss": bad, "outcome": "diverged"}
    baseline, row = rows(*trials, metric="final_train_loss")
    assert (baseline.n, baseline.mean, baseline.low, baseline.diverged) == (3, None, None, 1)
    assert baseline.survivors_mean == pytest.approx(0.3)
    assert (row.mean, row.pairs, row.difference, row.effect, row.p) == (pytest.approx(0.2), 3, None, None, None)
    assert row.better == 3  # any number is better
    assert (row.gap, baseline.gap) == (0, 0)
    json.dumps([asdict(baseline), asdict(row)], allow_nan=False)


@pytest.mark.parametrize(
    ("none", "before", "cost"),
    [
        ((0.2, 0.2), (0.3, 0.3), None),
        ((0.5, 0.5), (0.3, 0.3), None),  # a second of steps in both arms
        ((0.5, 0.5), (1.0, 1.0), 2.0),
        ((0.0, 1.0), (1.0, 3.0), 3.0),  # a pair too short for the clock has none
    ],
)
def test_the_cost_of_a_step_takes_steps_that_can_be_timed(none: tuple, before: tuple, cost: float | None) -> None:
    trials = [
        {"arm": arm, "seed": seed, "accuracy": 0.5, "pace": pace}
        for arm, paces in (("none", none), ("before", before))
        for seed, pace in enumerate(paces)
    ]
    assert [row.step_cost for row in rows(*trials)] == [None, cost and pytest.approx(cost)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_tie_is_no_win_and_what_is_not_finite_is_worse_than_any_number(bad: float) -> None:
    assert better([0.1, 0, 0.3, 0.5], [0, 0, 0.4, 0.3], lower=False) == 2
    assert better([0.1, 0, 0.3, 0.5], [0, 0, 0.4, 0.3], lower=True) == 1
    for lower in (False, True):
        assert better([0.5] * 6, [bad] * 6, lower=lower) == 6
        assert better([bad] * 6, [0.5] * 6, lower=lower) == 0
        assert better([bad, bad], [np.nan, 0.5], lower=lower) == 0
        assert better([bad] * 6, [np.nan] * 6, lower=lower) is None  # nobody is better or worse
