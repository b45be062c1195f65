"""Results over two swept settings: a map per arm side by side, in one scale of colours.

The colours (cividis) rise in lightness towards the better, so that they can be read with any colour vision and in
grey print.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, cast

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from bnexp.analysis.comparison import ArmRow
from bnexp.analysis.study import is_number, lower_is_better
from bnexp.config.text import counted
from bnexp.report.figures.sheet import GREY, SMALL, dress, inches, make_sheet, sentences, wrapped
from bnexp.report.style import ArmStyle, arm_styles, short_keys, value_text


@dataclass(frozen=True)
class HeatCell:
    """One arm at one value of each setting, over all grid points that have them."""

    value: float | None
    """Mean over the grid points; None without a finished trial, or where one of the means isn't finite."""
    points: int
    """Grid points with a finished trial."""
    trials: int
    """Finished trials."""
    diverged: int


@dataclass(frozen=True)
class HeatMap:
    """One arm; cells[i][j] is at ys[i] and xs[j]."""

    arm: str
    cells: tuple[tuple[HeatCell, ...], ...]


@dataclass(frozen=True)
class HeatMaps:
    """The maps of a figure, all over the same values."""

    xs: tuple[Any, ...]
    ys: tuple[Any, ...]
    maps: tuple[HeatMap, ...]

    @property
    def cells(self) -> list[HeatCell]:
        """The cells of all maps."""
        return [cell for heat_map in self.maps for row in heat_map.cells for cell in row]


def make_heat_maps(rows: Iterable[ArmRow], *, x: str, y: str, arms: Sequence[str]) -> HeatMaps:
    """Return a map for each arm that has rows; numbers rise along the axes, other values come as they first do."""
    by_place: dict[tuple[Hashable, ...], list[ArmRow]] = {}
    for row in rows:
        by_place.setdefault((row.arm, row.point[x], row.point[y]), []).append(row)
    there = {arm for arm, *_ in by_place}
    xs, ys = _ordered(at for _, at, _ in by_place), _ordered(at for *_, at in by_place)
    maps = tuple(
        HeatMap(arm, tuple(tuple(_cell(by_place.get((arm, i, j), [])) for i in xs) for j in ys))
        for arm in arms
        if arm in there
    )
    return HeatMaps(xs, ys, maps)


def _ordered(values: Iterable[Any]) -> tuple[Any, ...]:
    distinct = list(dict.fromkeys(values))
    numbers = sorted(value for value in distinct if is_number(value))
    return (*numbers, *(value for value in distinct if not is_number(value)))


def _cell(rows: Sequence[ArmRow]) -> HeatCell:
    finished = [row for row in rows if row.n]
    means = [row.mean for row in finished]
    value = None if not means or None in means else sum(cast("list[float]", means)) / len(means)
    trials, diverged = sum(row.trials for row in finished), sum(row.diverged for row in finished)
    return HeatCell(value, points=len(finished), trials=trials, diverged=diverged)


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


_BAR = 0.15
"""Inches that the scale of colours is thick."""
_EMPTY: dict[str, Any] = {"facecolor": "#DCDCDC", "edgecolor": "#A0A0A0", "hatch": "//////", "linewidth": 0}


def heat_map_figure(rows: Sequence[ArmRow], *, x: str, y: str, arms: Sequence[str], metric: str, title: str) -> Figure:
    """Return the figure: the mean of the metric at each value of x and y, over all other grid keys."""
    maps = make_heat_maps(rows, x=x, y=y, arms=arms)
    written = ([value_text(value) for value in values] for values in (maps.xs, maps.ys))
    layout = heat_layout([heat_map.arm for heat_map in maps.maps], *written)
    caption = _caption(maps, layout, seeds=max((row.n for row in rows), default=0))
    figure, body = make_sheet(
        title=title, caption=caption, handles=_handles(maps), width=layout.width, height=layout.height
    )
    if maps.maps:
        _draw_maps(body, maps, layout, _scale(maps, metric), arm_styles(arms))
        short = short_keys([x, y])
        body.supxlabel(short[x], size=SMALL + 1, parse_math=False)
        body.supylabel(short[y], size=SMALL + 1, parse_math=False)
        bar = body.colorbar(_scale(maps, metric), ax=body.axes, aspect=layout.height / _BAR, pad=0.02)
        bar.set_label(metric.replace("_", " "), size=SMALL)
        bar.ax.tick_params(labelsize=SMALL - 1, length=2.5, color=GREY)
        bar.outline.set_visible(False)
    return figure


def _scale(maps: HeatMaps, metric: str) -> ScalarMappable:
    """Accuracies from 0 to 1; losses over the range that there is, the lowest brightest."""
    if not lower_is_better(metric):
        return ScalarMappable(Normalize(0, 1), colormaps["cividis"])
    values = [cell.value for cell in maps.cells if cell.value is not None] or [0.0, 1.0]
    low, high = min(values), max(values)
    norm = LogNorm(low, high) if 0 < low < high / 100 else Normalize(low, high if high > low else low + 1)
    return ScalarMappable(norm, colormaps["cividis_r"])


