"""The views of a comparison: equal settings, overall, each arm at its best, robustness, time, divergence."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isclose
from typing import Any

from bnexp.analysis.comparison import ArmRow, BestRow, Comparison, EvaluationRow, Overall, RobustnessRow
from bnexp.analysis.evaluations import MEASURED
from bnexp.analysis.study import ABOVE_CHANCE, chosen_by, lower_is_better, metric_text
from bnexp.config.text import counted, listed
from bnexp.report.comparison_table import (
    DIVERGED_NOTE,
    Column,
    comparison_table,
    epochs_text,
    estimate,
    filled,
    grid_columns,
    interval_notes,
    number_text,
    p_text,
    point_columns,
    share_text,
)
from bnexp.report.style import point_texts, short_keys, value_text
from bnexp.report.table import Table


def tables(comparison: Comparison, view: str = "main", title: str = "") -> tuple[Table, ...]:
    """Return the tables of a view that have rows; `main` is all but time, `all` is all.

    The first bears the title, with its own behind it where it isn't that of equal settings.
    """
    if not comparison.finished:
        return (_nothing(comparison, title),)
    comparison = replace(comparison, rows=comparison.begun)
    wanted = [name for name in VIEWS if view in (name, "all") or (view == "main" and name != "time")]
    found = [table for name in wanted if (table := VIEWS[name](comparison)).rows]
    if not found:
        return (Table(headers=(f"nothing to show as {view}",), rows=(), title=title),)
    first = found[0].title
    found[0] = replace(found[0], title=f"{title}: {first[0].lower()}{first[1:]}" if title and first else title or first)
    return tuple(found)


def _nothing(comparison: Comparison, title: str) -> Table:
    ended = f"None of {counted(comparison.planned, 'trial')} has ended, so there is nothing to compare yet."
    note = "The curves so far: bnexp compare --plot, or the pictures and the page of bnexp report."
    return Table(headers=(ended,), rows=(), title=title, notes=(note,))


def rows_of(comparison: Comparison, view: str) -> Sequence[Any]:
    """Return the records behind a view, for CSV; of `main` and `all` those of equal settings."""
    records: Mapping[str, Sequence[Any]] = {
        "overall": comparison.overall,
        "best": comparison.best,
        "robust": comparison.robustness,
        "evaluation": comparison.evaluations,
    }
    return records.get(view, comparison.rows)


def _overall(comparison: Comparison) -> Table:
    metric, points = comparison.metric, comparison.points
    columns: list[Column[Overall]] = [
        ("arm", lambda row: row.arm),
        ("seeds", lambda row: str(row.seeds)),
        (metric.replace("_", " "), lambda row: metric_text(metric, row.mean)),
        (
            f"difference to {comparison.baseline}",
            lambda row: estimate(metric, row.difference, row.difference_low, row.difference_high, sign=True),
        ),
        ("effect", lambda row: number_text(row.effect, "+.1f")),
        ("p", lambda row: p_text(row.p)),
        ("better", lambda row: share_text(row.better, row.seeds if row.arm != comparison.baseline else 0)),
    ]
    if any(row.bootstrap_low is not None for row in comparison.overall):
        columns.insert(4, ("bootstrap", lambda row: _interval(metric, row.bootstrap_low, row.bootstrap_high)))
    rows = comparison.overall if points > 1 else ()
    notes = [
        f"Each seed's mean over its pairs at {over_points(comparison)}; statistics over the seeds that have all.",
        *interval_notes(metric, rows),
    ]
    if len(columns) > 7:
        notes.append(
            "bootstrap: 95 % BCa interval of the difference; below some 30 seeds it is narrower than it should be."
        )
    return filled(columns, rows, "Over all grid points", notes)


def over_points(comparison: Comparison) -> str:
    """Write over how many grid points the arms' means are."""
    counts = sorted({row.points for row in comparison.overall}) or [comparison.points]
    return f"{counts[0]} grid points" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} grid points"


