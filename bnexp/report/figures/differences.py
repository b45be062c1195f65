"""Paired differences to the baseline with their intervals: a forest plot, its lines grouped by grid point."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnexp.analysis.comparison import ArmRow
from bnexp.analysis.study import lower_is_better
from bnexp.report.figures.sheet import GREY, LINE, PALE, SMALL, dress, inches, make_sheet, sentences, shortened, wrapped
from bnexp.report.panels import evenly
from bnexp.report.style import ArmMark, ArmStyle, arm_marks, arm_styles, point_texts

MOST = 40
"""Lines in a plot, unless a single grid point has more."""


@dataclass(frozen=True)
class Difference:
    """One arm against the baseline at one grid point."""

    arm: str
    mean: float | None
    """None without a pair, or where a value isn't finite."""
    low: float | None
    """Of the interval, as is high; None where one pair shows no spread."""
    high: float | None
    pairs: int

    @property
    def sure(self) -> bool:
        """Whether there is an interval, and 0 lies outside of it."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Block:
    """One grid point."""

    point: dict[str, Any]
    lines: tuple[Difference, ...]
    """One per arm that has trials there, in the order of the arms."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of a plot."""

    arms: tuple[str, ...]
    """Those that come in a block."""
    blocks: tuple[Block, ...]
    total: int
    """Grid points with a difference to show, of which the blocks may be a choice."""

    @property
    def lines(self) -> list[Difference]:
        """The lines of all blocks."""
        return [line for block in self.blocks for line in block.lines]


