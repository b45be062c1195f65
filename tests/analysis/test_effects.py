"""Effect sizes against SciPy and by simulation; bootstrap intervals are SciPy's."""

import numpy as np
import pytest
from scipy import special, stats

from bnexp.analysis.stats import BOOTSTRAP_RESAMPLES as RESAMPLES
from bnexp.analysis.stats import FEWEST_FOR_BOOTSTRAP, bootstrap_interval, effect_size
from tests.helpers import NEAR_FLOAT64, SAMPLED_EFFECT

HITS = np.array([59_990, 58_391, 57_000, 33_333, 6_000, 10, 12_345, 1_234, 48_213, 50_023])
ONE_MORE_IMAGE = ((HITS + 1) / 60_000 - HITS / 60_000).tolist()
"""The same gain in ten seeds, but for rounding."""


ROUNDED = [0.3 - 0.1] * 9 + [0.2]
"""The same."""


def skewed(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).exponential(0.02, size)


@pytest.mark.parametrize("pairs", [3, 4, 6, 10, 40])
def test_the_effect_is_cohens_d_z_times_hedges_correction(pairs: int) -> None:
    sample = np.random.default_rng(pairs).normal(0.3, 1, pairs)
    m = pairs - 1
    correction = special.gamma(m / 2) / (np.sqrt(m / 2) * special.gamma((m - 1) / 2))
    from_t = stats.ttest_1samp(sample, 0).statistic / np.sqrt(pairs)
    assert effect_size(sample) == pytest.approx(correction * from_t, rel=NEAR_FLOAT64)
    assert correction == pytest.approx(1 - 3 / (4 * m - 1), rel=0.07)  # Hedges' own approximation


def test_by_hand() -> None:
    # Mean 2, standard deviation 1; J for two degrees of freedom is Γ(1) / Γ(1/2) = 1/√π.
    assert effect_size([1, 2, 3]) == pytest.approx(2 / np.sqrt(np.pi), rel=NEAR_FLOAT64)
    assert effect_size([-1, -2, -3]) == pytest.approx(-2 / np.sqrt(np.pi), rel=NEAR_FLOAT64)


def test_many_pairs_need_no_correction_and_overflow_nothing() -> None:
    sample = np.random.default_rng(0).normal(1, 1, 4_000)
    assert effect_size(sample) == pytest.approx(sample.mean() / sample.std(ddof=1), rel=1e-3)


def test_over_many_studies_of_six_pairs_the_effect_is_right_on_average() -> None:
    true = 0.8
    studies = np.random.default_rng(0).normal(true, 1, (20_000, 6))
    found = np.array([effect_size(study) for study in studies])
    assert found.mean() == pytest.approx(true, abs=SAMPLED_EFFECT)
    uncorrected = studies.mean(axis=1) / studies.std(axis=1, ddof=1)
    assert uncorrected.mean() > true + 5 * SAMPLED_EFFECT


@pytest.mark.parametrize(
    "differences",
    [
        [],
        [0.5],
        [0.1, 0.2],
        [0, 0, 0],
        [0.2] * 6,
        ONE_MORE_IMAGE,
        ROUNDED,
        [1, np.nan, 2],
        [1, np.inf, 2],
        [1e200, 2e200, 0],
    ],
)
def test_where_there_is_no_spread_to_measure_by_there_is_no_effect(differences: list[float]) -> None:
    assert effect_size(differences) is None


@pytest.mark.parametrize(("size", "level"), [(10, 0.95), (25, 0.95), (25, 0.8)])
def test_the_bootstrap_interval_is_scipys_bca(size: int, level: float) -> None:
    sample = skewed(size)
    expected = stats.bootstrap(
        (sample,), np.mean, n_resamples=RESAMPLES, confidence_level=level, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    assert bootstrap_interval(sample, level) == (expected.low, expected.high)
    assert bootstrap_interval(sample, level) == bootstrap_interval(sample, level)


def test_it_leans_with_the_sample_as_a_t_interval_does_not() -> None:
    sample = skewed(25)
    low, high = bootstrap_interval(sample) or (0, 0)
    assert high - sample.mean() > 1.1 * (sample.mean() - low)
    upper, lower = bootstrap_interval(-sample) or (0, 0)
    assert (-upper, -lower) == pytest.approx((high, low), rel=0.05)


def test_below_ten_pairs_there_is_no_bootstrap_interval() -> None:
    assert FEWEST_FOR_BOOTSTRAP == 10
    assert bootstrap_interval(skewed(9)) is None
    assert bootstrap_interval(skewed(10)) is not None


@pytest.mark.parametrize(
    "differences",
    [[0.0] * 12, [0.2] * 12, ONE_MORE_IMAGE, ROUNDED, [*range(11), np.nan], [*range(11), -np.inf], [1e200] * 11],
)
def test_neither_is_there_one_without_spread_or_with_what_is_not_finite(differences: list[float]) -> None:
    assert bootstrap_interval(differences) is None


def test_one_pair_that_differs_is_enough() -> None:
    low, high = bootstrap_interval([0.0] * 9 + [1.0]) or (np.nan, np.nan)
    assert low == 0
    assert 0.1 < high <= 1