def _best(comparison: Comparison) -> Table:
    metric = comparison.metric
    chosen, most = chosen_by(metric) or "", "lowest" if lower_is_better(metric) else "highest"
    columns: list[Column[BestRow]] = [
        ("arm", lambda row: row.arm),
        ("best point", lambda row: ", ".join(point_texts(row.active_point)) + (" (edge)" if row.edges else "")),
        (chosen.replace("_", " "), lambda row: metric_text(chosen, row.validation)),
        ("n", lambda row: str(row.n)),
        (metric.replace("_", " "), lambda row: estimate(metric, row.mean, row.low, row.high)),
        (
            f"difference to {comparison.baseline}",
            lambda row: estimate(metric, row.difference, row.difference_low, row.difference_high, sign=True),
        ),
        ("effect", lambda row: number_text(row.effect, "+.1f")),
        ("p", lambda row: p_text(row.p)),
        ("better", lambda row: share_text(row.better, row.pairs)),
        ("chosen from", lambda row: f"{counted(row.candidates, 'point')}, {row.epochs:,} epochs"),
    ]
    notes = [
        f"The point of the {most} mean {chosen.replace('_', ' ')}, over the seeds that finished all points; the test "
        "images chose nothing. The same seeds choose and are measured, which flatters every arm a little; the noise "
        "of the choice is not in the interval.",
        *interval_notes(metric, comparison.best),
        *_inactive_note(comparison),
        *(
            ["edge: a chosen value is the smallest or the largest that was tried, so better ones may lie beyond."]
            if any(row.edges for row in comparison.best)
            else []
        ),
    ]
    return filled(columns, comparison.best, "Each arm at its best", notes)


def _inactive_note(comparison: Comparison) -> list[str]:
    told, finished = [], Counter(row.arm for row in comparison.rows if row.n)
    for row in comparison.best:
        nowhere = [key for key in row.inactive if key not in row.partly_inactive]
        for keys, where in ((nowhere, ""), (row.partly_inactive, " at some points")):
            told += [f"{listed(short_keys(keys).values())} on {row.arm}{where}"] if keys else []
    fewer = any(row.candidates + len(row.excluded) < finished[row.arm] for row in comparison.best)
    return [
        *([f"No effect: {'; '.join(told)}."] if told else []),
        *(["Points at which an arm trains the same count once."] if fewer else []),
    ]


def _robust(comparison: Comparison) -> Table:
    metric = comparison.metric
    columns: list[Column[RobustnessRow]] = [
        ("axis", lambda row: short_keys([row.axis])[row.axis]),
        ("arm", lambda row: row.arm),
        (f"worst {metric.replace('_', ' ')}", lambda row: _at(metric, row.worst, row.worst_at)),
        ("best", lambda row: _at(metric, row.best, row.best_at)),
        ("spread", lambda row: metric_text(metric, row.spread)),
        ("usable", lambda row: f"{row.usable}/{row.values}"),
        ("usable range", _range),
        ("width", lambda row: _times(row.width)),
        (f"width to {comparison.baseline}", lambda row: _times(row.width_ratio)),
    ]
    ends = "highest and lowest" if lower_is_better(metric) else "lowest and highest"
    notes = [
        f"worst, best: {ends} mean along the axis, over the seeds and other settings that were tried along all of it.",
        f"usable: 90 % of the seeds don't diverge and end {usable_text(comparison.robustness)}, at the best of the "
        "other settings; range: the longest stretch. An arm on which a setting has no effect has no row there.",
        DIVERGED_NOTE,
    ]
    return filled(columns, comparison.robustness, "Robustness", notes)


def usable_text(rows: Sequence[RobustnessRow]) -> str:
    """Say above which accuracy a trial counts as trained, and where that comes from."""
    if not rows or (above := rows[0].usable_above) is None or (guessing := rows[0].guessing) is None:
        return f"{ABOVE_CHANCE} above chance"
    margin = above - guessing
    more = f"{ABOVE_CHANCE}" if isclose(margin, ABOVE_CHANCE) else f"three standard errors {margin:.3f}"
    base = f"the mean before training {guessing:.3f}" if rows[0].guessing_measured else f"guessing {guessing:.3g}"
    return f"with an accuracy above {above:.3f} ({base} + {more})"


