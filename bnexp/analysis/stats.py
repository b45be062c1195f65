"""Statistics over seeds: t intervals, effect sizes, the sign-flip test, rates, and times to a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, lgamma, sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# How sure a mean over seeds is: its Student t interval, cut where values can't be.
#
# The seed is the unit: one value per seed goes in. Whatever can't be known comes out as None, never as
# NaN: no value at all, a value that isn't finite, or fewer than two values where a spread is needed.

Values = np.ndarray | Sequence[float | int]
"""One value per seed."""

Bounds = tuple[float, float]
"""The smallest and the largest value that a quantity can have."""
UNBOUNDED: Bounds = (-inf, inf)

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


def mean_interval(values: Values, level: float = 0.95, bounds: Bounds = UNBOUNDED) -> Interval:
    """Return the mean of independent values and its Student t interval at the level, cut at the values' bounds.

    The true mean lies within the bounds, so the cut interval holds it as often as the whole one.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0 or not all_finite(sample):
        return Interval(None, None, None)
    mean = float(sample.mean())
    if sample.size < 2:
        return Interval(mean, None, None)
    margin = _t_quantile(sample.size - 1, level) * float(sample.std(ddof=1)) / sample.size**0.5
    # Rounding must not leave the mean outside its own interval.
    return Interval(mean, min(mean, max(mean - margin, bounds[0])), max(mean, min(mean + margin, bounds[1])))


def was_cut(interval: Interval, bounds: Bounds) -> bool:
    """Tell whether an end of an interval was beyond the bounds, so that the t interval can't be meant literally."""
    mean, low, high = interval.mean, interval.low, interval.high
    return mean is not None and (low == bounds[0] < mean or mean < bounds[1] == high)


def differences(treated: Values, baseline: Values) -> NDArray[np.float64]:
    """Return treated - baseline, pair by pair: 0 where they are equal but for rounding.

    Equal means, summed in another order, may differ in the last digit, and that must not become a win in every seed.
    """
    ours, theirs = np.asarray(treated, dtype=float), np.asarray(baseline, dtype=float)
    with np.errstate(invalid="ignore"):  # inf - inf: two losses that overflowed have no difference
        found = ours - theirs
    equal = np.abs(found) < ROUNDING * np.maximum(np.abs(ours), np.abs(theirs))
    return np.asarray(np.where(equal, 0.0, found))


def all_finite(values: NDArray[np.float64]) -> bool:
    """Tell whether one can reckon with all values: none is NaN, infinite, or beyond LARGEST."""
    return bool((np.abs(values) <= LARGEST).all())


def is_constant(values: NDArray[np.float64]) -> bool:
    """Tell whether values, one at least, are all equal but for rounding."""
    return float(values.std()) <= ROUNDING * float(np.abs(values).max())


@lru_cache
def normal_quantile(level: float) -> float:
    """Return how many standard deviations either side of the mean hold a share `level` of a normal distribution."""
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


@lru_cache
def _t_quantile(freedom: int, level: float) -> float:
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls, without the second its import takes

    return float(stdtrit(freedom, (1 + level) / 2))


FEWEST_FOR_BOOTSTRAP = 10
"""With fewer pairs a bootstrap interval covers too rarely."""
BOOTSTRAP_RESAMPLES = 9_999


def effect_size(differences: Values) -> float | None:
    """Return d_z, the mean difference over the differences' standard deviation, with Hedges' correction.

    The correction J = Γ(m/2) / (√(m/2) Γ((m − 1)/2)), m = n − 1, takes out the bias of small samples
    (Hedges 1981, doi:10.3102/10769986006002107). None below three pairs, where J is 0, where a difference isn't
    finite, or where all differences are equal, up to rounding: there is no spread to measure by.
    """
    sample = np.asarray(differences, dtype=float)
    if sample.size < 3 or not all_finite(sample) or is_constant(sample):
        return None
    return _correction(sample.size - 1) * float(sample.mean()) / float(sample.std(ddof=1))


