"""Across data sets or networks: a difference at each value, and the probability of an improvement over all of them."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from bnexp.analysis.across import improvement, improvement_interval, with_across
from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import EVERYWHERE
from bnexp.analysis.pairing import paired_difference
from bnexp.errors import InputError
from tests.analysis.conftest import a_study
from tests.helpers import COVERED_SHARE

SETS = ("digits", "mnist")
OURS = {"digits": [0.90, 0.92, 0.91, 0.95], "mnist": [0.5, 0.7, 0.6, 0.8]}
THEIRS = {"digits": [0.91, 0.90, 0.90, 0.93], "mnist": [0.6, 0.5, 0.5, 0.6]}


def rows_across() -> list[dict[str, object]]:
    return [
        {"arm": arm, "seed": seed, "data.name": name, "accuracy": values[name][seed]}
        for name, (arm, values), seed in product(SETS, (("none", THEIRS), ("before", OURS)), range(4))
    ]


def test_each_data_set_has_its_difference_and_all_have_the_mean_probability_of_an_improvement() -> None:
    study = a_study(rows_across())
    rows = with_across(compare_arms(study), study, "name").across
    assert [(row.arm, row.value, row.seeds) for row in rows] == [
        ("before", "digits", 4),
        ("before", "mnist", 4),
        ("before", EVERYWHERE, 4),
    ]
    for row, name in zip(rows, SETS, strict=False):
        found = paired_difference(OURS[name], THEIRS[name], (-1, 1))
        assert (row.difference, row.difference_low, row.p) == pytest.approx((found.mean, found.low, found.p))
        assert row.improvement == pytest.approx(stats.mannwhitneyu(OURS[name], THEIRS[name]).statistic / 16)
    assert rows[2].improvement == pytest.approx(np.mean([row.improvement for row in rows[:2]]))
    assert (rows[2].mean, rows[2].difference, rows[2].p) == (None, None, None)


def test_the_interval_is_that_of_drawing_seeds_anew() -> None:
    at = [(np.array(OURS[name]), np.array(THEIRS[name])) for name in SETS]
    random, drawn = np.random.default_rng(5), []
    for _ in range(4_000):
        places = [random.integers(0, 4, 4) for _ in SETS]
        drawn.append(
            improvement([(mine[i], theirs[i]) for (mine, theirs), i in zip(at, places, strict=True)], lower=False)
        )
    assert improvement_interval(at, lower=False) == pytest.approx(np.percentile(drawn, (2.5, 97.5)), abs=0.03)
    assert improvement_interval(at, lower=False) == improvement_interval(at, lower=False)


def test_of_a_loss_less_is_better_and_what_is_not_finite_is_worst() -> None:
    at = [(np.array([0.1, np.nan]), np.array([0.2, 0.2]))]
    assert improvement(at, lower=True) == 0.5
    assert improvement([(np.array([np.inf]), np.array([np.nan]))], lower=True) == 0.5
    assert improvement([], lower=True) is None
    assert improvement_interval([(np.array([0.1]), np.array([0.2]))], lower=True) is None


def test_a_setting_that_is_the_same_in_all_trials_is_refused() -> None:
    study = a_study(rows_across())
    with pytest.raises(InputError, match=r"--across lr: no such column; there are data\.name"):
        with_across(compare_arms(study), study, "lr")


@pytest.mark.slow
def test_the_interval_holds_the_truth_in_95_of_100_studies() -> None:
    random, held = np.random.default_rng(0), []
    truth = (stats.norm.cdf(0.5 / 2**0.5) + stats.norm.cdf(1 / 2**0.5)) / 2
    for _ in range(1_000):
        at = [(random.normal(shift, 1, 20), random.normal(0, 1, 20)) for shift in (0.5, 1)]
        low, high = improvement_interval(at, lower=False) or (0, 0)
        held.append(low <= truth <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=3 * COVERED_SHARE)
