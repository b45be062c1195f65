"""How an arm stands against the baseline: in one word, and a whole comparison in one phrase."""

from enum import StrEnum
from math import inf

from bnexp.analysis.comparison import ArmRow, BestRow, Comparison, EvaluationRow, Overall, SequentialRow
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
    """Only one of the two says so."""
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
        """True if it wins or loses."""
        return self in (Standing.wins, Standing.loses)


Difference = ArmRow | Overall | BestRow | EvaluationRow | SequentialRow
"""Rows that say how large the difference over pairs is, and how certain."""


def standing(row: Difference, *, lower: bool) -> Standing:
    """Return how an arm stands; with `lower`, less is better, as for a loss."""
    if row.difference is None or row.difference_low is None or row.difference_high is None:
        return Standing.unknown
    apart = not row.difference_low <= 0 <= row.difference_high
    unlikely = row.p is not None and row.p <= SETTLED
    better = (row.difference < 0) if lower else (row.difference > 0)
    if apart and unlikely:
        return Standing.wins if better else Standing.loses
    if apart or unlikely:
        return Standing.ahead if better else Standing.behind
    return Standing.even


def headline(comparison: Comparison) -> str:
    """Say in one phrase how the best arm did against the baseline, over all grid points.

    The best arm is the one with the best difference, and that may still be a loss.
    """
    metric, baseline, ended = comparison.metric, comparison.baseline, ended_badly(comparison)
    if comparison.data_sets:
        return f"{counted(len(comparison.data_sets), 'data set')}, no mean over them"
    if 0 < comparison.planned == comparison.failed + comparison.diverged:
        return ended
    if not comparison.overall:
        so_far = f"no result yet, {comparison.finished} of {comparison.planned} trials finished"
        return f"no result: {ended}" if comparison.failed else so_far
    best = best_overall(comparison)
    assert best
    phrase = f"{best.arm} {metric_text(metric, best.mean, blank='not finite')}"
    if best.arm != baseline:
        phrase += f" vs {baseline} {metric_text(metric, best.baseline_mean, blank='not finite')}"
    phrase += f" {metric.replace('_', ' ')}"
    if best.difference is not None:
        phrase += f", {metric_text(metric, best.difference, sign=True)}"
    row = judged(best, comparison)
    if row.difference_low is not None:
        ends = (metric_text(metric, end, sign=True) for end in (row.difference_low, row.difference_high))
        phrase += f" [{', '.join(ends)}]"
    phrase += f", n = {best.seeds}" + (" tunings" if comparison.tunings else "")
    phrase += f", mean of {best.points} grid points" if best.points > 1 else ""
    stands = standing(row, lower=lower_is_better(metric))
    phrase += f": {best.arm} {stands}" if stands is not Standing.unknown else ""
    phrase += " (tuned; the choice's noise is not in the interval)" if comparison.tuned else ""
    phrase += " (the interval includes the tuning)" if comparison.tunings else ""
    phrase += f"; {ended}" if best.arm == baseline and comparison.failed else ""
    return phrase + (f"; all trials of {best.arm} diverged" if _lost(best.arm, comparison) else "")


def best_overall(comparison: Comparison) -> Overall | None:
    """Return the row of the arm with the best difference over all grid points; None where none has finished.

    The baseline's own row is taken only if there is no other, and an arm that diverged everywhere only if all arms did.
    """

    def key(row: Overall) -> tuple[bool, bool, float]:
        return row.arm != comparison.baseline, not _lost(row.arm, comparison), gain(row, comparison)

    return max(comparison.overall, key=key, default=None)


def judged(row: Overall, comparison: Comparison) -> Overall | SequentialRow:
    """Return the row whose interval says how an arm stands: where seeds were added, the one valid at every look."""
    return next((each for each in comparison.sequence if each.arm == row.arm), row)


def _lost(arm: str, comparison: Comparison) -> bool:
    """Tell whether all trials of an arm diverged."""
    return all(row.diverged == row.trials for row in comparison.rows if row.arm == arm)


def ended_badly(comparison: Comparison) -> str:
    """Say how many trials failed, and why the first one did, and how many diverged; empty where none did."""
    why, planned = f" ({comparison.failure})" if comparison.failure else "", comparison.planned
    counts = {f"failed{why}": comparison.failed, "diverged": comparison.diverged}
    every = "the only trial" if planned == 1 else f"all {planned} trials"
    shares = (
        (every if count == planned else f"{count} of {planned} trials", how) for how, count in counts.items() if count
    )
    return ", ".join(f"{share} {how}" for share, how in shares)


def gain(row: Overall, comparison: Comparison) -> float:
    """Return how much better an arm did than the baseline; infinity if only one of them is finite."""
    if row.difference is None:
        return inf if row.mean is not None else -inf
    return -row.difference if lower_is_better(comparison.metric) else row.difference