def bootstrap_interval(differences: Values, level: float = 0.95) -> tuple[float, float] | None:
    """Return the BCa bootstrap interval of the mean difference, the same on every call.

    Bias-corrected and accelerated: Efron 1987, doi:10.1080/01621459.1987.10478410, by scipy.stats.bootstrap. None
    below FEWEST_FOR_BOOTSTRAP pairs, where a difference isn't finite, or where all are equal, up to rounding.
    """
    sample = np.asarray(differences, dtype=float)
    if sample.size < FEWEST_FOR_BOOTSTRAP or not all_finite(sample) or is_constant(sample):
        return None
    from scipy.stats import bootstrap  # slow to import, and seldom needed

    found = bootstrap(
        (sample,),
        np.mean,
        confidence_level=level,
        n_resamples=BOOTSTRAP_RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def _correction(freedom: int) -> float:
    return exp(lgamma(freedom / 2) - lgamma((freedom - 1) / 2)) / sqrt(freedom / 2)


def wilson_interval(count: int, n: int, level: float = 0.95) -> tuple[float, float] | None:
    """Return the ends of the interval around the rate count / n, within [0, 1]; None where n is 0.

    Unlike the usual mean ± margin it has a width at 0 of n and n of n too.
    """
    if n == 0:
        return None
    z = normal_quantile(level)
    rate, weight = count / n, 1 / (1 + z * z / n)
    centre = weight * (rate + z * z / (2 * n))
    margin = weight * z * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5
    # Rounding must not leave a rate of 0 or 1 outside its own interval.
    return (0.0 if count == 0 else centre - margin, 1.0 if count == n else centre + margin)


EXACT_PAIRS = 100
"""Up to this many pairs all sign assignments are counted; beyond, p is an estimate from RESAMPLES random ones."""
SIGN_FLIP_RESAMPLES = 9_999

FEW_SUMS = 2**8
"""So many sums cost nothing: equal ones aren't looked for."""
MOST_SUMS = 2**16
"""Distinct sums of half the pairs that are kept apart; more than that are put on a grid of as many."""

Counted = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Sums in ascending order, and how many sign assignments give each."""


def sign_flip_p(differences: Values) -> float | None:
    """Return the share of sign assignments whose absolute mean is at least the one observed.

    Without an effect every difference is as likely with the other sign, so with n pairs p is at least 2 / 2^n.

    Up to EXACT_PAIRS all 2^n assignments are counted without listing them: the sums of either half of the pairs, equal
    ones once with their number, are enough to count those of all pairs. That is exact for accuracies, which have few
    distinct sums, and for all values up to 32 pairs; beyond, losses are exact to about three digits after the point.
    With more pairs p is the estimate (1 + hits) / (1 + RESAMPLES), the same on every call.

    None below two pairs or where a difference isn't finite.
    """
    sample = np.asarray(differences, dtype=float)
    if sample.size < 2 or not all_finite(sample):
        return None
    # Ties are common; rounding must not break them.
    bound = abs(sample.sum()) - ROUNDING * np.abs(sample).sum()
    if sample.size > EXACT_PAIRS:
        hits = int(np.sum(np.abs(_random_sums(sample)) >= bound))
        return (1 + hits) / (1 + SIGN_FLIP_RESAMPLES)
    if bound <= 0:
        return 1.0
    ordered = np.sort(np.abs(sample))
    return 2 * _share_above(_counted_sums(ordered[::2]), _counted_sums(ordered[1::2]), bound)


def _counted_sums(sample: NDArray[np.float64]) -> Counted:
    """Return the sums of values with either sign."""
    sums, counts, total = np.zeros(1), np.ones(1), float(sample.sum())
    for value in sample:
        sums, counts = np.concatenate((sums + value, sums - value)), np.concatenate((counts, counts))
        if len(sums) > FEW_SUMS:
            sums, counts = _counted(sums, counts, total)
    return _counted(sums, counts, total)


def _counted(sums: NDArray[np.float64], counts: NDArray[np.float64], largest: float) -> Counted:
    """Return sums between -largest and largest in order, equal ones taken together."""
    order = np.argsort(sums, kind="stable")
    sums, counts = sums[order], counts[order]
    sums, counts = _merged(sums, counts, np.diff(sums) > ROUNDING * largest)
    if len(sums) <= MOST_SUMS:
        return sums, counts
    step = 2 * largest / MOST_SUMS
    places, counts = _merged(np.round(sums / step), counts, np.diff(np.round(sums / step)) > 0)
    return step * places, counts


def _merged(sums: NDArray[np.float64], counts: NDArray[np.float64], apart: NDArray[np.bool_]) -> Counted:
    """Return the first of every group of equal sums, and the group's count; `apart` tells where a new one begins."""
    starts = np.flatnonzero(np.concatenate(([True], apart)))
    return sums[starts], np.add.reduceat(counts, starts)


def _share_above(one: Counted, other: Counted, bound: float) -> float:
    """Return the share of all pairs of sums, one of each, that add up to the bound or more."""
    from_here = np.concatenate((np.cumsum(other[1][::-1])[::-1], [0.0]))
    above = from_here[np.searchsorted(other[0], bound - one[0])]
    return float(one[1] @ above / (one[1].sum() * other[1].sum()))


def _random_sums(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(SIGN_FLIP_RESAMPLES, sample.size))
    return np.asarray(signs @ sample)


def first_reached(curves: pd.DataFrame, column: str, threshold: float) -> pd.DataFrame:
    """Return `epoch`, `step` and `seconds` of each trial's first record with column >= threshold.

    The index is the trial number. A trial that never got there has no row: it is censored at its
    last record, and `reindex` over all trials turns it into NaN.
    """
    reached = curves[curves[column] >= threshold].sort_values("step", kind="stable")
    return reached.drop_duplicates("trial").set_index("trial")[["epoch", "step", "seconds"]]


def censored_median(times: Values) -> float | None:
    """Return the earliest time by which at least half of the trials are there, or None if fewer ever are.

    NaN is a trial that never got there. It counts as later than all others, which is exact however
    early its record stopped: a diverged trial would not have got there within the budget either.
    """
    sample = np.asarray(times, dtype=float)
    if sample.size == 0:
        return None
    ordered = np.sort(sample)  # NaN last
    median = ordered[(sample.size - 1) // 2]
    return None if np.isnan(median) else float(median)


def restricted_mean(times: Values, budgets: Values) -> float | None:
    """Return the mean of min(time, budget), where NaN, a trial that never got there, takes its whole budget.

    The restricted mean survival time: with one budget for all it is the area under the share of trials that
    are not there yet (Royston & Parmar 2013, doi:10.1186/1471-2288-13-152). None without trials, or where neither
    a time nor a budget is known.
    """
    times, budgets = np.asarray(times, dtype=float), np.asarray(budgets, dtype=float)
    mean = float(np.fmin(times, budgets).mean()) if times.size else np.nan
    return None if np.isnan(mean) else mean
