"""Statistics equal SciPy's and statsmodels', and what can't be known is None."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.pairing import PairedDifference, paired_difference
from bnexp.analysis.stats import BOOTSTRAP_RESAMPLES as RESAMPLES
from bnexp.analysis.stats import (
    LARGEST,
    Interval,
    bootstrap_interval,
    censored_median,
    differences,
    effect_size,
    first_reached,
    mean_interval,
    prediction_interval,
    restricted_mean,
    sign_flip_p,
    t_quantile,
    was_cut,
    wilson_interval,
)
from tests.analysis.conftest import a_study
from tests.helpers import COVERED_SHARE, NEAR_FLOAT64, assert_close

# Intervals and p-values equal SciPy's; what can't be known is None.


def test_a_single_value_has_a_mean_and_nothing_else_and_no_value_nothing() -> None:
    assert mean_interval([0.9]) == Interval(0.9, None, None)
    assert paired_difference([0.9], [0.4]) == PairedDifference(0.5, None, None, None)
    assert mean_interval([]) == Interval(None, None, None)
    assert paired_difference([], []) == PairedDifference(None, None, None, None)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2 * LARGEST])
def test_a_value_that_is_not_finite_or_too_large_hides_the_mean(bad: float) -> None:
    assert mean_interval([0.1, bad, 0.3]).mean is None
    assert sign_flip_p([0.1, bad, 0.3]) is None
    assert paired_difference([0.1, bad, 0.3], [0.1, 0.2, 0.2]) == PairedDifference(None, None, None, None)


@pytest.mark.parametrize("freedom", [*range(1, 32), 99, 100, 4999])
def test_quantiles_are_scipys(freedom: int) -> None:
    assert_close(t_quantile(freedom), stats.t.ppf(0.975, freedom), NEAR_FLOAT64)


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


@pytest.mark.parametrize("n", [2, 3, 6, 30])
def test_a_prediction_interval_is_that_of_one_more_value(n: int) -> None:
    values = np.random.default_rng(n).normal(0.9, 0.02, n)
    found, spread = prediction_interval(values), float(values.std(ddof=1)) * np.sqrt(1 + 1 / n)
    expected = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=spread)
    assert_close((found.low, found.high), expected, NEAR_FLOAT64)
    assert found.mean == mean_interval(values).mean
    assert prediction_interval([0.1, 0.9], (0, 1)) == Interval(0.5, 0, 1)


def test_means_that_are_equal_but_for_the_order_of_their_sum_are_a_tie() -> None:
    ours, theirs = [(0.3 + 0.2 + 0.1) / 3] * 6, [(0.1 + 0.2 + 0.3) / 3] * 6
    assert ours != theirs
    assert paired_difference(ours, theirs).p == 1
    assert differences(ours, theirs).tolist() == [0] * 6


finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(st.tuples(finite, finite), max_size=6))
def test_only_what_is_rounding_goes(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = np.array(pairs, dtype=float).reshape(-1, 2).T
    found, plain = differences(ours, theirs), ours - theirs
    assert ((found == plain) | (found == 0)).all()
    assert (np.abs(found - plain) <= NEAR_FLOAT64 * np.maximum(np.abs(ours), np.abs(theirs))).all()
    assert (differences(theirs, ours) == -found).all()


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


# Effect sizes against SciPy and by simulation; bootstrap intervals are SciPy's.

HITS = np.array([59_990, 58_391, 57_000, 33_333, 6_000, 10, 12_345, 1_234, 48_213, 50_023])
ALIKE = ((HITS + 1) / 60_000 - HITS / 60_000).tolist()
"""The same gain in ten seeds, but for rounding."""


@pytest.mark.parametrize("pairs", [3, 4, 6, 10, 40])
def test_the_effect_is_cohens_d_z_times_hedges_correction(pairs: int) -> None:
    sample = np.random.default_rng(pairs).normal(0.3, 1, pairs)
    m = pairs - 1
    correction = special.gamma(m / 2) / (np.sqrt(m / 2) * special.gamma((m - 1) / 2))
    from_t = stats.ttest_1samp(sample, 0).statistic / np.sqrt(pairs)
    assert effect_size(sample) == pytest.approx(correction * from_t, rel=NEAR_FLOAT64)
    assert correction == pytest.approx(1 - 3 / (4 * m - 1), rel=0.07)  # Hedges' own approximation


@pytest.mark.parametrize("differences", [[], [0.1, 0.2], [0] * 12, ALIKE, [*range(11), np.nan], [1e200] * 11])
def test_where_there_is_no_spread_to_measure_by_there_is_neither_effect_nor_bootstrap(differences: list) -> None:
    assert effect_size(differences) is None
    assert bootstrap_interval(differences) is None


@pytest.mark.parametrize("size", [10, 25])
def test_the_bootstrap_interval_is_scipys_bca(size: int) -> None:
    sample = np.random.default_rng(0).exponential(0.02, size)
    expected = stats.bootstrap(
        (sample,), np.mean, n_resamples=RESAMPLES, method="BCa", random_state=np.random.default_rng(0)
    ).confidence_interval
    assert bootstrap_interval(sample) == pytest.approx((expected.low, expected.high), rel=NEAR_FLOAT64)
    assert bootstrap_interval(sample) == bootstrap_interval(sample)
    assert bootstrap_interval(sample[:9]) is None


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_of_100_studies_of_six_seeds_95_intervals_hold_the_truth_and_without_an_effect_5_at_most_reject(
    effect: float,
) -> None:
    count = 10_000
    random = np.random.default_rng(round(10 * effect))
    seeds, noise = random.normal(0, 3, (count, 6)), random.normal(0, np.sqrt(0.5), (2, count, 6))
    baselines, treated = seeds + noise[0], seeds + noise[1] + effect
    pairs = [paired_difference(*study) for study in zip(treated, baselines, strict=True)]
    for found in (pairs, [mean_interval(study) for study in treated]):
        low, high = np.array([(each.low, each.high) for each in found]).T
        assert np.mean((low <= effect) & (effect <= high)) == pytest.approx(0.95, abs=COVERED_SHARE)
    if effect == 0:
        smallest = 2 / 2**6  # the one p below 0.05 that six pairs can have
        error = np.sqrt(smallest * (1 - smallest) / count)
        assert np.mean([pair.p <= 0.05 for pair in pairs]) == pytest.approx(smallest, abs=4 * error)


# Wilson's interval equals two other programs'.


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 10, 30, 60])
def test_every_interval_of_a_rate_is_scipys_and_statsmodels_within_0_and_1(n: int) -> None:
    ours, counts = np.array([wilson_interval(k, n) for k in range(n + 1)]), np.arange(n + 1)
    scipys = [stats.binomtest(k, n).proportion_ci(0.95, method="wilson") for k in range(n + 1)]
    assert_close(ours, scipys, NEAR_FLOAT64)
    assert_close(ours, np.transpose(proportion_confint(counts, n, method="wilson")), NEAR_FLOAT64)
    low, high = ours.T
    assert ((low >= 0) & (low <= counts / n) & (counts / n <= high) & (high <= 1) & (low < high)).all()
    assert (low[0], high[-1]) == (0, 1)
    assert wilson_interval(0, 0) is None


# How often an interval of a mean accuracy holds the truth where accuracies are near 0 and 1, and seeds are few.
#
# A study draws the true accuracy of each seed, and then how many of its test images are right. docs/comparing.md has
# the figures.

STUDIES, IMAGES = 4_000, 500
Seeds = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def alike(mean: float, spread: float) -> Seeds:
    """Seeds that are normally distributed."""
    return lambda random, shape: np.clip(random.normal(mean, spread, shape), 0, 1)


def skewed(mean: float, spread: float) -> Seeds:
    """Seeds with a beta distribution: near a bound most are close to it, and few are far off."""
    size = mean * (1 - mean) / spread**2 - 1
    return lambda random, shape: random.beta(mean * size, (1 - mean) * size, shape)


def failing(share: float) -> Seeds:
    """Good seeds, of which a share stays at chance."""
    return lambda random, shape: np.where(random.random(shape) < share, 0.1, random.normal(0.95, 0.01, shape))


def covered(seeds: Seeds, n: int) -> float:
    """Return the share of studies of n seeds whose interval holds the true mean."""
    random = np.random.default_rng(n)
    truth = seeds(random, (1_000, 1_000)).mean()
    accuracies = random.binomial(IMAGES, seeds(random, (STUDIES, n))) / IMAGES
    found = [mean_interval(study, bounds=(0, 1)) for study in accuracies]
    assert all(0 <= each.low <= each.high <= 1 for each in found)
    return float(np.mean([each.low <= truth <= each.high for each in found]))


@pytest.mark.parametrize(
    ("seeds", "least"),
    [
        (alike(0.5, 0.05), (0.94, 0.94, 0.94)),
        (alike(0.97, 0.01), (0.94, 0.94, 0.94)),
        (skewed(0.98, 0.01), (0.92, 0.92, 0.92)),
        (skewed(0.98, 0.02), (0.86, 0.86, 0.88)),
        (skewed(0.02, 0.02), (0.86, 0.86, 0.88)),
        (failing(1 / 3), (0.64, 0.87, 0.90)),  # of three seeds none fails in 30 % of studies
    ],
)
def test_the_interval_covers_what_the_documentation_says(seeds: Seeds, least: tuple[float, ...]) -> None:
    found = [covered(seeds, n) for n in (3, 6, 12)]
    assert all(here >= bound for here, bound in zip(found, least, strict=True))
    assert max(found) < 0.965


# Times to a threshold: the first record at or above it, and a median that knows about censoring.

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
