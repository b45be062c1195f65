"""Statistics over seeds: t intervals, effect sizes, the sign-flip test, rates, and times to a threshold.

One value per seed goes in. Whatever can't be known comes out as None: no value at all, one that isn't finite, or fewer
than two values where a spread is needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import atan, cos, exp, inf, lgamma, log, pi, sin, sqrt
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Values = np.ndarray | Sequence[float | int]
"""One value per seed."""
Bounds = tuple[float, float]
"""The smallest and the largest value that a quantity can have."""
UNBOUNDED: Bounds = (-inf, inf)

ROUNDING = 1e-10
"""Smaller relative differences are rounding errors. Accuracies are multiples of 1/N and means of such."""
LARGEST = 1e150
"""Values beyond it count as not finite, since their squares wouldn't be."""

NORMAL_QUANTILE = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval, or the interval for one more value; no ends for a single value."""

    mean: float | None
    low: float | None
    high: float | None


def mean_interval(values: Values, bounds: Bounds = UNBOUNDED) -> Interval:
    """Return the mean of independent values and its 95 % Student t interval, cut at the values' bounds.

    The true mean lies within the bounds, so the cut interval contains it as often as the whole one.
    """
    return _t_interval(values, bounds, lambda n: 1.0)


def prediction_interval(values: Values, bounds: Bounds = UNBOUNDED) -> Interval:
    """Return the mean of independent values and the 95 % interval for one more of them, cut at the values' bounds.

    From n normal values with the standard deviation s it is mean ± t·s·√(1 + 1/n).
    """
    return _t_interval(values, bounds, lambda n: sqrt(n + 1))


def _t_interval(values: Values, bounds: Bounds, widening: Callable[[int], float]) -> Interval:
    """Return a t interval, wider than that of the mean by a factor that depends on the number of values."""
    sample = np.asarray(values, dtype=float)
    if sample.size == 0 or not all_finite(sample):
        return Interval(None, None, None)
    mean = float(sample.mean())
    if sample.size < 2:
        return Interval(mean, None, None)
    margin = t_quantile(sample.size - 1) * float(sample.std(ddof=1)) / sample.size**0.5 * widening(sample.size)
    # Rounding must not leave the mean outside its own interval.
    return Interval(mean, min(mean, max(mean - margin, bounds[0])), max(mean, min(mean + margin, bounds[1])))


@cache
def t_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution, without the fifth of a second that SciPy takes to import.

    Newton's method finds where the probability of |t| <= x is 95 %: for whole degrees of freedom it is a finite sum
    (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4). It is concave, so that every step goes up.
    """
    odd = freedom % 2
    k = np.arange(1, (freedom - odd) // 2)
    ratios = 2 * k / (2 * k + 1) if odd else (2 * k - 1) / (2 * k)
    log_peak = lgamma((freedom + 1) / 2) - lgamma(freedom / 2) - log(freedom * pi) / 2
    found, step = NORMAL_QUANTILE, inf
    while step > ROUNDING * found:
        angle = atan(found / sqrt(freedom))
        terms = 1 + float(np.cumprod(cos(angle) ** 2 * ratios).sum())  # over the first of them
        within = sin(angle) * (cos(angle) if odd else 1.0) * terms if freedom > 1 else 0.0
        within = 2 / pi * (angle + within) if odd else within
        step = (0.95 - within) / (2 * exp(log_peak + (freedom + 1) * log(cos(angle))))
        found += step
    return found


def was_cut(interval: Interval, bounds: Bounds) -> bool:
    """Tell whether an interval was cut at the bounds, so that the t interval can't be taken literally."""
    mean, low, high = interval.mean, interval.low, interval.high
    return mean is not None and (low == bounds[0] < mean or mean < bounds[1] == high)


def differences(treated: Values, baseline: Values) -> NDArray[np.float64]:
    """Return treated - baseline, pair by pair: 0 where they are equal except for rounding.

    Equal means, summed in another order, may differ in the last digit, and that must not become a win in every seed.
    """
    ours, theirs = np.asarray(treated, dtype=float), np.asarray(baseline, dtype=float)
    with np.errstate(invalid="ignore"):  # inf - inf: two losses that overflowed have no difference
        found = ours - theirs
    equal = np.abs(found) < ROUNDING * np.maximum(np.abs(ours), np.abs(theirs))
    return np.asarray(np.where(equal, 0.0, found))


def all_finite(values: NDArray[np.float64]) -> bool:
    """Tell whether all values can be computed with: none is NaN, infinite, or beyond LARGEST."""
    return bool((np.abs(values) <= LARGEST).all())


def is_constant(values: NDArray[np.float64]) -> bool:
    """Tell whether values, at least one, are all equal except for rounding."""
    return float(values.std()) <= ROUNDING * float(np.abs(values).max())


FEWEST_FOR_BOOTSTRAP = 10
"""With fewer pairs a bootstrap interval covers too rarely."""
BOOTSTRAP_RESAMPLES = 9_999


def deviation(differences: Values) -> float | None:
    """Return the standard deviation of paired differences, over n − 1; None below two, or where one isn't finite."""
    sample = np.asarray(differences, dtype=float)
    return float(sample.std(ddof=1)) if sample.size > 1 and all_finite(sample) else None


def effect_size(differences: Values) -> float | None:
    """Return d_z, the mean difference over the differences' standard deviation, with Hedges' correction.

    The correction J = Γ(m/2) / (√(m/2) Γ((m − 1)/2)), m = n − 1, takes out the bias of small samples
    (Hedges 1981, doi:10.3102/10769986006002107). None below three pairs, where J is 0, and without a spread.
    """
    sample = np.asarray(differences, dtype=float)
    if sample.size < 3 or not all_finite(sample) or is_constant(sample):
        return None
    freedom = sample.size - 1
    correction = exp(lgamma(freedom / 2) - lgamma((freedom - 1) / 2)) / sqrt(freedom / 2)
    return correction * float(sample.mean()) / float(sample.std(ddof=1))


def bootstrap_interval(differences: Values) -> tuple[float, float] | None:
    """Return the 95 % BCa bootstrap interval of the mean difference, the same on every call.

    Bias-corrected and accelerated: Efron 1987, doi:10.1080/01621459.1987.10478410. None below FEWEST_FOR_BOOTSTRAP
    pairs, and without a spread.
    """
    sample = np.asarray(differences, dtype=float)
    if sample.size < FEWEST_FOR_BOOTSTRAP or not all_finite(sample) or is_constant(sample):
        return None
    normal = NormalDist()
    drawn = np.random.default_rng(0).integers(0, sample.size, (BOOTSTRAP_RESAMPLES, sample.size))
    means, mean = sample[drawn].mean(axis=-1), sample.mean()
    bias = normal.inv_cdf((np.sum(means < mean) + np.sum(means <= mean)) / (2 * len(means)))
    without = np.array([np.delete(sample, place).mean() for place in range(sample.size)])
    lean = (sample.size - 1) * (without.mean() - without)
    acceleration = np.sum(lean**3) / np.sum(lean**2) ** 1.5 / 6
    ends = [bias - NORMAL_QUANTILE, bias + NORMAL_QUANTILE]
    low, high = np.quantile(means, [normal.cdf(bias + end / (1 - acceleration * end)) for end in ends])
    return float(low), float(high)


def wilson_interval(count: int, n: int) -> tuple[float, float] | None:
    """Return the ends of the 95 % interval around the rate count / n, within [0, 1]; None where n is 0.

    Unlike the usual mean ± margin it has a width at 0 of n and n of n too.
    """
    if n == 0:
        return None
    z = NORMAL_QUANTILE
    rate, weight = count / n, 1 / (1 + z * z / n)
    centre = weight * (rate + z * z / (2 * n))
    margin = weight * z * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5
    # Rounding must not leave a rate of 0 or 1 outside its own interval.
    return (0.0 if count == 0 else centre - margin, 1.0 if count == n else centre + margin)


EXACT_PAIRS = 100
"""Up to this many pairs all sign assignments are counted; beyond, p is an estimate from random ones."""
SIGN_FLIP_RESAMPLES = 9_999
MOST_SUMS = 2**16
"""Up to so many distinct sums of half the pairs are kept apart; more are put on a grid of this size."""

Counted = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Sums in ascending order, and how many sign assignments give each."""


def sign_flip_p(differences: Values) -> float | None:
    """Return the share of sign assignments whose absolute mean is at least the one observed.

    Without an effect every difference is as likely with the other sign, so with n pairs p is at least 2 / 2^n.

    Up to EXACT_PAIRS all 2^n assignments are counted without listing them: the sums of either half of the pairs, equal
    ones once with their number, are enough to count those of all pairs. That is exact for accuracies, which have few
    distinct sums, and for all values up to 32 pairs; beyond, losses are exact to about three digits after the point.
    With more pairs p is the estimate (1 + hits) / (1 + SIGN_FLIP_RESAMPLES), the same on every call.

    None below two pairs or where a difference isn't finite.
    """
    sample = np.asarray(differences, dtype=float)
    if sample.size < 2 or not all_finite(sample):
        return None
    # Ties are common; rounding must not break them.
    bound = abs(sample.sum()) - ROUNDING * np.abs(sample).sum()
    if sample.size > EXACT_PAIRS:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(SIGN_FLIP_RESAMPLES, sample.size))
        return (1 + int(np.sum(np.abs(signs @ sample) >= bound))) / (1 + SIGN_FLIP_RESAMPLES)
    if bound <= 0:
        return 1.0
    ordered = np.sort(np.abs(sample))
    (sums, counts), (others, their_counts) = _signed_sums(ordered[::2]), _signed_sums(ordered[1::2])
    from_here = np.concatenate((np.cumsum(their_counts[::-1])[::-1], [0.0]))
    above = from_here[np.searchsorted(others, bound - sums)]
    return 2 * float(counts @ above / (counts.sum() * their_counts.sum()))


def _signed_sums(sample: NDArray[np.float64]) -> Counted:
    """Return the sums of values with either sign, equal ones taken together."""
    sums, counts, largest = np.zeros(1), np.ones(1), float(sample.sum())
    step = 2 * largest / MOST_SUMS
    for value in sample:
        sums, counts = np.concatenate((sums + value, sums - value)), np.concatenate((counts, counts))
        order = np.argsort(sums, kind="stable")
        sums, counts = _merged(sums[order], counts[order], ROUNDING * largest)
        if len(sums) > MOST_SUMS:
            places, counts = _merged(np.round(sums / step), counts, 0)
            sums = step * places
    return sums, counts


def _merged(sums: NDArray[np.float64], counts: NDArray[np.float64], apart: float) -> Counted:
    """Return the first of every group of sums that are no further apart, and the group's count."""
    starts = np.concatenate(([0], 1 + np.flatnonzero(sums[1:] - sums[:-1] > apart)))
    return sums[starts], np.add.reduceat(counts, starts)


def first_reached(curves: pd.DataFrame, column: str, threshold: float) -> pd.DataFrame:
    """Return `epoch`, `step` and `seconds` of each trial's first record with column >= threshold, by its number.

    A trial that never got there has no row: it is censored at its last record.
    """
    reached = curves.loc[curves[column] >= threshold, ["trial", "epoch", "step", "seconds"]].reset_index(drop=True)
    return reached.loc[reached.groupby("trial")["step"].idxmin()].set_index("trial")


def last_records(curves: pd.DataFrame) -> pd.DataFrame:
    """Return each trial's last record, by its number."""
    curves = curves.reset_index(drop=True)
    backwards = curves[["trial", "step"]][::-1]  # of records with the same step the later one
    return curves.loc[backwards.groupby("trial")["step"].idxmax()].set_index("trial")


def censored_median(times: Values) -> float | None:
    """Return the earliest time by which at least half of the trials are there, or None if fewer ever are.

    NaN is a trial that never got there. It counts as later than all others, which is exact however
    early its record stopped: a diverged trial would not have got there within the budget either.
    """
    ordered = np.sort(np.asarray(times, dtype=float))  # NaN last
    median = ordered[(ordered.size - 1) // 2] if ordered.size else np.nan
    return None if np.isnan(median) else float(median)


def restricted_mean(times: Values, budgets: Values) -> float | None:
    """Return the mean of min(time, budget), where NaN, a trial that never got there, takes its whole budget.

    This is the restricted mean survival time. With one budget for all, it is the area under the curve of the share of
    trials that are not there yet (Royston & Parmar 2013, doi:10.1186/1471-2288-13-152). None without trials, or where
    neither a time nor a budget is known.
    """
    times, budgets = np.asarray(times, dtype=float), np.asarray(budgets, dtype=float)
    mean = float(np.fmin(times, budgets).mean()) if times.size else np.nan
    return None if np.isnan(mean) else mean