def _time(comparison: Comparison) -> Table:
    threshold = f"{comparison.threshold:g}"
    columns: list[Column[ArmRow]] = [
        *grid_columns(comparison),
        (f"epochs to {threshold}", epochs_text),
        ("reached", lambda row: f"{row.reached}/{row.trials}"),
        ("first", lambda row: share_text(row.first, row.pairs)),
        ("restricted mean", lambda row: number_text(row.restricted_epochs)),
        (f"seconds to {threshold}", lambda row: number_text(row.seconds_to_threshold)),
        ("seconds per epoch", lambda row: number_text(row.seconds_per_epoch)),
        ("cost of a step", lambda row: "-" if row.step_cost is None else f"{row.step_cost:.2f}×"),
        ("gap", lambda row: number_text(row.gap, "+.3f")),
    ]
    notes = [
        f"epochs, seconds to {threshold}: medians; a trial that never got there counts as later than all others.",
        "first: pairs in which the arm was there first. restricted mean: of the epochs, at most the budget.",
        "seconds: a trial's share of the time of the trials that trained at once. gap: training - test accuracy.",
        "All times are from one clock. Arms of different networks don't train in turns, so the machine's other work is "
        "in them.",
        "cost of a step: arm / baseline; left out where either's steps took less than a second in all.",
    ]
    return filled(columns, comparison.rows, "Time and cost", notes)


def _diverged(comparison: Comparison) -> Table:
    metric = comparison.metric
    columns: list[Column[ArmRow]] = [
        *grid_columns(comparison),
        ("diverged", lambda row: f"{row.diverged}/{row.trials}"),
        ("rate", lambda row: _rate(row)),
        (f"{metric.replace('_', ' ')}, all trials", lambda row: metric_text(metric, row.mean)),
        ("survivors only", lambda row: metric_text(metric, row.survivors_mean)),
    ]
    rows = [row for row in comparison.rows if row.diverged]
    notes = [
        DIVERGED_NOTE,
        "rate: 95 % Wilson interval. all trials: diverged ones count with what they ended with.",
        "survivors only: the mean without them, which hides where an arm fails.",
    ]
    return filled(columns, rows, "Diverged trials", notes)


def _evaluation(comparison: Comparison) -> Table:
    columns: list[Column[EvaluationRow]] = [
        *point_columns(comparison.grid_keys),
        ("arm", lambda row: row.arm),
        ("n", lambda row: str(row.n)),
        ("running averages", lambda row: metric_text(MEASURED, row.running)),
        (
            f"difference to {comparison.baseline}",
            lambda row: estimate(MEASURED, row.running_difference, row.running_low, row.running_high, sign=True),
        ),
        ("population", lambda row: metric_text(MEASURED, row.population)),
        (
            "difference (population)",
            lambda row: estimate(MEASURED, row.difference, row.difference_low, row.difference_high, sign=True),
        ),
        ("p (population)", lambda row: p_text(row.p)),
    ]
    notes = [
        "The same weights, evaluated twice (probe mode_gap): with the running averages, as in every other table, and "
        "with statistics recomputed over the training images (norm.statistics: population).",
    ]
    return filled(columns, comparison.evaluations, "Evaluation: running averages and population statistics", notes)


VIEWS: dict[str, Callable[[Comparison], Table]] = {
    "equal": comparison_table,
    "overall": _overall,
    "best": _best,
    "robust": _robust,
    "diverged": _diverged,
    "evaluation": _evaluation,
    "time": _time,
}
"""Tables by the name in --view, in the order in which they are shown."""


def remarks(comparison: Comparison) -> tuple[str, ...]:
    """Return what to know beside the tables: what differs between runs, what is left out, what could mislead."""
    said = {"Differs": comparison.differs, "Left out": comparison.left_out, "Careful": comparison.warnings}
    return tuple(f"{word}: {line}." for word, lines in said.items() for line in lines)


def _interval(metric: str, low: float | None, high: float | None) -> str:
    return "-" if low is None else f"[{metric_text(metric, low, sign=True)}, {metric_text(metric, high, sign=True)}]"


def _at(metric: str, value: float | None, place: float | None) -> str:
    return "-" if place is None else f"{metric_text(metric, value, blank='not finite')} at {value_text(place)}"


def _range(row: RobustnessRow) -> str:
    if row.usable_low is None or row.usable_high is None:
        return "none"
    return f"{row.usable_low:.4g} to {row.usable_high:.4g}"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:,.0f}×" if ratio >= 100 else f"{ratio:.3g}×"


def _rate(row: ArmRow) -> str:
    if row.diverged_low is None or row.diverged_high is None:
        return "-"
    return f"{row.diverged / row.trials:.2f} [{row.diverged_low:.2f}, {row.diverged_high:.2f}]"
