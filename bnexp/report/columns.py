"""Cells as people read them, and the columns that several tables of a comparison have."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import isfinite
from typing import Any

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.stats import EXACT_PAIRS, SIGN_FLIP_RESAMPLES, Interval, was_cut
from bnexp.analysis.study import bounds, difference_bounds, is_number, metric_text
from bnexp.records import DIVERGED_FACTOR
from bnexp.report.style import short_keys, value_text
from bnexp.report.table import MISSING, Cell, Column, Kind

DIVERGED = (
    "a number is no longer finite, or from some step to the end every batch loss is above "
    f"{DIVERGED_FACTOR} times the first"
)
"""The definition of divergence, in short."""
DIVERGED_NOTE = f"diverged: {DIVERGED}. A trial whose loss comes back has not diverged."


def number(value: float | None, digits: str = ".3g", unit: str = "", missing: str = MISSING) -> Cell:
    """Write a number; a number that isn't finite counts as missing."""
    if value is None or not isfinite(value):
        return Cell(missing)
    return Cell(f"{format(value, digits)}{unit}", sort=_sortable(value))


count = partial(number, digits="d")
"""Writes a whole number."""


def measure(metric: str, value: float | None, *, sign: bool = False) -> str:
    """Write a value of the metric as text; a loss that isn't finite is missing."""
    known = value if value is not None and isfinite(value) else None
    return metric_text(metric, known, sign=sign, blank=MISSING)


def interval(metric: str, low: float | None, high: float | None, *, sign: bool = False, missing: str = "") -> str:
    """Write an interval of the metric."""
    return missing if low is None else f"[{measure(metric, low, sign=sign)}, {measure(metric, high, sign=sign)}]"


def estimate(
    metric: str, mean: float | None, low: float | None = None, high: float | None = None, *, sign: bool = False
) -> Cell:
    """Write a value of the metric and its interval, if they are known."""
    return Cell(measure(metric, mean, sign=sign), interval(metric, low, high, sign=sign), _sortable(mean))


def value_at(metric: str, value: float | None, place: float | None) -> Cell:
    """Write a value of the metric and where along an axis it was reached."""
    if place is None:
        return Cell(MISSING)
    text = "not finite" if value is None else measure(metric, value)
    return Cell(text, f"at {value_text(place)}", _sortable(value))


def share(part: int | None, whole: int) -> Cell:
    """Write "2/3", sorted by the share; missing if the part isn't known or the whole is 0."""
    return Cell(f"{part}/{whole}", sort=_sortable(part / whole)) if whole and part is not None else Cell(MISSING)


def p_value(p: float | None) -> Cell:
    """Write a p value."""
    return Cell("<0.001", sort=p) if p is not None and p < 0.001 else number(p, ".3f")


def ratio(value: float | None) -> Cell:
    """Write a ratio, as a number of times."""
    return number(value, ",.0f" if value is not None and value >= 100 else ".3g", "×")


def _sortable(value: float | None) -> float | None:
    return float(f"{value:.7g}") if value is not None and isfinite(value) else None


def words(name: str) -> str:
    """Write the name of a metric."""
    return name.replace("_", " ")


MEAN = ("mean", "low", "high")
DIFFERENCE = ("difference", "difference_low", "difference_high")
"""Fields of an estimate and its interval."""


def column(
    header: str,
    fields: Sequence[str],
    write: Callable[..., Cell | str],
    *,
    kind: Kind = "number",
    legend: str = "",
    drop: int = 0,
) -> Column[Any]:
    """Return the column whose cells are written from these fields of a record."""

    def cell(record: Any) -> Cell | str:
        return write(*(getattr(record, field) for field in fields))

    return Column(header, cell, tuple(fields), kind, legend, drop)


def arm_column(comparison: Comparison) -> Column[Any]:
    """Return the column of the arm."""
    return Column("arm", lambda row: comparison.label(row.arm), ("arm",), "arm")


