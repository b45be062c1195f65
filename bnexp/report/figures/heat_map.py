"""Results over two swept settings: a map per arm, and per value of settings that aren't numbers, in one colour scale.

Better results have lighter colours (cividis), so that they can be read with any colour vision and in grey print.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isnan, nan
from typing import Any, cast

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.study import Study, is_number, lower_is_better
from bnexp.config.text import counted, listed
from bnexp.report.figures.frame import (
    SMALL,
    WIDE,
    draw_color_bar,
    join_caption,
    panel_figure,
    widest,
    wrap_text,
)
from bnexp.report.panels import distinct, evenly, in_order
from bnexp.report.style import GREY, PALE, ArmStyle, arm_styles, point_title, short_keys, value_text

MOST_MAPS = 24
_TINY = SMALL - 1.5
"""Size of the text in cells, in points."""
_NARROWEST = 4.5
"""The least width of the figure in inches."""
_BESIDE, _GAP = 1.5, 0.25
"""Inches: the names of the axes and the colour bar; the space between two maps."""
_TIGHTEST, _ROOMIEST, _TALLEST, _MAP = 0.28, 0.8, 0.42, 4.6
"""Inches: width of the narrowest cell with a value; largest width and height of a cell; largest height of a map."""
_SWATCH, _LABEL = 0.5, 0.17
"""Inches: the arm's line before a map's name; the height of a value at an axis."""


@dataclass(frozen=True)
class _Cell:
    """One arm at one value of each of the two settings, over all grid points with these values."""

    value: float
    """Mean over the grid points; NaN without a finished trial, or if one of the means isn't finite."""
    points: int
    """Grid points with a finished trial."""
    trials: int
    """Finished trials."""
    diverged: int


@dataclass(frozen=True)
class _Map:
    """One arm; cells[i][j] is at the i-th value of y and the j-th of x."""

    arm: str
    name: str
    cells: tuple[tuple[_Cell, ...], ...]


@dataclass(frozen=True)
class _Layout:
    """Sizes in inches."""

    columns: int
    width: float
    cell_width: float
    cell_height: float

    def fits(self, *lines: str) -> bool:
        """Return whether lines of tiny text fit into a cell."""
        return widest(lines, _TINY) < self.cell_width - 0.03 and 0.13 * len(lines) < self.cell_height


def heat_map_figure(study: Study, comparison: Comparison, x: str, y: str) -> Figure:
    """Return the metric's mean at each value of x and y, averaged over other settings that are numbers."""
    rows, metric = comparison.rows, comparison.metric
    xs, ys = (in_order(row.point[key] for row in rows) for key in (x, y))
    others = [
        key for key in comparison.grid_keys if key not in (x, y) and len(distinct(r.point[key] for r in rows)) > 1
    ]
    categories = [key for key in others if not all(is_number(row.point[key]) for row in rows)]
    every = list(_maps(study, rows, {x: xs, y: ys}, categories))
    maps = [every[place] for place in evenly(len(every), MOST_MAPS)]
    cells = [cell for each in maps for row in each.cells for cell in row]
    x_labels, y_labels = ([value_text(value) for value in values] for values in (xs, ys))
    arms = len({each.arm for each in maps})
    layout = _layout(len(maps), arms if categories else 1, x_labels, y_labels)
    names = [wrap_text(each.name, max(1.0, len(xs) * layout.cell_width - _SWATCH), SMALL) for each in maps]
    slanted = widest(x_labels, SMALL - 1) > layout.cell_width - 0.06
    above = 0.35 + 0.14 * max(name.count("\n") for name in names)
    others = [key for key in others if key not in categories]
    keys = short_keys(comparison.grid_keys)
    figure, panels = panel_figure(
        [""] * len(maps),
        layout.columns,
        title=study.title,
        caption=join_caption(
            f"showing {len(maps)} of {len(every)} maps" if len(maps) < len(every) else "",
            f"each cell: mean over {counted(max(row.n for row in rows), 'seed')}{_over_points(cells, others)}",
            "below a value, after a cross: diverged of finished trials" if any(cell.diverged for cell in cells) else "",
        ),
        handles=_handles(cells),
        xlabel=keys[x],
        ylabel=keys[y],
        width=layout.width,
        height=len(ys) * layout.cell_height + above,
        below=0.4 + (0.75 * widest(x_labels, SMALL - 1) if slanted else 0),
    )
    scale, styles = _scale(cells, metric), arm_styles(study.arms)
    slant: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    x_step, y_step = ceil(_LABEL / layout.cell_width) if slanted else 1, ceil(_LABEL / layout.cell_height)
    for each, name, axes in zip(maps, names, panels, strict=True):
        _draw_map(axes, each, layout, scale)
        axes.set_xticks(range(0, len(xs), x_step), x_labels[::x_step], parse_math=False, **slant)
        axes.set_yticks(range(0, len(ys), y_step), y_labels[::y_step], parse_math=False)
        _write_name(axes, name, styles[each.arm])
    draw_color_bar(figure, scale, metric.replace("_", " "))
    return figure


