"""The verdict: the answer of the comparison in sentences, even if batch normalization loses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bnexp.analysis.comparison import ArmRow, BestRow, Comparison, Overall
from bnexp.analysis.standing import FEWEST_SEEDS, Difference, Standing, ended_badly, gain, standing
from bnexp.analysis.study import lower_is_better
from bnexp.config.text import counted
from bnexp.config.trial import TrialSettings
from bnexp.report.columns import estimate, interval, measure, p_value
from bnexp.report.style import point_texts
from bnexp.report.table import in_print

FEW = 3
"""Up to this many grid points are named one by one."""

Tone = Literal["better", "worse", "unclear", "unknown"]
TONES: dict[Standing, Tone] = {Standing.wins: "better", Standing.loses: "worse", Standing.unknown: "unknown"}
"""A settled answer has a colour of its own; all others are "unclear"."""


@dataclass(frozen=True)
class Verdict:
    """A heading, and the sentences under it."""

    tone: Tone
    heading: str
    sentences: tuple[str, ...]


def verdict(comparison: Comparison, settings: Mapping[str, TrialSettings]) -> Verdict:
    """Return the verdict on the best arm against the baseline, over all grid points.

    The best arm has the best difference, which may still be a loss.
    """
    settings = {comparison.label(arm): known for arm, known in settings.items()}
    comparison = _labelled(comparison)
    unfinished = comparison.planned - comparison.finished
    so_far = f"So far {comparison.finished} of {counted(comparison.planned, 'trial')} have ended." if unfinished else ""
    treated = [row for row in comparison.overall if row.arm != comparison.baseline]
    if not comparison.finished:
        heading = "Nothing has finished yet."
        return Verdict("unknown", heading, (f"None of {counted(comparison.planned, 'trial')} has ended.",))
    if not treated:
        return Verdict("unknown", *_nothing_to_compare(comparison, so_far))
    best = max(treated, key=lambda row: gain(row, comparison))
    heading = _heading(_subject(best.arm, comparison.baseline, settings), best, comparison)
    sentences = [_numbers(best, comparison), *_doubts(best, comparison), *_elsewhere(best, comparison)]
    if len(treated) > 1:
        sentences.append(
            f"It is the best of {len(treated)} arms against {comparison.baseline}; its p is not adjusted for that."
        )
    if comparison.tuned:
        sentences.append(
            "Each arm chose settings of its own (tune). The interval leaves out the noise of that choice, so it is too "
            "narrow: even equal arms can seem to differ. tune.studies: 6 puts it in; “Mind when reading” says how "
            "close the choices were."
        )
    if comparison.tunings:
        sentences.append(
            f"Each arm chose settings of its own {comparison.tunings} times (tune.studies), with other tuning seeds "
            "each time, so the interval includes the luck of that choice."
        )
    tone = TONES.get(_stands(best, comparison), "unclear")
    return Verdict(tone, heading, tuple(filter(None, (*sentences, so_far))))


def _labelled(comparison: Comparison) -> Comparison:
    """Return the comparison with the arms' labels in place of their names."""

    def labelled(rows: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(replace(row, arm=comparison.label(row.arm)) for row in rows)

    baseline, rows = comparison.label(comparison.baseline), labelled(comparison.rows)
    overall, best = labelled(comparison.overall), labelled(comparison.best)
    return replace(comparison, baseline=baseline, rows=rows, overall=overall, best=best)


def _nothing_to_compare(comparison: Comparison, so_far: str) -> tuple[str, tuple[str, ...]]:
    baseline = comparison.baseline
    if comparison.data_sets:
        reason = f"The trials are about {counted(len(comparison.data_sets), 'data set')}: each has rows of its own."
        return "No single answer over different data sets.", (reason, *filter(None, (so_far,)))
    failed = ended_badly(comparison) if comparison.failed else ""
    if all(row.arm == baseline for row in comparison.rows):
        reason = f"{baseline} is the only arm, so there is no difference to speak of."
    elif not any(row.n for row in comparison.rows if row.arm == baseline):
        reason = f"No trial of {baseline}, the baseline, has a result, so no arm can be held against it."
    else:
        reason = f"No trial of another arm has a partner in {baseline} with the same seed and settings yet."
    failed = failed and f"{failed[0].upper()}{failed[1:]}."
    return "Nothing to compare.", (reason, *filter(None, (failed, so_far)))


def _stands(row: Difference, comparison: Comparison) -> Standing:
    return standing(row, lower=lower_is_better(comparison.metric))


def _subject(arm: str, baseline: str, settings: Mapping[str, TrialSettings]) -> str:
    """Name the treatment: batch normalization, if the arm has it and the baseline hasn't."""
    kinds = [settings[name].model.norm.kind if name in settings else None for name in (arm, baseline)]
    return "Batch normalization" if kinds[0] == "batch" and kinds[1] in ("none", None) else f"The arm {arm}"


def _heading(subject: str, row: Overall, comparison: Comparison) -> str:
    stands = _stands(row, comparison)
    if stands is Standing.unknown:
        return "One seed can’t tell." if row.seeds == 1 else f"No difference to {comparison.baseline} can be given."
    if stands is Standing.even:
        return "No difference shown."
    signs = {_stands(place, comparison).sign for place in comparison.rows if place.arm == row.arm}
    where = "on average, not everywhere" if -stands.sign in signs else "here"
    if stands.settled:
        return f"{subject} {stands} {where}."
    return f"{subject} is {'ahead' if stands.sign > 0 else 'behind'} {where}, but that is not settled."


def _numbers(row: Overall, comparison: Comparison) -> str:
    metric, baseline = comparison.metric, comparison.baseline
    means = f"{row.arm} {_measure(metric, row.mean)}, {baseline} {_measure(metric, row.baseline_mean)}"
    where = f", mean over {row.points} grid points" if row.points > 1 else ""
    orientation = " (lower is better)" if lower_is_better(metric) else ""
    sentence = f"{metric.replace('_', ' ').capitalize()}{orientation}{where}: {means}"
    if row.difference is None:
        count = "" if row.better is None else f" (better in {row.better} of {row.seeds})"
        return f"{sentence}; not finite in every trial, so there is no difference{count}."
    sentence += f"; difference {_measure(metric, row.difference, sign=True)}"
    if row.difference_low is None:
        return f"{sentence}, from one seed."
    ends = in_print(interval(metric, row.difference_low, row.difference_high, sign=True))
    p = p_value(row.p).text
    p = f"p\u00a0{p[0]}\u00a0{p[1:]}" if p.startswith("<") else f"p\u00a0=\u00a0{p}"
    pairs = f"paired over {row.seeds} {comparison.unit}s (better in {row.better}, {p})"
    return f"{sentence}, 95\u00a0% interval {ends}, {pairs}."


def _doubts(row: Overall, comparison: Comparison) -> Iterator[str]:
    """Say what the numbers can't show."""
    stands = _stands(row, comparison)
    if row.difference is None or stands.settled:
        return
    if stands is Standing.unknown:
        yield f"One seed shows no spread: no interval, no test. Ask for more with seeds: {FEWEST_SEEDS}."
    elif stands is Standing.even:
        yield "The interval contains zero: either arm may be the better one."
    elif row.seeds < FEWEST_SEEDS:
        more = f"{'tune.studies' if comparison.tunings else 'seeds'}: {FEWEST_SEEDS}"
        yield f"With {row.seeds} {comparison.unit}s no exact p can fall below 0.05. Ask for more with {more}."
    else:
        yield "The interval and the exact test disagree about whether there is a difference. More seeds would tell."


def _elsewhere(best: Overall, comparison: Comparison) -> Iterator[str]:
    """Say what the mean over all grid points hides: single points, other arms, and each arm at its best."""
    places = [row for row in comparison.rows if row.arm == best.arm and row.difference_low is not None]
    if len(places) > 1:
        counts = filter(None, (_count(stands, places, comparison) for stands in Standing))
        yield f"Point by point, {best.arm} {', '.join(counts)}. This is not adjusted for multiple comparisons."
    for row in comparison.overall:
        if row.arm not in (comparison.baseline, best.arm) and (stands := _stands(row, comparison)).sign < 0:
            yield f"{row.arm} {stands} against {comparison.baseline}: {_difference(row, comparison)}."
    for at_best in comparison.best:
        if at_best.arm == best.arm and at_best.difference is not None:
            difference = _difference(at_best, comparison)
            yield f"With each arm at its own best settings the difference is {difference}."


def _count(stands: Standing, places: Sequence[ArmRow], comparison: Comparison) -> str:
    """Write at how many grid points it is so, and at which if they are few; empty if at none."""
    found = [row for row in places if _stands(row, comparison) is stands]
    if len(found) == len(places):
        return f"{stands} at all {len(found)}"
    if len(found) > FEW:
        return f"{stands} at {len(found)}"
    points = "; ".join(", ".join(point_texts(row.point)) for row in found)
    return f"{stands} at {len(found)} ({points})" if found else ""


def _difference(row: BestRow | Overall, comparison: Comparison) -> str:
    ends = (row.difference_low, row.difference_high)
    return in_print(str(estimate(comparison.metric, row.difference, *ends, sign=True)))


def _measure(metric: str, value: float | None, *, sign: bool = False) -> str:
    return in_print(measure(metric, value, sign=sign))
