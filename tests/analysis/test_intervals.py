"""Intervals and p-values equal SciPy's; what can't be known is None."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from bnexp.analysis.pairing import paired_difference
from bnexp.analysis.stats import LARGEST, Values, differences, mean_interval, normal_quantile, sign_flip_p, was_cut
from tests.helpers import COVERED_SHARE, NEAR_FLOAT64, assert_close

TREATED = np.array([0.953, 0.941, 0.960, 0.949, 0.955, 0.938])
BASELINE = np.array([0.931, 0.944, 0.921, 0.930, 0.951, 0.902])


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


@pytest.mark.parametrize("pairs", [2, 3, 6, 30])
def test_intervals_are_statsmodels(pairs: int) -> None:
    random = np.random.default_rng(pairs)
    treated, baseline = random.normal(0.9, 0.02, pairs), random.normal(0.88, 0.02, pairs)
    change, alone = DescrStatsW(treated - baseline), DescrStatsW(treated)
    difference, mean = paired_difference(treated, baseline), mean_interval(treated)
    assert_close((difference.low, difference.high), change.tconfint_mean(), NEAR_FLOAT64)
    assert_close((mean.low, mean.high), alone.tconfint_mean(), NEAR_FLOAT64)
    _, p, _ = change.ttest_mean(0)
    assert (difference.low > 0 or difference.high < 0) == (p < 0.05)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_normal_quantiles(level: float) -> None:
    assert normal_quantile(level) == pytest.approx(stats.norm.ppf((1 + level) / 2), rel=NEAR_FLOAT64)


@dataclass(frozen=True)
class Shares:
    """What came of many made-up studies."""

    covered: float
    """Share whose interval holds the true difference."""
    excluded: float
    """Share whose interval excludes zero."""
    rejected: float
    """Share whose sign-flip p is at most 0.05."""
    mean_covered: float
    """Share in which the treated arm's interval holds its true mean."""


@cache
def studies(effect: float, count: int) -> Shares:
    """Studies of six seeds: arms differ by the effect, in units of a pair's noise; seeds differ far more."""
    random = np.random.default_rng(round(10 * effect))
    seeds, noise = random.normal(0, 3, (count, 6)), random.normal(0, np.sqrt(0.5), (2, count, 6))
    baselines, treated = seeds + noise[0], seeds + noise[1] + effect
    pairs = [paired_difference(*study) for study in zip(treated, baselines, strict=True)]
    low, high = np.array([(pair.low, pair.high) for pair in pairs]).T
    means = np.array([(mean.low, mean.high) for mean in map(mean_interval, treated)]).T
    return Shares(
        covered=float(np.mean((low <= effect) & (effect <= high))),
        excluded=float(np.mean((low > 0) | (high < 0))),
        rejected=float(np.mean([pair.p <= 0.05 for pair in pairs])),
        mean_covered=float(np.mean((means[0] <= effect) & (effect <= means[1]))),
    )


@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_95_of_100_intervals_from_six_seeds_hold_the_truth(effect: float) -> None:
    assert studies(effect, 10_000).covered == pytest.approx(0.95, abs=COVERED_SHARE)
    assert studies(effect, 10_000).mean_covered == pytest.approx(0.95, abs=COVERED_SHARE)


def test_without_an_effect_5_of_100_intervals_exclude_zero() -> None:
    assert studies(0.0, 10_000).excluded == pytest.approx(0.05, abs=COVERED_SHARE)


def test_without_an_effect_p_is_rarely_small() -> None:
    smallest = 2 / 2**6  # the one p below 0.05 that six pairs can have
    error = np.sqrt(smallest * (1 - smallest) / 10_000)
    assert studies(0.0, 10_000).rejected == pytest.approx(smallest, abs=4 * error)
    assert studies(0.0, 10_000).rejected <= 0.05


def test_larger_effects_are_found_more_often() -> None:
    excluded, rejected = np.array(
        [(shares.excluded, shares.rejected) for shares in (studies(effect, 2_000) for effect in (0, 0.7, 1.2, 2))]
    ).T
    assert (np.diff(excluded) > 0.1).all()
    assert (np.diff(rejected) > 0.1).all()
    assert (rejected[1:] < excluded[1:]).all()  # the price of assuming no normal distribution
    assert excluded[-1] > 0.9


def test_a_difference_is_what_subtraction_gives() -> None:
    assert differences([0.9, 0.3, 2e12, 1e-300, 0], [0.4, 0.1, 1e12, 0, 0]).tolist() == [
        0.5,
        0.3 - 0.1,
        1e12,
        1e-300,
        0,
    ]
    assert differences([], []).tolist() == []


def test_means_that_are_equal_but_for_the_order_of_their_sum_are_a_tie() -> None:
    ours, theirs = [(0.3 + 0.2 + 0.1) / 3] * 6, [(0.1 + 0.2 + 0.3) / 3] * 6
    assert ours != theirs
    assert paired_difference(ours, theirs).p == 1
    assert differences(ours, theirs).tolist() == [0] * 6


def test_one_image_more_in_60_000_is_no_rounding() -> None:
    hits = np.array([59_990, 58_990, 57_000, 33_333, 6_000, 10])
    assert (differences((hits + 1) / 60_000, hits / 60_000) > 0).all()


def test_infinite_values_have_the_difference_that_they_have() -> None:
    found = differences([np.inf, 1, np.inf, np.nan, -np.inf], [1, np.inf, np.inf, 1, np.inf])
    assert found.tolist()[:2] == [np.inf, -np.inf]
    assert np.isnan(found[2:4]).all()
    assert found[4] == -np.inf


finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(st.tuples(finite, finite), max_size=6))
def test_only_what_is_rounding_goes(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = np.array(pairs, dtype=float).reshape(-1, 2).T
    found, plain = differences(ours, theirs), ours - theirs
    assert ((found == plain) | (found == 0)).all()
    assert (np.abs(found - plain) <= NEAR_FLOAT64 * np.maximum(np.abs(ours), np.abs(theirs))).all()
    assert (differences(theirs, ours) == -found).all()


@pytest.mark.parametrize("values", [[1.0, 2 * LARGEST, 3.0], [1e300, -1e300, 1e300], [1e308, 1e308, 1e308]])
def test_what_is_too_large_to_reckon_with_counts_as_not_finite(values: Values) -> None:
    assert mean_interval(values).mean is None
    assert sign_flip_p(values) is None
    difference = paired_difference(values, [0.0, 0.0, 0.0])
    assert (difference.mean, difference.low, difference.p, difference.pairs) == (None, None, None, 3)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_an_interval_cut_at_its_bounds_is_students_within_them(values: list[float]) -> None:
    whole, cut = mean_interval(values), mean_interval(values, bounds=(0, 1))
    assert cut.mean == whole.mean
    assert 0 <= cut.low <= cut.mean <= cut.high <= 1
    assert cut.low == max(whole.low, 0) or cut.low == cut.mean
    assert cut.high == min(whole.high, 1) or cut.high == cut.mean
    assert was_cut(cut, (0, 1)) == (whole.low < 0 < cut.mean or cut.mean < 1 < whole.high)


def test_an_interval_that_only_touches_a_bound_is_not_cut() -> None:
    assert not was_cut(mean_interval([1.0, 1.0, 1.0], bounds=(0, 1)), (0, 1))
    assert not was_cut(mean_interval([0.5, 0.6], bounds=(-np.inf, np.inf)), (-np.inf, np.inf))
    assert was_cut(mean_interval([1.0, 1.0, 0.9], bounds=(0, 1)), (0, 1))
