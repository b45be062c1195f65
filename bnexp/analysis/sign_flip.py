"""The sign-flip test: how often chance alone gives differences as large as those of the pairs."""

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.intervals import ROUNDING, Values, bounded

EXACT_PAIRS = 100
"""Up to this many pairs all sign assignments are counted; beyond, p is an estimate from RESAMPLES random ones."""
RESAMPLES = 9_999

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
    if sample.size < 2 or not bounded(sample):
        return None
    # Ties are common; rounding must not break them.
    bound = abs(sample.sum()) - ROUNDING * np.abs(sample).sum()
    if sample.size > EXACT_PAIRS:
        hits = int(np.sum(np.abs(_random_sums(sample)) >= bound))
        return (1 + hits) / (1 + RESAMPLES)
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
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(RESAMPLES, sample.size))
    return np.asarray(signs @ sample)
