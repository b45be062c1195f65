"""Times to a threshold: the first record at or above it, and a median that knows about censoring."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.stats import censored_median, first_reached, restricted_mean
from tests.analysis.conftest import a_study
from tests.helpers import NEAR_FLOAT64

NEVER = np.nan


def test_the_first_record_at_or_above_the_threshold_counts() -> None:
    accuracies = [[0.1, 0.5, 0.9, 0.4, 0.95], [0.1, 0.2, 0.3], [0.92, 0.1], [0.1, np.nan, 0.91]]
    study = a_study({"arm": "none", "seed": seed, "curve": each} for seed, each in enumerate(accuracies))
    reached = first_reached(study.curves.sample(frac=1, random_state=0), "test_accuracy", 0.9)
    expected = pd.DataFrame({"epoch": [2, 0, 2], "step": [20, 0, 20], "seconds": [1.0, 0.0, 1.0]}, index=[0, 2, 3])
    pd.testing.assert_frame_equal(reached.sort_index(), expected, check_names=False)


BUDGET = 10
TABLE = [
    # the arm's times, the baseline's at the same seeds, the arm's median, its restricted mean, pairs that it leads in
    ([2, 3, 4, 5, 6], [4, 4, 4, 4, 4], 4, 4.0, 2),
    ([2, 3, NEVER, NEVER, 6], [4, 4, 4, 4, 4], 6, (2 + 3 + 10 + 10 + 6) / 5, 2),
    ([2, NEVER, NEVER, NEVER, 6], [NEVER, NEVER, 4, 4, 4], None, (2 + 10 + 10 + 10 + 6) / 5, 1),
    ([2, 8, NEVER, NEVER], [3, 8, NEVER, 1], 8, (2 + 8 + 10 + 10) / 4, 1),
    ([NEVER] * 3, [NEVER, NEVER, 10], None, 10.0, 0),
    ([10, 10, 10], [NEVER] * 3, 10, 10.0, 3),
    ([0, 0], [1, NEVER], 0, 0.0, 2),
]


def curve(time: float) -> list[float]:
    """Accuracies after each epoch of the budget that reach 0.9 at a time, and then fall again."""
    return [0.95 if epoch == time else 0.1 for epoch in range(BUDGET + 1)]


@pytest.mark.parametrize(("times", "others", "median", "mean", "first"), TABLE)
def test_a_table_worked_out_by_hand(times, others, median, mean, first) -> None:
    assert censored_median(times) == median
    assert restricted_mean(times, [BUDGET] * len(times)) == pytest.approx(mean)
    rows = [
        {"arm": arm, "seed": seed, "accuracy": 0.5, "curve": curve(time)}
        for arm, each in (("none", others), ("before", times))
        for seed, time in enumerate(each)
    ]
    row = compare_arms(a_study(rows)).rows[1]
    assert (row.epochs_to_threshold, row.first, row.pairs) == (median, first, len(times))
    assert row.restricted_epochs == pytest.approx(mean)
    assert row.reached == sum(not np.isnan(time) for time in times)
    assert row.seconds_to_threshold == (None if median is None else median / 2)


def test_a_trial_that_stopped_early_is_charged_the_whole_budget_of_its_grid_point() -> None:
    rows = [
        {"arm": "none", "seed": seed, "train.epochs": epochs, "accuracy": 0.1, "curve": [0.1] * (ended + 1)}
        for epochs, seed, ended in ((3, 0, 3), (3, 1, 1), (8, 0, 8), (8, 1, 8))
    ]
    study = a_study(rows, ["none"])
    assert [row.restricted_epochs for row in compare_arms(study).rows] == [3, 8]
    (row,) = compare_arms(study, by=[]).rows
    assert row.restricted_epochs == (3 + 8) / 2


@pytest.mark.parametrize("seed", range(4))
def test_median_and_restricted_mean_are_those_of_scipys_survival_function(seed: int) -> None:
    random = np.random.default_rng(seed)
    budget, trials = 30, int(random.integers(5, 60))
    times = np.ceil(random.exponential(25, trials))  # a trial may get there in its last epoch
    reached = times <= budget
    censored = np.where(reached, times, budget)
    survival = stats.ecdf(stats.CensoredData.right_censored(censored, ~reached)).sf
    known = np.where(reached, times, NEVER)

    ends = np.append(survival.quantiles[survival.quantiles < budget], budget)
    heights = np.append(1, survival.probabilities[: len(ends) - 1])
    area = float(np.sum(heights * np.diff(ends, prepend=0)))
    assert restricted_mean(known, np.full(trials, budget)) == pytest.approx(area, rel=NEAR_FLOAT64)

    half = survival.quantiles[survival.probabilities <= 0.5 + NEAR_FLOAT64]
    expected = half[0] if half.size and reached[times == half[0]].any() else None
    assert censored_median(known) == expected
    assert restricted_mean([], []) is censored_median([]) is None
