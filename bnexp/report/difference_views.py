"""Views of several differences per arm: to both ends of a ladder, and across data sets or networks."""

from dataclasses import replace
from functools import partial

from bnexp.analysis.comparison import AcrossRow, Comparison, Rung
from bnexp.config.text import counted
from bnexp.report.columns import DIFFERENCE, arm_column, column, count, estimate, number, p_value, words
from bnexp.report.style import short_keys, value_text
from bnexp.report.table import Cell, Column, Table


def ladder_table(comparison: Comparison) -> Table:
    """Return the table of a ladder; without records if the arms don't take batch normalization apart."""
    metric, rows = comparison.metric, comparison.ladder
    baseline, full = comparison.label(comparison.baseline), comparison.label(rows[0].full) if rows else ""
    over = f"mean over {counted(comparison.points, 'grid point')}" if comparison.points > 1 else "equal settings"
    legends = {"": f"to {baseline}, to {full}: {over}.", "best_": "at its best: each arm at its own best point."}
    columns: list[Column[Rung]] = [
        arm_column(comparison),
        column(words(metric), ["mean"], partial(estimate, metric), drop=3),
    ]
    for regime, where in (("", ""), ("best_", ", at its best")):
        for prefix, other in (("", baseline), ("to_full_", full)):
            fields = [f"{regime}{prefix}{name}" for name in DIFFERENCE]
            legend = "" if prefix else legends[regime]
            signed = partial(estimate, metric, sign=True)
            columns.append(column(f"to {other}{where}", fields, signed, legend=legend, drop=2 if regime else 0))
    note = f"Paired differences in {words(metric)} with 95 % intervals; the arm with the best mean first."
    return Table(tuple(columns), rows, f"From {baseline} to {full}", (note,), name="ladder")


def across_table(comparison: Comparison) -> Table:
    """Return the table across the values of a setting; without records if it wasn't asked for."""
    metric, rows, baseline = comparison.metric, comparison.across, comparison.label(comparison.baseline)
    key = rows[0].key if rows else ""
    better = f"beats {baseline}: the probability that a trial of the arm does better than one of {baseline}."
    improvement = ("improvement", "improvement_low", "improvement_high")
    columns: list[Column[AcrossRow]] = [
        arm_column(comparison),
        column(short_keys([key])[key], ["value"], value_text, kind="text"),
        column(f"{comparison.unit}s", ["seeds"], count, drop=2),
        column(words(metric), ["mean"], partial(estimate, metric), drop=3),
        column(f"difference to {baseline}", DIFFERENCE, partial(estimate, metric, sign=True)),
        column("p", ["p"], p_value, drop=1),
        column(f"beats {baseline}", improvement, _probability, legend=better),
    ]
    notes = [
        f"all: the mean of these probabilities, with a bootstrap interval over {comparison.unit}s; accuracies have no "
        "common mean.",
    ]
    if any(row.improvement_low is not None and row.improvement_low == row.improvement_high for row in rows):
        notes.append(
            f"An interval without width: all {comparison.unit}s agree. That doesn't make the probability certain."
        )
    return Table(tuple(columns), rows, f"Across {key}", tuple(notes), name="across")


def _probability(value: float | None, low: float | None, high: float | None) -> Cell:
    found = number(value, ".2f")
    return found if low is None or high is None else replace(found, detail=f"[{low:.2f}, {high:.2f}]")
