"""From paired differences to a verdict on a claim, and p values that stand beside many verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from bnexp.analysis.effects import effect_size
from bnexp.analysis.intervals import constant, mean_interval, was_cut
from bnexp.claims.pairs import Pairs
from bnexp.words import counted


class Word(StrEnum):
    """What data say about a claim; HOLDS and FAILS are for what is exact."""

    supported = "SUPPORTED"
    opposite = "OPPOSITE"
    too_small = "TOO SMALL"
    inconclusive = "INCONCLUSIVE"
    holds = "HOLDS"
    fails = "FAILS"


@dataclass(frozen=True)
class Verdict:
    """What the pairs say; the interval is the 95 % t interval of the mean change, cut at what is possible."""

    word: Word
    n: int
    change: float | None
    low: float | None
    high: float | None
    effect: float | None
    """d_z with Hedges' correction."""
    p: float | None
    """Of the two-sided paired t test."""
    reasons: tuple[str, ...] = ()
    """Why it is unclear, or what to be careful about."""


def judge(pairs: Pairs, margin: float) -> Verdict:
    """Return the verdict on a claim: OPPOSITE, SUPPORTED, TOO SMALL or INCONCLUSIVE, the first that applies.

    OPPOSITE: the interval lies below 0. SUPPORTED: above 0, and the mean change is at least the margin. TOO SMALL: its
    upper end is below the margin. Without an interval INCONCLUSIVE; where there is nothing to compare there is none.

    Args:
        pairs: one value of each arm per seed.
        margin: the least mean change that counts.
    """
    found = mean_interval(pairs.change, bounds=(-pairs.most, pairs.most))
    reasons = _reasons(pairs, found.mean)
    if pairs.void:  # a change, of which nothing can be said how sure it is
        return Verdict(Word.inconclusive, len(pairs.change), found.mean, None, None, None, None, tuple(reasons))
    word = Word.inconclusive
    if found.mean is not None and found.low is not None and found.high is not None:
        word = _word(found.mean, found.low, found.high, margin)
        if -margin < found.low and found.high < margin:
            reasons.append("the whole interval is within the margin, on either side of 0")
        if was_cut(found, (-pairs.most, pairs.most)):
            reasons.append(
                "the interval is cut at what is possible: seeds are too few or too different to take it literally"
            )
    return Verdict(
        word=word,
        n=len(pairs.change),
        change=found.mean,
        low=found.low,
        high=found.high,
        effect=effect_size(pairs.change),
        p=t_test(pairs.change),
        reasons=tuple(reasons),
    )


def _word(mean: float, low: float, high: float, margin: float) -> Word:
    if high < 0:
        return Word.opposite
    if low > 0 and mean >= margin:
        return Word.supported
    return Word.too_small if high < margin else Word.inconclusive


def _reasons(pairs: Pairs, mean: float | None) -> list[str]:
    n, reasons = len(pairs.change), []
    if pairs.void:
        return [pairs.void, *pairs.notes]
    if n < 2:
        reasons.append(f"too few seeds: {counted(n, 'pair')}, an interval takes two")
    elif mean is None:
        reasons.append("a value is not finite")
    elif mean != 0 and constant(pairs.change):
        reasons.append("all pairs are alike, so the interval has no width, and p is that of a sign-flip test")
    if count := int(pairs.bound.sum()):
        reasons.append(f"a bound: the budget or the grid cut off {count} of {counted(n, 'pair')}")
    return [*reasons, *pairs.notes]


def t_test(change: Float[np.ndarray, " n"]) -> float | None:
    """Return p of the two-sided t test of a mean of 0; None below two values, or where one isn't finite.

    Where all are equal there is no spread to test by: 1 if they are 0, else that of the exact sign-flip test, the
    smallest that so many pairs can have.
    """
    if len(change) < 2 or not np.isfinite(change).all():
        return None
    if constant(change):
        return 1.0 if change[0] == 0 else 2 * 0.5 ** len(change)
    from scipy.special import stdtr  # what scipy.stats calls, without the second its import takes

    t = float(change.mean()) / (float(change.std(ddof=1)) / len(change) ** 0.5)
    return 2 * float(stdtr(len(change) - 1, -abs(t)))


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return p values adjusted for their number by Holm's step-down method (Holm 1979, Scand. J. Statist. 6, 65-70).

    What is None stays None and doesn't count.
    """
    known = sorted((p, name) for name, p in p_values.items() if p is not None)
    adjusted, largest = dict[str, float | None](dict.fromkeys(p_values)), 0.0
    for place, (p, name) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - place) * p))
        adjusted[name] = largest
    return adjusted
