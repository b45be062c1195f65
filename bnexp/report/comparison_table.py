"""The comparison as a table for people: a row per grid point and arm, and under it what the numbers mean."""

from collections.abc import Callable

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.metrics import metric_text
from bnexp.report.labels import short_keys, value_text
from bnexp.report.table import Table

Column = tuple[str, Callable[[ArmRow], str]]
"""A header, and how a row fills the cell under it."""


def comparison_table(comparison: Comparison, title: str = "") -> Table:
    """Return the table of a comparison; "-" is what can't be known or doesn't apply."""
    columns = _columns(comparison)
    return Table(
        headers=tuple(header for header, _ in columns),
        rows=tuple(tuple(cell(row) for _, cell in columns) for row in comparison.rows),
        title=title,
        notes=tuple(_notes(comparison)),
    )


def _columns(comparison: Comparison) -> list[Column]:
    metric, baseline = comparison.metric, comparison.baseline
    columns = [_grid_column(key, name) for key, name in short_keys(comparison.grid_keys).items()]
    columns += [
        ("arm", lambda row: row.arm),
        ("n", lambda row: str(row.n)),
        (metric.replace("_", " "), lambda row: _estimate(metric, row.mean, row.low, row.high)),
    ]
    if any(row.arm != baseline for row in comparison.rows):
        columns += [(f"difference to {baseline}", lambda row: _difference(metric, row)), ("p", _p)]
    columns += [(f"epochs to {comparison.threshold:g}", _epochs), ("diverged", lambda row: f"{row.diverged}/{row.n}")]
    if any(row.failed for row in comparison.rows):
        columns.append(("failed", lambda row: str(row.failed)))
    return columns


def _grid_column(key: str, name: str) -> Column:
    return name, lambda row: value_text(row.point[key])


def _difference(metric: str, row: ArmRow) -> str:
    return _estimate(metric, row.difference, row.difference_low, row.difference_high, sign=True)


def _estimate(metric: str, mean: float | None, low: float | None, high: float | None, sign: bool = False) -> str:
    text = metric_text(metric, mean, sign=sign)
    if low is None:
        return text
    return f"{text} [{metric_text(metric, low, sign=sign)}, {metric_text(metric, high, sign=sign)}]"


def _p(row: ArmRow) -> str:
    if row.p is None:
        return "-"
    return "<0.001" if row.p < 0.001 else f"{row.p:.3f}"


def _epochs(row: ArmRow) -> str:
    if row.n == 0:
        return "-"
    return "not reached" if row.epochs_to_threshold is None else str(row.epochs_to_threshold)


def _notes(comparison: Comparison) -> list[str]:
    rows, notes = comparison.rows, []
    if comparison.finished < comparison.planned:
        notes.append(f"{comparison.finished} of {comparison.planned} trials finished; the others are left out.")
    if any(row.low is not None for row in rows):
        notes.append("mean [low, high]: 95 % Student t interval over the n seeds; diverged trials count.")
    pairs = max((row.pairs for row in rows), default=0)
    if pairs:
        notes.append("difference: paired over seeds, each trial with the one of the same seed and grid values.")
    if pairs == 1:
        notes.append("One seed shows no spread: no interval and no test. Ask for more with seeds: 6.")
    elif pairs:
        notes.append("p: two-sided sign-flip test." + (_smallest_p(pairs) if pairs < 6 else ""))
    if any(row.arm != row.baseline and row.pairs < row.n for row in rows):
        notes.append("Some trials have no finished partner in the baseline; differences leave them out.")
    if any(row.n and row.mean is None for row in rows):
        notes.append("No mean where a trial's value isn't finite.")
    return [*notes, f"epochs to {comparison.threshold:g}: the epoch by which half of the n trials were there."]


def _smallest_p(pairs: int) -> str:
    return f" With {pairs} pairs p can't fall below {2 / 2**pairs:.2g}; six can reach 0.03."
