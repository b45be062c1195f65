"""A comparison at equal settings as a table for people: a row per grid point and arm, and under it what it means."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.stats import EXACT_PAIRS, SIGN_FLIP_RESAMPLES, Interval, was_cut
from bnexp.analysis.study import bounds, difference_bounds, metric_text
from bnexp.records import DIVERGED_FACTOR
from bnexp.report.style import short_keys, value_text
from bnexp.report.table import Table

Row = TypeVar("Row")
Column = tuple[str, Callable[[Row], str]]
"""A header, and how a row fills the cell under it."""

DIVERGED = (
    "a number is no longer finite, or from some step to the end every batch loss is above "
    f"{DIVERGED_FACTOR} times the first"
)
"""What it means, in short."""
DIVERGED_NOTE = f"diverged: {DIVERGED}. A trial whose loss comes back has not diverged."


def comparison_table(comparison: Comparison, title: str = "") -> Table:
    """Return the table of a comparison; "-" is what can't be known or doesn't apply."""
    return filled(_columns(comparison), comparison.rows, title, _notes(comparison))


def filled(columns: Sequence[Column[Row]], rows: Sequence[Row], title: str, notes: Sequence[str] = ()) -> Table:
    """Return the table of records whose columns say how to write them."""
    return Table(
        headers=tuple(header for header, _ in columns),
        rows=tuple(tuple(cell(row) for _, cell in columns) for row in rows),
        title=title,
        notes=tuple(notes),
    )


def grid_columns(comparison: Comparison) -> list[Column[ArmRow]]:
    """Return a column per grid key, and that of the arm."""
    return [*point_columns(comparison.grid_keys), ("arm", lambda row: row.arm)]


def point_columns(keys: Sequence[str]) -> list[Column[Any]]:
    """Return a column per grid key, for records with a `point`."""
    return [_grid_column(key, name) for key, name in short_keys(keys).items()]


def estimate(metric: str, mean: float | None, low: float | None, high: float | None, sign: bool = False) -> str:
    """Write a value of the metric with its interval, as far as they are known."""
    text = metric_text(metric, mean, sign=sign)
    if low is None:
        return text
    return f"{text} [{metric_text(metric, low, sign=sign)}, {metric_text(metric, high, sign=sign)}]"


def p_text(p: float | None) -> str:
    """Write a p-value."""
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def number_text(value: float | None, digits: str = ".3g") -> str:
    """Write a number, or a dash where there is none."""
    return "-" if value is None else format(value, digits)


def share_text(part: int | None, whole: int) -> str:
    """Write "2/3", or a dash where the part isn't known or the whole is nothing."""
    return f"{part}/{whole}" if whole and part is not None else "-"


def _columns(comparison: Comparison) -> list[Column[ArmRow]]:
    metric, baseline = comparison.metric, comparison.baseline
    columns = grid_columns(comparison)
    columns += [
        ("n", lambda row: str(row.n)),
        (metric.replace("_", " "), lambda row: estimate(metric, row.mean, row.low, row.high)),
    ]
    if any(row.arm != baseline for row in comparison.rows):
        columns += [
            (f"difference to {baseline}", lambda row: _difference(metric, row)),
            ("effect", lambda row: number_text(row.effect, "+.1f")),
            ("p", lambda row: p_text(row.p)),
            ("better", lambda row: share_text(row.better, row.pairs)),
        ]
    columns += [(f"epochs to {comparison.threshold:g}", epochs_text)]
    columns += [("diverged", lambda row: f"{row.diverged}/{row.trials}")]
    if any(row.failed for row in comparison.rows):
        columns.append(("failed", lambda row: str(row.failed)))
    return columns


def epochs_text(row: ArmRow) -> str:
    """Write the median of the epochs to the threshold."""
    if row.n == 0:
        return "-"
    return "not reached" if row.epochs_to_threshold is None else str(row.epochs_to_threshold)


def _grid_column(key: str, name: str) -> Column[Any]:
    return name, lambda row: value_text(row.point[key])


def _difference(metric: str, row: ArmRow) -> str:
    return estimate(metric, row.difference, row.difference_low, row.difference_high, sign=True)


def _notes(comparison: Comparison) -> list[str]:
    rows, notes = comparison.rows, []
    if any(row.low is not None for row in rows):
        notes.append("mean [low, high]: 95 % Student t interval over the n seeds; diverged trials count.")
    notes += interval_notes(comparison.metric, rows)
    pairs = max((row.pairs for row in rows), default=0)
    if pairs:
        notes.append("difference: paired over seeds, each trial with the one of the same seed and grid values.")
    if any(row.effect is not None for row in rows):
        notes.append("effect: mean difference over the differences' standard deviation (d_z, Hedges' correction).")
    if pairs == 1:
        notes.append("One seed shows no spread: no interval and no test. Ask for more with seeds: 6.")
    elif pairs:
        smallest = f" With {pairs} pairs p can't fall below {2 / 2**pairs:.2g}." if pairs < 6 else ""
        test = p_note(pairs)
        notes.append(f"{test} better: pairs in which the arm did better.{smallest}")
    if any(row.n and row.mean is None for row in rows):
        notes.append("No mean where a trial's value isn't finite.")
    return [
        *notes,
        f"epochs to {comparison.threshold:g}: the epoch by which half of the trials were there.",
        DIVERGED_NOTE,
    ]


def interval_notes(metric: str, rows: Sequence[Any]) -> list[str]:
    """Say which intervals of records can't be taken literally: those cut at what is possible, those without width."""
    limits = (
        (("mean", "low", "high"), bounds(metric)),
        (("difference", "difference_low", "difference_high"), difference_bounds(metric)),
    )
    found = [
        (Interval(*(getattr(row, name, None) for name in names)), possible)
        for row in rows
        for names, possible in limits
    ]
    notes = []
    if any(was_cut(interval, possible) for interval, possible in found):
        notes.append(
            "An interval that ends at the smallest or largest possible value is cut there: its seeds are too few or "
            "too different to take it literally."
        )
    if any(interval.low is not None and interval.low == interval.high for interval, _ in found):
        notes.append(
            "An interval without width: its seeds came out exactly alike. That shows no spread; it doesn't make the "
            "value certain."
        )
    return notes


def p_note(pairs: int) -> str:
    """Say which test p is of."""
    if pairs > EXACT_PAIRS:
        signs = f"{SIGN_FLIP_RESAMPLES:,} random signs"
        return f"p: two-sided sign-flip test, estimated from {signs} beyond {EXACT_PAIRS} pairs."
    return "p: two-sided exact sign-flip test."
