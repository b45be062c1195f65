"""Paired differences to the baseline with their intervals: a forest plot, its lines grouped by grid point."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.study import Study, lower_is_better
from bnexp.report.figures.frame import (
    LINE,
    SMALL,
    WIDE,
    arm_handles,
    join_caption,
    new_figure,
    shorten_text,
    style_axes,
    text_width,
    wrap_text,
)
from bnexp.report.panels import distinct, evenly
from bnexp.report.style import GREY, PALE, ArmStyle, arm_styles, point_title

MOST = 40
"""Most lines in a plot, unless a single grid point has more."""
_NAMES, _HALF = 2.2, 1.3
"""Inches: the names of the grid points, and the free space on each side of zero."""
_SIDE = 0.3
"""The least share of the axis on each side of zero."""
_OUTLIER = 10
"""Losses have no bounds: a difference beyond this many times the median one doesn't stretch the axis."""


def difference_figure(study: Study, comparison: Comparison) -> Figure:
    """Return the figure: a line per grid point and arm but the baseline; the number of pairs is at the right."""
    treated = [row for row in comparison.rows if row.arm != comparison.baseline]
    points = distinct(row.point for row in treated)
    treated.sort(key=lambda row: study.arms.index(row.arm))
    arms = list(dict.fromkeys(row.arm for row in treated))
    chosen = [points[place] for place in evenly(len(points), max(1, MOST // max(1, len(arms))))]
    groups = [[row for row in treated if row.point == point] for point in chosen]
    names = [wrap_text(point_title(point), _NAMES, SMALL) for point in chosen]
    # A group is as high as its rows or its name, whichever takes more lines.
    sizes = [max(len(rows), 0.8 * (name.count("\n") + 1)) + 0.35 for rows, name in zip(groups, names, strict=True)]
    edges = np.cumsum([0.0, *sizes])
    middles = (edges[:-1] + edges[1:]) / 2
    lines = [
        (row, y)
        for rows, middle in zip(groups, middles, strict=True)
        for row, y in zip(rows, middle + np.arange(len(rows)) - (len(rows) - 1) / 2, strict=True)
    ]
    if len(groups) == 1 and not names[0]:  # without a grid, lines are named after the arms
        names = [shorten_text(study.label(row.arm), _NAMES, SMALL) for row, _ in lines]
        middles = np.array([y for _, y in lines])
    limits = _limits([row for row, _ in lines], comparison.metric)
    figure, body = new_figure(
        title=study.title,
        caption=_caption([row for row, _ in lines], comparison.unit, limits, len(groups), len(points)),
        handles=arm_handles(study, arms, markersize=5),
        width=WIDE,
        height=max(1.0, edges[-1]) * LINE + 0.85,
    )
    axes = body.subplots()
    axes.set(xlim=limits, ylim=(max(1.0, edges[-1]), 0))
    axes.set_yticks(middles, names, parse_math=False, size=SMALL)
    for top, bottom in list(pairwise(edges))[::2] if len(groups) > 1 else ():
        axes.axhspan(top, bottom, color="#F3F3F3", zorder=0)
    _style(axes, study, comparison)
    styles = arm_styles(study.arms)
    for row, y in lines:
        _draw_row(axes, row, y, styles[row.arm])
    return figure


def _values(row: ArmRow) -> list[float]:
    """Return the difference and the ends of its interval, as far as they are known."""
    return [value for value in (row.difference, row.difference_low, row.difference_high) if value is not None]


def _limits(rows: Sequence[ArmRow], metric: str) -> tuple[float, float]:
    """Return the ends of the axis: it holds all values, cut at what is possible, and has room around zero."""
    values = [value for row in rows for value in _values(row)]
    means = [abs(row.difference) for row in rows if row.difference]
    most = 1.0 if not lower_is_better(metric) else _OUTLIER * float(np.median(means or [1.0]))
    low, high = np.clip([min(values, default=0), max(values, default=0)], -most, most)
    reach = max(high, -low) or 0.1
    least = reach * _SIDE / (1 - _SIDE)
    return 1.05 * min(float(low), -least), 1.05 * max(float(high), least)


def _beyond(row: ArmRow, limits: tuple[float, float]) -> list[float]:
    return [value for value in _values(row) if not limits[0] <= value <= limits[1]]


def _caption(rows: Sequence[ArmRow], unit: str, limits: tuple[float, float], shown: int, total: int) -> str:
    intervals = [row.difference_low is not None for row in rows if row.difference is not None]
    return join_caption(
        f"showing {shown} of {total} grid points" if shown < total else "",
        f"mark: mean difference, paired over {unit}s" if rows else "no difference to show yet",
        "line: its 95 % interval; the mark is hollow where that contains 0" if any(intervals) else "",
        "one pair shows no interval" if not all(intervals) else "",
        "an arrow: beyond the axis" if any(_beyond(row, limits) for row in rows) else "",
    )


def _style(axes: Axes, study: Study, comparison: Comparison) -> None:
    style_axes(axes)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.axvline(0, color="black", linewidth=0.9)
    axes.tick_params(axis="y", labelsize=SMALL, length=0, pad=6)
    axes.set_xlabel(f"difference in {comparison.metric.replace('_', ' ')}", size=SMALL + 1)
    above: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points", "size": SMALL, "parse_math": False}
    less, more = ("better", "worse") if lower_is_better(comparison.metric) else ("worse", "better")
    baseline = study.label(comparison.baseline)
    for text, ha in ((f"← {less} than {baseline} ", "right"), (f" {more} than {baseline} →", "left")):
        short = text if text_width(text, SMALL) < _HALF else text.replace(baseline, "the baseline")
        axes.annotate(short, (0, 1), xycoords=axes.get_xaxis_transform(), ha=ha, **above)
    axes.annotate("pairs", (1.01, 1), xycoords="axes fraction", color=GREY, **above)


def _draw_row(axes: Axes, row: ArmRow, y: float, style: ArmStyle) -> None:
    limits = axes.get_xlim()
    small: dict[str, Any] = {"size": SMALL - 1, "color": GREY, "va": "center"}
    axes.text(1.02, y, str(row.pairs), transform=axes.get_yaxis_transform(), **small)
    if row.difference is None:
        axes.text(0, y, "  not finite" if row.pairs else "  no pair", **small)
        return
    low, high = row.difference_low, row.difference_high
    sure = False
    if low is not None and high is not None:
        sure = low > 0 or high < 0
        axes.plot(np.clip([low, high], *limits), [y, y], linewidth=1.5, marker="|", markersize=5, **style.stroke)
    fill = style.colour if sure else "white"
    axes.plot(row.difference, y, style.marker, color=style.colour, markerfacecolor=fill, markersize=5)
    for value in _beyond(row, limits):
        side = 0 if value < 0 else 1
        axes.plot(limits[side], y, "<>"[side], color=style.colour, markersize=6, clip_on=False, zorder=4)