def _caption(maps: HeatMaps, layout: HeatLayout, seeds: int) -> str:
    points = max((cell.points for cell in maps.cells), default=0)
    over = [counted(seeds, "seed")] + ([f"up to {points} grid points of the other settings"] if points > 1 else [])
    diverged = any(cell.diverged for cell in maps.cells)
    return sentences(
        f"mean over {' and '.join(over)}" if points else "nothing finished yet",
        "after a cross: diverged of finished trials"
        if diverged and layout.two_lines and _fits("x 2/6", layout)
        else "",
    )


def _handles(maps: HeatMaps) -> list[Artist]:
    handles: list[Artist] = []
    if any(cell.value is None for cell in maps.cells):
        handles.append(Patch(label="no result", **_EMPTY))
    if any(cell.diverged for cell in maps.cells):
        handles.append(Line2D([], [], color=GREY, linestyle="", marker="x", markersize=5, label="diverged trials"))
    return handles


def _draw_maps(
    body: SubFigure, maps: HeatMaps, layout: HeatLayout, scale: ScalarMappable, styles: dict[str, ArmStyle]
) -> None:
    grid = body.subplots(layout.rows, layout.columns, sharex=True, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(maps.maps):
            axes.remove()
            continue
        heat_map = maps.maps[place]
        values = [[np.nan if cell.value is None else cell.value for cell in row] for row in heat_map.cells]
        corners = np.arange(len(maps.xs) + 1) - 0.5, np.arange(len(maps.ys) + 1) - 0.5
        axes.pcolormesh(
            *corners, np.ma.masked_invalid(values), norm=scale.norm, cmap=scale.cmap, edgecolor="white", linewidth=0.8
        )
        for i, row in enumerate(heat_map.cells):
            for j, cell in enumerate(row):
                _draw_cell(axes, j, i, cell, layout, scale)
        _dress(axes, maps, layout)
        # Under the last map of a column that is one short there is no other to carry the values.
        axes.tick_params(labelbottom=place + layout.columns >= len(maps.maps))
        _name(axes, layout.names[place], styles[heat_map.arm])


def _draw_cell(axes: Axes, x: int, y: int, cell: HeatCell, layout: HeatLayout, scale: ScalarMappable) -> None:
    """Write the value, and below it how many diverged, after a cross; where only one line fits, the cross alone."""
    if cell.value is None:
        wide, high = 1 - 0.014 / layout.cell_width, 1 - 0.014 / layout.cell_height  # as if it had a white edge too
        axes.add_patch(Rectangle((x - wide / 2, y - high / 2), wide, high, **_EMPTY))
    colour = "black" if cell.value is None else _ink(scale.to_rgba(np.array([cell.value]))[0])
    text = "" if cell.value is None else _value(cell.value, scale)
    text = text if _fits(text, layout) and (layout.two_lines or not cell.diverged) else ""
    count = f"{cell.diverged}/{cell.trials}" if cell.diverged and layout.two_lines else ""
    count = count if _fits(f"x {count}", layout) else ""
    if text:
        axes.text(
            x, y + (0.17 if cell.diverged else 0), text, size=TINY, color=colour, ha="center", va="center_baseline"
        )
    below = y - (0.22 if text else 0)
    if count:
        axes.text(
            x + 0.05 / layout.cell_width, below, count, size=TINY - 0.5, color=colour, ha="center", va="center_baseline"
        )
    if cell.diverged:
        left = (inches(count, TINY - 0.5) / 2 + 0.01) / layout.cell_width if count else 0
        axes.plot(x - left, below, "x", color=colour, markersize=3.5, markeredgewidth=1)


def _fits(text: str, layout: HeatLayout) -> bool:
    return inches(text, TINY) < layout.cell_width - 0.03 and layout.cell_height > 0.14


def _value(value: float, scale: ScalarMappable) -> str:
    return f"{value:.2f}" if scale.cmap.name == "cividis" else f"{value:.2g}"


def _ink(colour: np.ndarray) -> str:
    """Return black or white, whichever stands out more: at this luminance both have the same contrast (WCAG)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return "black" if np.dot(linear, [0.2126, 0.7152, 0.0722]) > 0.179 else "white"


def _dress(axes: Axes, maps: HeatMaps, layout: HeatLayout) -> None:
    dress(axes)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    slant: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if layout.slanted else {}
    for set_ticks, values, step, how in (
        (axes.set_xticks, maps.xs, layout.x_step, slant),
        (axes.set_yticks, maps.ys, layout.y_step, {}),
    ):
        places = range(0, len(values), step)
        set_ticks(places, [value_text(values[place]) for place in places], parse_math=False, **how)


def _name(axes: Axes, name: str, style: ArmStyle) -> None:
    """Write the arm's name above its map, after its line."""
    line = Line2D([], [], color=style.colour, linestyle=style.line, linewidth=1.5, label=name)
    legend = axes.legend(
        handles=[line],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        fontsize=SMALL,
        frameon=False,
        borderpad=0,
        borderaxespad=0.4,
    )
    legend.get_texts()[0].set_parse_math(False)
