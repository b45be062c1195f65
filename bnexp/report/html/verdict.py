"""The verdict: what the comparison answers, in sentences, also where batch normalization loses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bnexp.analysis.comparison import ArmRow, Comparison, Overall
from bnexp.analysis.headline import gain
from bnexp.analysis.metrics import lower_is_better
from bnexp.config.trial import TrialSettings
from bnexp.report.html.cells import measure, p_cell
from bnexp.report.labels import point_texts
from bnexp.words import counted

FEW = 3
"""Grid points that a sentence names one by one."""

Tone = Literal["better", "worse", "unclear", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """A heading, and the sentences under it."""

    tone: Tone
    heading: str
    sentences: tuple[str, ...]


def verdict(comparison: Comparison, settings: Mapping[str, TrialSettings]) -> Verdict:
    """Return the verdict on the best arm against the baseline, over all grid points.

    The best arm is the one with the best difference, and that may still be a loss.
    """
    unfinished = comparison.planned - comparison.finished
    so_far = f"So far {comparison.finished} of {counted(comparison.planned, 'trial')} have ended." if unfinished else ""
    treated = [row for row in comparison.overall if row.arm != comparison.baseline]
    if not comparison.finished:
        heading = "Nothing has finished yet."
        return Verdict("unknown", heading, (f"None of {counted(comparison.planned, 'trial')} has ended.",))
    if not treated:
        return Verdict("unknown", *_nothing_to_compare(comparison, so_far))
    best = max(treated, key=lambda row: gain(row, comparison))
    tone = _tone(best, comparison)
    sentences = (_numbers(best, comparison), *_doubts(best), *_elsewhere(best, comparison), so_far)
    name = _subject(best.arm, comparison.baseline, settings)
    return Verdict(tone, _heading(tone, name, best, comparison), tuple(filter(None, sentences)))


def _nothing_to_compare(comparison: Comparison, so_far: str) -> tuple[str, tuple[str, ...]]:
    baseline = comparison.baseline
    if all(row.arm == baseline for row in comparison.rows):
        reason = f"{baseline} is the only arm, so there is no difference to speak of."
    elif not any(row.n for row in comparison.rows if row.arm == baseline):
        reason = f"No trial of {baseline}, the baseline, has a result, so no arm can be held against it."
    else:
        reason = f"No trial of another arm has a partner in {baseline} with the same seed and settings yet."
    return "Nothing to compare.", (reason, *filter(None, (so_far,)))


def _tone(row: Overall, comparison: Comparison) -> Tone:
    if row.difference_low is None or row.difference_high is None:
        return "unknown"
    if row.difference_low <= 0 <= row.difference_high:
        return "unclear"
    return "better" if gain(row, comparison) > 0 else "worse"


def _subject(arm: str, baseline: str, settings: Mapping[str, TrialSettings]) -> str:
    """Name what was tried: batch normalization where the arm has it and the baseline hasn't."""
    kinds = [settings[name].model.norm.kind if name in settings else None for name in (arm, baseline)]
    return "Batch normalization" if kinds[0] == "batch" and kinds[1] in ("none", None) else f"The arm {arm}"


def _heading(tone: Tone, subject: str, row: Overall, comparison: Comparison) -> str:
    signs = {_clear(place, comparison) for place in comparison.rows if place.arm == row.arm}
    if tone == "better":
        return f"{subject} wins on average, not everywhere." if -1 in signs else f"{subject} wins here."
    if tone == "worse":
        return f"{subject} loses on average, not everywhere." if 1 in signs else f"{subject} loses here."
    if tone == "unclear":
        return "No clear difference."
    return "One seed can’t tell." if row.seeds == 1 else f"No difference to {comparison.baseline} can be given."


def _numbers(row: Overall, comparison: Comparison) -> str:
    metric, baseline = comparison.metric, comparison.baseline
    means = f"{row.arm} {measure(metric, row.mean)}, {baseline} {measure(metric, row.baseline_mean)}"
    where = f", mean over {comparison.points} grid points" if comparison.points > 1 else ""
    orientation = " (lower is better)" if lower_is_better(metric) else ""
    sentence = f"{metric.replace('_', ' ').capitalize()}{orientation}{where}: {means}"
    if row.difference is None:
        return f"{sentence}; not finite in every trial, so there is no difference."
    sentence += f"; difference {measure(metric, row.difference, sign=True)}"
    if row.difference_low is None:
        return f"{sentence}, from one seed."
    ends = ", ".join(measure(metric, end, sign=True) for end in (row.difference_low, row.difference_high))
    return f"{sentence}, 95\u00a0% interval [{ends}], {_test(row)}."


def _test(row: Overall) -> str:
    p = p_cell(row.p).text
    found = f"p\u00a0{p[0]}\u00a0{p[1:]}" if p.startswith("<") else f"p\u00a0=\u00a0{p}"
    return f"paired over {row.seeds} seeds (better in {row.better}, {found})"


def _doubts(row: Overall) -> Iterator[str]:
    """What the numbers can't show."""
    if row.difference is None:
        return
    if row.difference_low is None or row.difference_high is None:
        yield "One seed shows no spread: no interval, no test. Ask for more with seeds: 6."
        return
    if row.difference_low <= 0 <= row.difference_high:
        yield "The interval contains zero: either arm may be the better one."


def _elsewhere(best: Overall, comparison: Comparison) -> Iterator[str]:
    """What the one number over all grid points hides: places, and other arms."""
    places = [row for row in comparison.rows if row.arm == best.arm and row.difference_low is not None]
    if len(places) > 1:
        counts = (
            _count(word, sign, places, comparison) for word, sign in (("better", 1), ("worse", -1), ("unclear", 0))
        )
        yield f"At single grid points {best.arm} is {', '.join(filter(None, counts))}."
    for row in comparison.overall:
        if row.arm not in (comparison.baseline, best.arm) and _tone(row, comparison) == "worse":
            yield f"{row.arm} loses to {comparison.baseline}: {_interval(row, comparison)}."
    yield from _at_best(best.arm, comparison)


def _count(word: str, sign: int, places: Sequence[ArmRow], comparison: Comparison) -> str:
    """Write at how many grid points it is so, and at which if they are few; empty where at none."""
    found = [row for row in places if _clear(row, comparison) == sign]
    if len(found) == len(places):
        return f"{word} at all {len(found)}"
    if len(found) > FEW:
        return f"{word} at {len(found)}"
    return f"{word} at {len(found)} ({'; '.join(_place(row) for row in found)})" if found else ""


def _place(row: ArmRow) -> str:
    return ", ".join(point_texts(row.point))


def _at_best(arm: str, comparison: Comparison) -> Iterator[str]:
    for row in comparison.best:
        if row.arm == arm and row.difference is not None:
            difference = _interval(row, comparison, "final_test_accuracy")
            yield f"With each arm at its own best settings the difference is {difference}."


def _interval(row: object, comparison: Comparison, metric: str = "") -> str:
    metric = metric or comparison.metric
    mean, low, high = (getattr(row, name) for name in ("difference", "difference_low", "difference_high"))
    text = measure(metric, mean, sign=True)
    if low is None:
        return text
    return f"{text} [{measure(metric, low, sign=True)}, {measure(metric, high, sign=True)}]"


def _clear(row: ArmRow, comparison: Comparison) -> int:
    """Return 1 where the arm is better, -1 where worse, 0 where the interval contains zero."""
    if row.difference_low is None or row.difference_high is None or row.difference_low <= 0 <= row.difference_high:
        return 0
    return 1 if (row.difference_low > 0) != lower_is_better(comparison.metric) else -1