def make_blocks(rows: Sequence[ArmRow], *, baseline: str, arms: Sequence[str], limit: int = MOST) -> Blocks:
    """Return the differences to the baseline; of too many grid points an evenly spaced choice."""
    points: dict[tuple[Any, ...], dict[str, ArmRow]] = {}
    for row in rows:
        if row.arm != baseline and row.arm in arms:
            points.setdefault(tuple(row.point.values()), {})[row.arm] = row
    there = tuple(arm for arm in arms if any(arm in cells for cells in points.values()))
    every = [_block(cells, there) for cells in points.values()]
    chosen = [every[place] for place in evenly(len(every), max(1, limit // max(1, len(there))))]
    return Blocks(arms=there, blocks=tuple(chosen), total=len(every))


def _block(cells: dict[str, ArmRow], arms: Sequence[str]) -> Block:
    rows = [cells[arm] for arm in arms if arm in cells]
    lines = (Difference(row.arm, row.difference, row.difference_low, row.difference_high, row.pairs) for row in rows)
    return Block(rows[0].point, tuple(lines))


_WIDTH, _NAMES, _HALF = 8.0, 2.2, 1.3
"""Inches: the figure, the names of the grid points, what is surely free on each side of zero."""
_SIDE = 0.3
"""Share of the axis that each side of zero has at least."""
_OUTLIER = 10
"""Losses differ without bounds: what is so many times their median difference doesn't stretch the axis."""


@dataclass(frozen=True)
class _Place:
    """Where a block stands, in lines from the top."""

    block: Block
    top: float
    bottom: float
    name: str

    @property
    def ys(self) -> list[float]:
        """Of the block's lines."""
        middle, count = (self.top + self.bottom) / 2, len(self.block.lines)
        return [middle + i - (count - 1) / 2 for i in range(count)]


def difference_figure(rows: Sequence[ArmRow], *, baseline: str, arms: Sequence[str], metric: str, title: str) -> Figure:
    """Return the figure: a line per grid point and arm besides the baseline, around zero, the pairs at the right."""
    blocks = make_blocks(rows, baseline=baseline, arms=arms)
    places = list(_places(blocks))
    bottom, limits = places[-1].bottom if places else 1.0, _limits(blocks, metric)
    styles, marks = arm_styles(arms), arm_marks(arms)
    handles = [_handle(arm, styles[arm], marks[arm]) for arm in blocks.arms]
    figure, body = make_sheet(
        title=title, caption=_caption(blocks, limits), handles=handles, width=_WIDTH, height=bottom * LINE + 0.85
    )
    axes = body.subplots()
    axes.set(xlim=limits, ylim=(bottom, 0))
    _dress(axes, places, baseline, metric)
    for place in places:
        for line, y in zip(place.block.lines, place.ys, strict=True):
            _draw_line(axes, line, y, styles[line.arm], marks[line.arm])
    return figure


def _places(blocks: Blocks) -> Iterator[_Place]:
    top = 0.0
    for block in blocks.blocks:
        name = wrapped(", ".join(point_texts(block.point)), _NAMES, SMALL)
        size = max(len(block.lines), 0.8 * (name.count("\n") + 1)) + 0.35
        yield _Place(block, top, top + size, name)
        top += size


def _limits(blocks: Blocks, metric: str) -> tuple[float, float]:
    """Return the ends of the axis: all values, though no interval beyond what is possible, and room around zero."""
    values = [value for line in blocks.lines for value in (line.mean, line.low, line.high) if value is not None]
    means = [abs(line.mean) for line in blocks.lines if line.mean]
    most = 1.0 if not lower_is_better(metric) else _OUTLIER * float(np.median(means or [1.0]))
    low, high = np.clip([min(values, default=0), max(values, default=0)], -most, most)
    reach = max(high, -low) or 0.1
    least = reach * _SIDE / (1 - _SIDE)
    return 1.05 * min(float(low), -least), 1.05 * max(float(high), least)


def _handle(arm: str, style: ArmStyle, mark: ArmMark) -> Line2D:
    return Line2D([], [], color=style.colour, linestyle=style.line, marker=mark.marker, markersize=5, label=arm)


def _caption(blocks: Blocks, limits: tuple[float, float]) -> str:
    lines = blocks.lines
    seen = f"showing {len(blocks.blocks)} of {blocks.total} grid points" if len(blocks.blocks) < blocks.total else ""
    spread = any(line.low is not None for line in lines)
    beyond = any(_beyond(value, limits) for line in lines for value in (line.mean, line.low, line.high))
    return sentences(
        seen,
        "mark: mean difference, paired over seeds" if lines else "no difference to show yet",
        "line: its 95 % interval; the mark is hollow where that holds 0" if spread else "",
        "one pair shows no interval" if any(line.mean is not None and line.low is None for line in lines) else "",
        "an arrow: beyond the axis" if beyond else "",
    )


def _dress(axes: Axes, places: Sequence[_Place], baseline: str, metric: str) -> None:
    dress(axes)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.axvline(0, color="black", linewidth=0.9)
    for place in places[::2] if len(places) > 1 else ():
        axes.axhspan(place.top, place.bottom, color="#F3F3F3", zorder=0)
    names = [(place.name, (place.top + place.bottom) / 2) for place in places]
    if len(places) == 1 and not places[0].block.point:  # without a grid the arms name the lines
        names = [
            (shortened(line.arm, _NAMES, SMALL), y) for line, y in zip(places[0].block.lines, places[0].ys, strict=True)
        ]
    axes.set_yticks([y for _, y in names], [name for name, _ in names], parse_math=False, size=SMALL)
    axes.tick_params(axis="y", length=0, pad=6)
    axes.set_xlabel(f"difference in {metric.replace('_', ' ')}", size=SMALL + 1)
    above: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points", "size": SMALL, "parse_math": False}
    less, more = ("better", "worse") if lower_is_better(metric) else ("worse", "better")
    for text, ha in ((f"← {less} than {baseline} ", "right"), (f" {more} than {baseline} →", "left")):
        short = text if inches(text, SMALL) < _HALF else text.replace(baseline, "the baseline")
        axes.annotate(short, (0, 1), xycoords=axes.get_xaxis_transform(), ha=ha, **above)
    axes.annotate("pairs", (1.01, 1), xycoords="axes fraction", color=GREY, **above)


def _draw_line(axes: Axes, line: Difference, y: float, style: ArmStyle, mark: ArmMark) -> None:
    limits = axes.get_xlim()
    axes.text(1.02, y, str(line.pairs), transform=axes.get_yaxis_transform(), size=SMALL - 1, color=GREY, va="center")
    if line.mean is None:
        axes.text(0, y, "  not finite" if line.pairs else "  no pair", size=SMALL - 1, color=GREY, va="center")
        return
    if line.low is not None and line.high is not None:
        ends = np.clip([line.low, line.high], *limits)
        axes.plot(ends, [y, y], color=style.colour, linestyle=style.line, linewidth=1.5, marker="|", markersize=5)
    fill = style.colour if line.sure else "white"
    axes.plot(line.mean, y, mark.marker, color=style.colour, markerfacecolor=fill, markersize=5)
    for value in filter(None, (line.low, line.high, line.mean)):
        if _beyond(value, limits):
            side = 0 if value < 0 else 1
            axes.plot(limits[side], y, "<>"[side], color=style.colour, markersize=6, clip_on=False, zorder=4)


def _beyond(value: float | None, limits: tuple[float, float]) -> bool:
    return value is not None and not limits[0] <= value <= limits[1]