def _maps(
    study: Study, rows: Sequence[ArmRow], axes: Mapping[str, Sequence[Any]], categories: Sequence[str]
) -> Iterator[_Map]:
    """Yield a map over the two settings of `axes` for each combination of the categories and each arm with rows."""
    (x, xs), (y, ys) = axes.items()
    for combination in distinct({key: row.point[key] for key in categories} for row in rows):
        for arm in study.arms:
            by_place: dict[str, list[ArmRow]] = {}
            for row in rows:
                if row.arm == arm and combination.items() <= row.point.items():
                    by_place.setdefault(repr((row.point[x], row.point[y])), []).append(row)
            cells = tuple(tuple(_cell(by_place.get(repr((i, j)), [])) for i in xs) for j in ys)
            if by_place:
                yield _Map(arm, ", ".join(filter(None, [study.label(arm), point_title(combination)])), cells)


def _cell(rows: Sequence[ArmRow]) -> _Cell:
    finished = [row for row in rows if row.n]
    means = [nan if row.mean is None else row.mean for row in finished]
    value = sum(means) / len(means) if means else nan
    return _Cell(value, len(finished), sum(row.trials for row in finished), sum(row.diverged for row in finished))


def _over_points(cells: Sequence[_Cell], others: Sequence[str]) -> str:
    """Say how many grid points a cell averages, and in which settings they differ; empty if none averages."""
    counts = sorted({cell.points for cell in cells if cell.points})
    if not others or counts[-1:] <= [1]:
        return ""
    most = f"up to {counts[-1]}" if len(counts) > 1 else counts[-1]
    return f" at {most} grid points, which differ in {listed(short_keys(others).values())}"


def _layout(maps: int, group: int, x_labels: Sequence[str], y_labels: Sequence[str]) -> _Layout:
    """Return the sizes of this many maps; those of a group (the arms at one category) stand in one row if they fit."""
    beside = _BESIDE + widest(y_labels, SMALL - 1)

    def cell_width(columns: int, width: float) -> float:
        return (width - beside - _GAP * (columns - 1)) / columns / len(x_labels)

    fitting = [count for count in range(1, min(maps, 4) + 1) if cell_width(count, WIDE) >= _TIGHTEST] or [1]
    columns = group if 1 < group <= fitting[-1] else ceil(maps / ceil(maps / fitting[-1]))
    needed = beside + _GAP * (columns - 1) + columns * len(x_labels) * min(_ROOMIEST, cell_width(columns, WIDE))
    width = max(_NARROWEST, needed)
    cell = cell_width(columns, width)
    return _Layout(columns, width, cell, min(_TALLEST, max(0.75 * cell, 0.3), _MAP / len(y_labels)))


def _scale(cells: Sequence[_Cell], metric: str) -> ScalarMappable:
    """Return a scale of accuracies from 0 to 1, or of losses over their range, in which the lowest is brightest."""
    if not lower_is_better(metric):
        return ScalarMappable(Normalize(0, 1), colormaps["cividis"])
    values = [cell.value for cell in cells if not isnan(cell.value)] or [0.0, 1.0]
    low, high = min(values), max(values)
    norm: Normalize = LogNorm(low, high) if 0 < low < high / 100 else Normalize(low, high if high > low else low + 1)
    return ScalarMappable(norm, colormaps["cividis_r"])


def _handles(cells: Sequence[_Cell]) -> list[Artist]:
    handles: list[Artist] = []
    if any(isnan(cell.value) for cell in cells):
        handles.append(Patch(facecolor=PALE, label="no result"))
    if any(cell.diverged for cell in cells):
        handles.append(Line2D([], [], color=GREY, linestyle="", marker="x", markersize=5, label="diverged trials"))
    return handles


def _draw_map(axes: Axes, each: _Map, layout: _Layout, scale: ScalarMappable) -> None:
    axes.set_facecolor(PALE)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    values = np.ma.masked_invalid([[cell.value for cell in row] for row in each.cells])
    corners = (np.arange(size + 1) - 0.5 for size in values.shape[::-1])
    axes.pcolormesh(
        *corners, values, norm=cast("Normalize", scale.norm), cmap=scale.cmap, edgecolor="white", linewidth=0.8
    )
    for i, row in enumerate(each.cells):
        for j, cell in enumerate(row):
            colour = GREY if isnan(cell.value) else _ink(scale.to_rgba(np.array([cell.value]))[0])
            text = _cell_text(cell, layout, digits=".2f" if scale.norm.vmax == 1 else ".2g")
            size = min(_TINY, 60 * layout.cell_height)  # a lone cross fits into any cell
            axes.text(j, i, text, size=size, color=colour, ha="center", va="center", linespacing=1.1)


def _cell_text(cell: _Cell, layout: _Layout, digits: str) -> str:
    """Return the value, and below it how many trials diverged, as far as both fit."""
    value = [] if isnan(cell.value) else [format(cell.value, digits)]
    if not cell.diverged:
        return "".join(value) if layout.fits(*value) else ""
    count = f"× {cell.diverged}/{cell.trials}"
    return next(("\n".join(lines) for lines in ([*value, count], [count]) if layout.fits(*lines)), "×")


def _ink(colour: np.ndarray) -> str:
    """Return black or white, whichever stands out more: at the limit both have the same contrast (WCAG)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return "black" if np.dot(linear, [0.2126, 0.7152, 0.0722]) > 0.179 else "white"


def _write_name(axes: Axes, name: str, style: ArmStyle) -> None:
    """Write a map's name above it, after the arm's line."""
    line = Line2D([], [], linewidth=1.5, label=name, **style.stroke)
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderpad": 0, "borderaxespad": 0.4}
    legend = axes.legend(handles=[line], fontsize=SMALL, frameon=False, **place)
    legend.get_texts()[0].set_parse_math(False)
