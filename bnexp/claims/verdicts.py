"""The rule that turns pairs into a verdict, the same in both directions, and the p value shown with it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from bnexp.analysis.sequential import valid_interval
from bnexp.analysis.stats import Interval, effect_size, is_constant, mean_interval, was_cut
from bnexp.claims.looks import Looks
from bnexp.claims.pairs import Pairs
from bnexp.config.text import counted


class VerdictLabel(StrEnum):
    """The verdicts: HOLDS and FAILS on exact claims, the others by data; see label_of and together."""

    supported = "SUPPORTED"
    opposite = "OPPOSITE"
    equivalent = "EQUIVALENT"
    too_small = "TOO SMALL"
    inconclusive = "INCONCLUSIVE"
    depends = "DEPENDS"
    holds = "HOLDS"
    fails = "FAILS"


@dataclass(frozen=True)
class Verdict:
    """The verdict on pairs, with the 95 % interval of the mean change, cut at what is possible."""

    label: VerdictLabel
    n: int
    change: float | None
    low: float | None
    high: float | None
    effect: float | None
    """d_z with Hedges' correction."""
    p: float | None
    """From the two-sided paired t test; with several looks, times the number of planned ones."""
    reasons: tuple[str, ...] = ()
    """Why it is unclear, or what to be careful about."""
    looks: tuple[int, int] | None = None
    """How many times the data were looked at, and how many times at most; None where seeds were fixed beforehand."""

    @property
    def estimate(self) -> tuple[float | None, float | None, float | None]:
        """The mean change and the ends of its interval."""
        return self.change, self.low, self.high


def judge(pairs: Pairs, margin: float, looks: Looks | None = None) -> Verdict:
    """Return the verdict on pairs: it compares the 95 % interval of their mean change with the margin.

    Void pairs, and pairs without an interval, are INCONCLUSIVE.

    Args:
        pairs: one value of each arm per seed.
        margin: the least mean change that counts, in either direction.
        looks: those so far, if there may be several: the interval is then valid over all of them.
    """
    found, taken = _interval(pairs, looks), (looks.taken, len(looks.planned)) if looks else None
    reasons = _reasons(pairs, found.mean)
    if pairs.void:  # there is a change, but nothing says how certain it is
        return Verdict(
            VerdictLabel.inconclusive, len(pairs.change), found.mean, None, None, None, None, tuple(reasons), taken
        )
    if was_cut(found, (-pairs.most, pairs.most)):
        reasons.append(
            "the interval is cut at what is possible: seeds are too few or too different to take it literally"
        )
    effect, p = effect_size(pairs.change), t_test(pairs.change)
    if p is not None and looks:
        p = min(1.0, p * len(looks.planned))  # Bonferroni's inequality
    label = label_of(found, margin)
    return Verdict(label, len(pairs.change), found.mean, found.low, found.high, effect, p, tuple(reasons), taken)


def _interval(pairs: Pairs, looks: Looks | None) -> Interval:
    bounds = (-pairs.most, pairs.most)
    if looks and len(pairs.change) > 1:
        return valid_interval(pairs.change, looks.pairs, looks.planned[-1], bounds)
    return mean_interval(pairs.change, bounds)


def label_of(found: Interval, margin: float) -> VerdictLabel:
    """Return the first of these words that applies to a mean change and its interval; INCONCLUSIVE if none does.

    SUPPORTED: the interval is above 0, and the mean at least the margin. OPPOSITE: below 0, and the mean at most minus
    the margin. EQUIVALENT: the whole interval is within the margin on both sides of 0; these are two one-sided tests
    (Schuirmann 1987, doi:10.1007/BF01068419), each at 2.5 %. TOO SMALL: the interval is on one side of 0, but the mean
    is within the margin.
    """
    mean, low, high = found.mean, found.low, found.high
    if mean is None or low is None or high is None:
        return VerdictLabel.inconclusive
    if low > 0 and mean >= margin:
        return VerdictLabel.supported
    if high < 0 and mean <= -margin:
        return VerdictLabel.opposite
    if -margin < low and high < margin:
        return VerdictLabel.equivalent
    return VerdictLabel.too_small if low > 0 or high < 0 else VerdictLabel.inconclusive


def together(labels: Collection[VerdictLabel]) -> VerdictLabel:
    """Return the verdict on a claim that is judged at one or more values of a setting.

    It is the verdict that all values share. If two differ, INCONCLUSIVE ones aside, the claim DEPENDS. If all others
    agree but some are INCONCLUSIVE, so is the claim.
    """
    decided = {*labels} - {VerdictLabel.inconclusive}
    if len(decided) > 1:
        return VerdictLabel.depends
    return VerdictLabel.inconclusive if VerdictLabel.inconclusive in labels else next(iter(decided))


def _reasons(pairs: Pairs, mean: float | None) -> list[str]:
    n, reasons = len(pairs.change), []
    if pairs.void:
        return [pairs.void, *pairs.notes]
    if n < 2:
        reasons.append(f"too few seeds: {counted(n, 'pair')}, an interval takes two")
    elif mean is None:
        reasons.append("a value is not finite")
    elif mean != 0 and is_constant(pairs.change):
        reasons.append("all pairs are alike, so the interval has no width, and p is that of a sign-flip test")
    if count := int(pairs.bound.sum()):
        reasons.append(f"a bound: the budget or the grid cut off {count} of {counted(n, 'pair')}")
    return [*reasons, *pairs.notes]


def t_test(change: Float[np.ndarray, " n"]) -> float | None:
    """Return p of the two-sided t test of a mean of 0; None below two values, or if one isn't finite.

    If all values are equal, there is no spread to test by: p is 1 if they are 0, and otherwise that of the exact
    sign-flip test, the smallest that this many pairs can have.
    """
    if len(change) < 2 or not np.isfinite(change).all():
        return None
    if is_constant(change):
        return 1.0 if change[0] == 0 else 2 * 0.5 ** len(change)
    from scipy.special import stdtr  # what scipy.stats calls, without the second its import takes

    t = float(change.mean()) / (float(change.std(ddof=1)) / len(change) ** 0.5)
    return 2 * float(stdtr(len(change) - 1, -abs(t)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p values adjusted for their number by Holm's step-down method (Holm 1979, Scand. J. Statist. 6, 65-70).

    None stays None and doesn't count.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted, largest = list[float | None]([None] * len(p_values)), 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return adjusted
