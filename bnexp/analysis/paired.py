"""Two arms over the same seeds: the mean difference, how sure it is, and in how many pairs the arm did better."""

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from bnexp.analysis.effects import effect_size
from bnexp.analysis.intervals import LARGEST, UNBOUNDED, Bounds, Interval, Values, differences, mean_interval
from bnexp.analysis.metrics import difference_bounds, lower_is_better
from bnexp.analysis.sign_flip import sign_flip_p


@dataclass(frozen=True)
class PairedDifference(Interval):
    """The mean of treated - baseline over pairs, its interval, and the sign-flip test of "no difference"."""

    p: float | None
    """Two-sided; None below two pairs, where it would be 1 whatever the values are."""
    pairs: int


def paired_difference(
    treated: Values, baseline: Values, level: float = 0.95, bounds: Bounds = UNBOUNDED
) -> PairedDifference:
    """Return the mean paired difference with its t interval, cut at the bounds, and its sign-flip p.

    Values at the same place form a pair, so both need the same length.
    """
    sample = differences(treated, baseline)
    interval = mean_interval(sample, level, bounds)
    return PairedDifference(interval.mean, interval.low, interval.high, sign_flip_p(sample), pairs=sample.size)


def paired_fields(treated: Values, partners: Values, metric: str) -> dict[str, Any]:
    """Return what every kind of row says of its pairs of values of a metric."""
    found = paired_difference(treated, partners, bounds=difference_bounds(metric))
    return {
        "difference": found.mean,
        "difference_low": found.low,
        "difference_high": found.high,
        "effect": effect_size(differences(treated, partners)),
        "p": found.p,
        "better": better(treated, partners, lower=lower_is_better(metric)),
    }


def better(treated: Values, partners: Values, *, lower: bool) -> int | None:
    """Count the pairs in which the arm did better than the baseline; a tie is no win.

    What isn't finite is worse than any number, and two such values are a tie. None where every pair is such a tie.

    Args:
        treated, partners: values at the same place form a pair.
        lower: whether less is better.
    """
    ours, theirs = _ranked(treated, lower), _ranked(partners, lower)
    if ours.size and np.isinf(ours).all() and np.isinf(theirs).all():
        return None
    gains = differences(ours, theirs)
    return int(np.sum(gains < 0 if lower else gains > 0))


def _ranked(values: Values, lower: bool) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    return np.where(np.abs(sample) <= LARGEST, sample, inf if lower else -inf)
