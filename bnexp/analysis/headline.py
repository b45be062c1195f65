"""A comparison in one phrase: how each arm stands against the baseline."""

from enum import StrEnum
from math import inf
from typing import Protocol

from bnexp.analysis.comparison import Comparison, Overall
from bnexp.analysis.study import lower_is_better, metric_text
from bnexp.config.text import counted

SETTLED = 0.05
"""The largest p that settles a difference."""
FEWEST_SEEDS = 6
"""With fewer pairs no exact sign-flip p can fall to SETTLED."""


class Standing(StrEnum):
    """How an arm stands, as the predicate of a sentence."""

    wins = "wins"
    """The 95 % interval excludes 0, and the exact p is at most SETTLED."""
    ahead = "is ahead (not settled)"
    """One of the two alone says so."""
    even = "shows no difference"
    behind = "is behind (not settled)"
    loses = "loses"
    unknown = "can't be told"
    """No interval: fewer than two pairs, or a value that isn't finite."""

    @property
    def sign(self) -> int:
        """1 for better than the baseline, -1 for worse, 0 where the data show neither."""
        return {Standing.wins: 1, Standing.ahead: 1, Standing.behind: -1, Standing.loses: -1}.get(self, 0)

    @property
    def settled(self) -> bool:
        """Whether it wins or loses."""
        return self in (Standing.wins, Standing.loses)


class Difference(Protocol):
    """What every kind of row says of its pairs."""

    @property
    def difference(self) -> float | None: ...
    @property
    def difference_low(self) -> float | None: ...
    @property
    def difference_high(self) -> float | None: ...
    @property
    def p(self) -> float | None: ...


def standing(row: Difference, *, lower: bool) -> Standing:
    """Return how an arm stands; if lower, less is better, as of a loss."""
    if row.difference is None or row.difference_low is None or row.difference_high is None:
        return Standing.unknown
    apart = not row.difference_low <= 0 <= row.difference_high
    unlikely = row.p is not None and row.p <= SETTLED
    if not apart and not unlikely:
        return Standing.even
    better = (row.difference < 0) if lower else (row.difference > 0)
    if apart and unlikely:
        return Standing.wins if better else Standing.loses
    return Standing.ahead if better else Standing.behind


def headline(comparison: Comparison) -> str:
    """Say in one phrase how the best arm did against the baseline, over all grid points.

    The best arm is the one with the best difference, and that may still be a loss.
    """
    metric, baseline = comparison.metric, comparison.baseline
    if comparison.data_sets:
        return f"{counted(len(comparison.data_sets), 'data set')}, no mean over them"
    if 0 < comparison.planned == comparison.failed + comparison.diverged:
        return ended_badly(comparison)
    if not comparison.overall:
        so_far = f"no result yet, {comparison.finished} of {comparison.planned} trials finished"
        return f"no result: {ended_badly(comparison)}" if comparison.failed else so_far
    lost = {row.arm: _lost(row.arm, comparison) for row in comparison.overall}
    # The baseline's own row only where there is no other, and an arm that diverged everywhere only beside such arms.
    best = max(comparison.overall, key=lambda row: (row.arm != baseline, not lost[row.arm], gain(row, comparison)))
    phrase = f"{best.arm} {metric_text(metric, best.mean, blank='not finite')}"
    if best.arm != baseline:
        phrase += f" vs {baseline} {metric_text(metric, best.baseline_mean, blank='not finite')}"
    phrase += f" {metric}"
    if best.difference is not None:
        phrase += f", {metric_text(metric, best.difference, sign=True)}"
    if best.difference_low is not None:
        ends = (metric_text(metric, end, sign=True) for end in (best.difference_low, best.difference_high))
        phrase += f" [{', '.join(ends)}]"
    points = f", mean of {best.points} grid points" if best.points > 1 else ""
    broken = f"; {ended_badly(comparison)}" if best.arm == baseline and comparison.failed else ""
    broken += f"; all trials of {best.arm} diverged" if lost[best.arm] else ""
    return f"{phrase}, n = {best.seeds}{points}{_words(best, comparison)}{broken}"


def _lost(arm: str, comparison: Comparison) -> bool:
    """Whether all trials of an arm diverged."""
    return all(row.diverged == row.trials for row in comparison.rows if row.arm == arm)


def ended_badly(comparison: Comparison) -> str:
    """Say how many trials failed, and why the first one did, and how many diverged; empty where none did."""
    why = f" ({comparison.failure})" if comparison.failure else ""
    counts = {f"failed{why}": comparison.failed, "diverged": comparison.diverged}
    return ", ".join(f"{_share(count, comparison.planned)} {how}" for how, count in counts.items() if count)


def _share(count: int, planned: int) -> str:
    if count == planned:
        return "the only trial" if planned == 1 else f"all {planned} trials"
    return f"{count} of {planned} trials"


def _words(row: Overall, comparison: Comparison) -> str:
    """Return how the arm stands: ": before wins"; nothing where that can't be told."""
    stands = standing(row, lower=lower_is_better(comparison.metric))
    tuned = " (tuned; the choice's noise is not in the interval)" if comparison.tuned else ""
    return tuned if stands is Standing.unknown else f": {row.arm} {stands}{tuned}"


def gain(row: Overall, comparison: Comparison) -> float:
    """Return how much better an arm did than the baseline; infinitely, where one of them alone is finite."""
    if row.difference is None:
        return inf if row.mean is not None else -inf
    return -row.difference if lower_is_better(comparison.metric) else row.difference
