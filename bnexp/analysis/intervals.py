"""How sure a mean over seeds is: Student t intervals, and the sign-flip test for paired differences.

The seed is the unit: one value per seed goes in. Whatever can't be known comes out as None, never as
NaN: no value at all, a value that isn't finite, or fewer than two values where a spread is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

Values = np.ndarray | Sequence[float | int]
"""One value per seed."""

EXACT_PAIRS = 16
"""Up to this many pairs every sign assignment is tried; beyond, RESAMPLES random ones."""

RESAMPLES = 9_999

ROUNDING = 1e-10
"""What differs by less, relatively, differs by rounding. Accuracies are multiples of 1/N and means of such."""
LARGEST = 1e150
"""Values beyond it count as not finite: their squares would be."""


@dataclass(frozen=True)
class Interval:
    """A mean and the interval around it, in the unit of the values."""

    mean: float | None
    """None where there is no value, or one that isn't finite."""
    low: float | None
    """None also for a single value."""
    high: float | None


@dataclass(frozen=True)
class PairedDifference(Interval):
    """The mean of treated - baseline over pairs, its interval, and the sign-flip test of "no difference"."""

    p: float | None
    """Two-sided; None below two pairs, where it would be 1 whatever the values are."""
    pairs: int


def mean_interval(values: Values, level: float = 0.95) -> Interval:
    """Return the mean of independent values and its Student t interval at the level."""
    sample = np.asarray(values, dtype=float)
    if sample.size == 0 or not bounded(sample):
        return Interval(None, None, None)
    mean = float(sample.mean())
    if sample.size < 2:
        return Interval(mean, None, None)
    margin = _t_quantile(sample.size - 1, level) * float(sample.std(ddof=1)) / sample.size**0.5
    return Interval(mean, mean - margin, mean + margin)


def paired_difference(treated: Values, baseline: Values, level: float = 0.95) -> PairedDifference:
    """Return the mean paired difference with its t interval at the level and its sign-flip p.

    Values at the same place form a pair, so both need the same length.
    """
    sample = differences(treated, baseline)
    interval = mean_interval(sample, level)
    return PairedDifference(interval.mean, interval.low, interval.high, sign_flip_p(sample), pairs=sample.size)


def differences(treated: Values, baseline: Values) -> NDArray[np.float64]:
    """Return treated - baseline, pair by pair: 0 where they are equal but for rounding.

    Equal means, summed in another order, may differ in the last digit, and that must not become a win in every seed.
    """
    ours, theirs = np.asarray(treated, dtype=float), np.asarray(baseline, dtype=float)
    with np.errstate(invalid="ignore"):  # inf - inf: two losses that left all bounds have no difference
        found = ours - theirs
    equal = np.abs(found) < ROUNDING * np.maximum(np.abs(ours), np.abs(theirs))
    return np.asarray(np.where(equal, 0.0, found))


def bounded(values: NDArray[np.float64]) -> bool:
    """Tell whether one can reckon with all values: none is NaN, infinite, or beyond LARGEST."""
    return bool((np.abs(values) <= LARGEST).all())


def constant(values: NDArray[np.float64]) -> bool:
    """Tell whether values, one at least, are all equal but for rounding."""
    return float(values.std()) <= ROUNDING * float(np.abs(values).max())


def sign_flip_p(differences: Values) -> float | None:
    """Return the share of sign assignments whose absolute mean is at least the one observed.

    Without an effect every difference is as likely with the other sign, so with n pairs p is at
    least 2 / 2^n. Exact up to EXACT_PAIRS; beyond, an estimate by (1 + hits) / (1 + RESAMPLES) that is
    the same on every call. None below two pairs or where a difference isn't finite.
    """
    sample = np.asarray(differences, dtype=float)
    if sample.size < 2 or not bounded(sample):
        return None
    # Ties are common; rounding must not break them.
    bound = abs(sample.sum()) - ROUNDING * np.abs(sample).sum()
    if sample.size <= EXACT_PAIRS:
        return float(np.mean(np.abs(_all_signed_sums(sample)) >= bound))
    hits = int(np.sum(np.abs(_random_signed_sums(sample)) >= bound))
    return (1 + hits) / (1 + RESAMPLES)


def _all_signed_sums(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    # The first sign stays +: the other half mirrors this one and has the same absolute sums.
    return reduce(lambda sums, value: np.concatenate((sums + value, sums - value)), sample[1:], sample[:1])


def _random_signed_sums(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(RESAMPLES, sample.size))
    return np.asarray(signs @ sample)


@lru_cache
def normal_quantile(level: float) -> float:
    """Return how many standard deviations either side of the mean hold a share `level` of a normal distribution."""
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


@lru_cache
def _t_quantile(freedom: int, level: float) -> float:
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls, without the second its import takes

    return float(stdtrit(freedom, (1 + level) / 2))
