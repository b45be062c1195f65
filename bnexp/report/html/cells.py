"""What the page's tables are made of: cells that are read as text and sorted as numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Generic, Literal, TypeVar

from bnexp.analysis.study import metric_text
from bnexp.report.style import short_keys, value_text

MISSING = "–"
"""Stands for what can't be known or doesn't apply."""

R = TypeVar("R")
Kind = Literal["number", "text", "arm"]


@dataclass(frozen=True)
class Cell:
    """One cell."""

    text: str
    sort: float | str | None = None
    """What sorting compares, where the text itself won't do."""
    detail: str = ""
    """After the text and quieter: an interval."""


@dataclass(frozen=True)
class Row:
    """One row; `arm` is the number of the arm whose switch shows and hides it."""

    cells: tuple[Cell, ...]
    arm: int | None = None
    id: str = ""
    first: bool = False
    """Whether a new grid point begins here."""


@dataclass(frozen=True)
class Column(Generic[R]):
    """A header, and how a record fills the cell under it."""

    header: str
    fill: Callable[[R], Cell]
    kind: Kind = "number"


@dataclass(frozen=True)
class PageTable:
    """A table of the page."""

    id: str
    caption: str
    about: str
    """A sentence after the caption."""
    headers: tuple[tuple[str, Kind], ...]
    rows: tuple[Row, ...]


def page_table(
    id: str,
    caption: str,
    about: str,
    columns: Sequence[Column[R]],
    records: Sequence[R],
    arms: Mapping[str, int],
    grouped: bool = False,
) -> PageTable:
    """Return the table of records that know their `arm`; columns in which nothing is known are left out.

    If grouped, a new `point` begins a new block of rows.
    """
    filled = [(column, [column.fill(record) for record in records]) for column in columns]
    kept = [(column, cells) for column, cells in filled if any(cell.text != MISSING for cell in cells)]
    points = [getattr(record, "point", None) for record in records]
    rows = tuple(
        Row(
            cells=tuple(cells[i] for _, cells in kept),
            arm=arms.get(getattr(record, "arm", "")),
            first=grouped and i > 0 and points[i] != points[i - 1],
        )
        for i, record in enumerate(records)
    )
    return PageTable(id, caption, about, tuple((column.header, column.kind) for column, _ in kept), rows)


def grid_columns(keys: Sequence[str], records: Sequence[Any]) -> list[Column[Any]]:
    """Return a column per grid key for records with a `point`, blank where the record calls the key inactive."""
    return [
        _grid_column(key, name, grid_kind(record.point.get(key) for record in records))
        for key, name in short_keys(keys).items()
    ]


def _grid_column(key: str, name: str, kind: Kind) -> Column[Any]:
    def fill(record: Any) -> Cell:
        return Cell(MISSING) if key in getattr(record, "inactive", ()) else grid_cell(record.point.get(key))

    return Column(name, fill, kind)


def grid_kind(values: Iterable[Any]) -> Kind:
    """Tell whether grid values are aligned and sorted as numbers."""
    return "number" if all(isinstance(value, int | float) for value in values if value is not None) else "text"


def grid_cell(value: Any) -> Cell:
    """Write a grid value."""
    return Cell(value_text(value), value if isinstance(value, int | float) else None)


def number(value: float | None, form: str = ".3g", missing: str = MISSING) -> Cell:
    """Write a number; None and what isn't finite sort last."""
    if value is None or not isfinite(value):
        return Cell(missing)
    return Cell(signed(format(value, form)), _sortable(value))


def estimate(metric: str, mean: float | None, low: float | None, high: float | None, sign: bool = False) -> Cell:
    """Write a value of the metric with its interval."""
    interval = f"[{measure(metric, low, sign)}, {measure(metric, high, sign)}]" if low is not None else ""
    return Cell(measure(metric, mean, sign), _sortable(mean), interval)


def measure(metric: str, value: float | None, sign: bool = False) -> str:
    """Write a value of the metric as text; a loss that is not finite is missing."""
    known = value if value is not None and isfinite(value) else None
    return signed(metric_text(metric, known, sign=sign, blank=MISSING))


def share(part: int | None, whole: int) -> Cell:
    """Write "2 of 3", sorted by the share; a dash where the part isn't known or the whole is nothing."""
    return Cell(f"{part} of {whole}", _sortable(part / whole)) if whole and part is not None else Cell(MISSING)


def p_cell(p: float | None) -> Cell:
    """Write a p value."""
    return Cell("<0.001", p) if p is not None and p < 0.001 else number(p, ".3f")


def signed(text: str) -> str:
    """Replace the hyphens of negative numbers by minus signs, the one of an exponent stays."""
    return "−" + text[1:] if text.startswith("-") else text


def _sortable(value: float | None) -> float | None:
    return float(f"{value:.7g}") if value is not None and isfinite(value) else None
