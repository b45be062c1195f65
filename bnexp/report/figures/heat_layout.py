"""How large the cells of a heat map are, and so how many maps stand side by side and what can be written in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from bnexp.report.figures.lettering import inches, wrapped
from bnexp.report.figures.sheet import SMALL

TINY = SMALL - 1.5
"""Size of the text in cells, in points."""

_GAP = 0.25
"""Inches between two maps."""
_WIDEST, _NARROWEST = 8.0, 4.5
"""Inches: the whole figure."""
_BESIDE = 1.5
"""Inches: the names of the axes and the scale of colours."""
_TIGHTEST, _ROOMIEST = 0.28, 0.8
"""Inches: the narrowest cell that holds a value, and the widest cell."""
_TALLEST, _MAP = 0.42, 4.6
"""Inches: the highest cell, and the highest map."""
_SWATCH, _NAME_LINE = 0.5, 0.14
"""Inches: the arm's line before its name, a further line of the name."""
_LABEL = 0.17
"""Inches that a value at an axis takes across its line."""


@dataclass(frozen=True)
class HeatLayout:
    """Sizes in inches, and how the axes are labelled."""

    names: tuple[str, ...]
    """Of the maps, broken into lines as wide as a map."""
    rows: int
    columns: int
    cell_width: float
    cell_height: float
    width: float
    """Of the figure."""
    height: float
    """Of all maps with what is written at them."""
    slanted: bool
    """Whether the values below the maps are, for want of room."""
    x_step: int
    """Every how many values one is written."""
    y_step: int

    @property
    def two_lines(self) -> bool:
        """Whether a cell is high enough for two lines of text."""
        return self.cell_height > 0.27


def heat_layout(names: Sequence[str], x_labels: Sequence[str], y_labels: Sequence[str]) -> HeatLayout:
    """Return the layout of maps with these names, whose values are written like this."""
    maps = len(names)
    across, up = max(1, len(x_labels)), max(1, len(y_labels))
    beside = _BESIDE + _longest(y_labels)

    def cell(columns: int, width: float) -> float:
        return (width - beside - _GAP * (columns - 1)) / columns / across

    fitting = [count for count in range(1, min(maps, 4) + 1) if cell(count, _WIDEST) >= _TIGHTEST]
    rows = max(1, ceil(maps / max(fitting, default=1)))
    columns = max(1, ceil(maps / rows))
    needed = beside + _GAP * (columns - 1) + columns * across * min(_ROOMIEST, cell(columns, _WIDEST))
    width = max(_NARROWEST, needed)
    cell_width = cell(columns, width)
    cell_height = min(_TALLEST, max(0.75 * cell_width, 0.3), _MAP / up)
    slanted = _longest(x_labels) > cell_width - 0.06
    below = 0.75 * _longest(x_labels) if slanted else 0.1
    broken = tuple(wrapped(name, max(1.0, across * cell_width - _SWATCH), SMALL) for name in names)
    above = 0.35 + _NAME_LINE * max((name.count("\n") for name in broken), default=0)
    return HeatLayout(
        names=broken,
        rows=rows,
        columns=columns,
        cell_width=cell_width,
        cell_height=cell_height,
        width=width,
        height=rows * (up * cell_height + above) + below + 0.3,
        slanted=slanted,
        x_step=ceil(_LABEL / cell_width) if slanted else 1,
        y_step=ceil(_LABEL / cell_height),
    )


def _longest(labels: Sequence[str]) -> float:
    return max((inches(label, SMALL - 1) for label in labels), default=0)