def point_columns(keys: Sequence[str], records: Iterable[Any]) -> list[Column[Any]]:
    """Return a column per grid key, for records with a `point`."""
    points = [record.point for record in records]
    names = short_keys(keys).items()
    return [value_column(key, name, [point.get(key) for point in points], shared=True) for key, name in names]


def value_column(key: str, header: str, values: Iterable[Any], *, shared: bool = False) -> Column[Any]:
    """Return the column of a setting, for records with a `point` or with the setting under its dotted key.

    It is aligned and sorted as numbers where all values are.
    """

    def cell(record: Any) -> Cell:
        value = field_of(record, key)
        return Cell(value_text(value), sort=value if is_number(value) else None)

    kind: Kind = "number" if all(is_number(value) for value in values if value is not None) else "text"
    return Column(header, cell, (key,), kind, shared=shared)


def field_of(record: Any, name: str) -> Any:
    """Return a record's value of a field, or of a setting by its dotted key; None if it has neither."""
    point = getattr(record, "point", {})
    return point[name] if name in point else getattr(record, name, None)


def paired_columns(comparison: Comparison, total: str = "pairs", pairs: int = 0) -> list[Column[Any]]:
    """Return the columns of a difference to the baseline, its size, its p, and in how many pairs the arm did better.

    Args:
        comparison: what is shown.
        total: the field with the number of pairs.
        pairs: how many there are, if legends should explain the columns.
    """
    baseline = comparison.label(comparison.baseline)
    difference = effect = p = better = ""
    if pairs:
        over = f"difference: paired over {comparison.unit}s"
        difference = f"{over}, each trial with the one of the same seed and grid values."
    if pairs > 1:
        effect = "effect: mean difference over the differences' standard deviation (d_z, Hedges' correction)."
        p = "p: two-sided exact sign-flip test."
        if pairs < 6:
            p += f" With {pairs} pairs p can't fall below {2 / 2**pairs:.2g}."
        elif pairs > EXACT_PAIRS:
            signs = f"{SIGN_FLIP_RESAMPLES:,} random signs"
            p = f"p: two-sided sign-flip test, estimated from {signs} beyond {EXACT_PAIRS} pairs."
        better = f"better: pairs in which the arm did better than {baseline}."

    def of_all(row: Any) -> Cell:
        return share(row.better, getattr(row, total) if row.arm != comparison.baseline else 0)

    signed = partial(estimate, comparison.metric, sign=True)
    return [
        column(f"difference to {baseline}", DIFFERENCE, signed, legend=difference),
        column("effect", ["effect"], partial(number, digits="+.1f"), legend=effect, drop=4),
        column("p", ["p"], p_value, legend=p, drop=1),
        Column("better", of_all, ("better", total), legend=better, drop=5),
    ]


def interval_notes(comparison: Comparison, rows: Sequence[Any]) -> list[str]:
    """Say what the intervals of records are over, if not over seeds, and which can't be taken literally.

    Those are cut at the possible values, or have no width.
    """
    metric = comparison.metric
    limits = ((MEAN, bounds(metric)), (DIFFERENCE, difference_bounds(metric)))
    intervals = [
        (Interval(*(getattr(row, name, None) for name in names)), possible)
        for row in rows
        for names, possible in limits
    ]
    notes = []
    if comparison.new_splits and rows:
        notes.append(
            "Each seed has a split of its own (data.split: per_seed): intervals are about new seeds and new splits of "
            "these images."
        )
    if comparison.tunings and rows:
        notes.append(
            f"n and pairs count the {comparison.tunings} tunings (tune.studies). In each, every arm chose for itself, "
            "and its seeds are averaged. So the intervals include the luck of the choice."
        )
    if any(was_cut(found, possible) for found, possible in intervals):
        notes.append(
            "An interval that ends at the smallest or largest possible value is cut there: don't take it literally, "
            f"its {comparison.unit}s are too few or too different."
        )
    if any(found.low is not None and found.low == found.high for found, _ in intervals):
        notes.append(
            f"An interval without width: all its {comparison.unit}s gave exactly the same value. That doesn't make the "
            "value certain."
        )
    return notes
