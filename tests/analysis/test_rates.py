"""Wilson's interval equals two other programs', and covers as often as it should."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from bnexp.analysis.stats import wilson_interval
from tests.helpers import COVERED_SHARE, NEAR_FLOAT64, assert_close

LARGEST = 60
RATES = np.linspace(0.005, 0.995, 199)


def intervals(n: int, level: float = 0.95) -> np.ndarray:
    return np.array([wilson_interval(k, n, level) for k in range(n + 1)])


def scipys(n: int, level: float = 0.95) -> np.ndarray:
    return np.array([stats.binomtest(k, n).proportion_ci(level, method="wilson") for k in range(n + 1)])


def coverage(ends: np.ndarray) -> np.ndarray:
    """For each true rate the probability that the interval holds it, summed over every count that can come."""
    n = len(ends) - 1
    held = (ends[:, 0, None] <= RATES) & (ends[:, 1, None] >= RATES)
    return (stats.binom.pmf(np.arange(n + 1)[:, None], n, RATES) * held).sum(axis=0)


def test_every_interval_up_to_60_trials_is_scipys_and_statsmodels() -> None:
    for n in range(1, LARGEST + 1):
        ours = intervals(n)
        assert_close(ours, scipys(n), NEAR_FLOAT64)
        assert_close(ours, np.transpose(proportion_confint(np.arange(n + 1), n, method="wilson")), NEAR_FLOAT64)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_at_other_levels_too(level: float) -> None:
    assert_close(intervals(12, level), scipys(12, level), NEAR_FLOAT64)


@pytest.mark.parametrize("n", [5, 6, 10, 30])
def test_it_covers_the_true_rate_95_times_in_100_on_average(n: int) -> None:
    covered = coverage(intervals(n))
    assert_close(covered, coverage(scipys(n)), NEAR_FLOAT64)
    assert covered.mean() == pytest.approx(0.95, abs=COVERED_SHARE)
    assert covered.min() > 0.82  # at the worst rate: of n = 5, near 0.2 / n


def test_it_lies_within_0_and_1_and_holds_the_rate() -> None:
    for n in range(1, LARGEST + 1):
        low, high = intervals(n).T
        rates = np.arange(n + 1) / n
        assert ((low >= 0) & (low <= rates) & (rates <= high) & (high <= 1)).all()
        assert (low[0], high[-1]) == (0, 1)
        assert ((high - low) > 0).all()


def test_without_trials_there_is_no_interval() -> None:
    assert wilson_interval(0, 0) is None
