"""Intervals and p-values equal SciPy's; what can't be known is None."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bnexp.analysis.intervals import EXACT_PAIRS, mean_interval, paired_difference, sign_flip_p

TREATED = np.array([0.953, 0.941, 0.960, 0.949, 0.955, 0.938])
BASELINE = np.array([0.931, 0.944, 0.921, 0.930, 0.951, 0.902])

accuracies = st.integers(0, 1000).map(lambda hits: hits / 1000)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_interval_is_students(level: float) -> None:
    interval = mean_interval(TREATED, level)
    expected = stats.ttest_1samp(TREATED, 0).confidence_interval(level)
    assert interval.mean == pytest.approx(TREATED.mean())
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))


def test_the_paired_interval_is_that_of_the_paired_t_test() -> None:
    difference = paired_difference(TREATED, BASELINE)
    expected = stats.ttest_rel(TREATED, BASELINE).confidence_interval()
    assert difference.mean == pytest.approx((TREATED - BASELINE).mean())
    assert (difference.low, difference.high) == pytest.approx(tuple(expected))
    assert difference.pairs == 6


def test_a_single_value_has_a_mean_and_nothing_else() -> None:
    interval = mean_interval([0.9])
    assert (interval.mean, interval.low, interval.high) == (0.9, None, None)
    difference = paired_difference([0.9], [0.4])
    assert (difference.mean, difference.low, difference.p, difference.pairs) == (0.5, None, None, 1)


def test_no_value_has_nothing() -> None:
    interval, difference = mean_interval([]), paired_difference([], [])
    assert (interval.mean, interval.low, interval.high) == (None, None, None)
    assert (difference.mean, difference.p, difference.pairs) == (None, None, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_hides_the_mean_but_not_the_pair(bad: float) -> None:
    assert mean_interval([0.1, bad, 0.3]).mean is None
    difference = paired_difference([0.1, bad, 0.3], [0.1, bad, 0.2])
    assert (difference.mean, difference.low, difference.p, difference.pairs) == (None, None, None, 3)


def test_equal_values_have_an_interval_of_no_width() -> None:
    interval = mean_interval([0.5, 0.5, 0.5])
    assert (interval.low, interval.high) == (0.5, 0.5)


@pytest.mark.parametrize("pairs", range(2, 9))
def test_the_smallest_p_is_two_over_all_sign_assignments(pairs: int) -> None:
    assert sign_flip_p(np.linspace(0.1, 0.2, pairs)) == 2 / 2**pairs


@given(st.lists(st.tuples(accuracies, accuracies), min_size=2, max_size=8))
def test_p_counts_every_sign_assignment(pairs: list[tuple[float, float]]) -> None:
    # The reference counts in whole thousandths, where a tie is a tie.
    differences = [round(1000 * treated) - round(1000 * baseline) for treated, baseline in pairs]
    sums = [abs(sum(np.multiply(signs, differences))) for signs in product((1, -1), repeat=len(pairs))]
    expected = np.mean(np.array(sums) >= abs(sum(differences)))
    treated, baseline = zip(*pairs, strict=True)
    assert paired_difference(treated, baseline).p == expected


@pytest.mark.parametrize("seed", range(3))
def test_p_is_that_of_scipys_exact_permutation_test(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.5, 1, 12)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ).pvalue
    assert sign_flip_p(differences) == pytest.approx(expected)


def test_beyond_the_exact_range_p_is_a_repeatable_estimate() -> None:
    differences = np.random.default_rng(3).normal(0.45, 1, EXACT_PAIRS + 4)
    p = sign_flip_p(differences)
    assert p == sign_flip_p(differences)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=0.25)
    assert sign_flip_p(np.ones(EXACT_PAIRS + 4)) == pytest.approx(1e-4)
