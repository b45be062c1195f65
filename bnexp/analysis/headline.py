"""A comparison in one phrase."""

from math import inf

from bnexp.analysis.comparison import Comparison, Overall
from bnexp.analysis.metrics import lower_is_better, metric_text
from bnexp.analysis.standing import Standing, standing
from bnexp.words import counted


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
