"""The view of a ladder: each arm's differences to no normalization and to whole batch normalization."""

from functools import partial

from bnexp.analysis.comparison import Comparison, Rung
from bnexp.config.text import counted
from bnexp.report.columns import DIFFERENCE, arm_column, column, estimate, words
from bnexp.report.table import Column, Table


def ladder_table(comparison: Comparison) -> Table:
    """Return the table of a ladder; without records where the arms don't take batch normalization apart."""
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
