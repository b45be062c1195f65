"""How sure a mean over seeds is: its Student t interval, cut where values can't be.

The seed is the unit: one value per seed goes in. Whatever can't be known comes out as None, never as
NaN: no value at all, a value that isn't finite, or fewer than two values where a spread is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf

import numpy as np
from numpy.typing import NDArray

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
    if sample.size == 0 or not bounded(sample):
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


def bounded(values: NDArray[np.float64]) -> bool:
    """Tell whether one can reckon with all values: none is NaN, infinite, or beyond LARGEST."""
    return bool((np.abs(values) <= LARGEST).all())


def constant(values: NDArray[np.float64]) -> bool:
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
