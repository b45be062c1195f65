"""Where along a swept setting each arm can be trained: its longest stretch of usable values, as a bar."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnexp.analysis.comparison import Comparison, RobustnessRow
from bnexp.analysis.study import Study
from bnexp.analysis.sweeps import USABLE_SHARE
from bnexp.report.figures.frame import SMALL, WIDE, join_caption, new_figure, style_axes, swept_axis, widest, wrap_text
from bnexp.report.style import GREY, PALE, ArmStyle, arm_styles, short_keys, value_text
from bnexp.report.views import usable_text

_BAR, _AXIS, _NAMES, _WIDTHS = 0.28, 0.62, 1.8, 1.2
"""Inches: the height of an arm, what an axis takes below its arms; beside the axis the arms' names, the widths."""
_BEST: dict[str, Any] = {"linestyle": "", "marker": "D", "markersize": 5, "color": "black", "markerfacecolor": "white"}
_TRIED: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 3, "color": GREY}


def usable_range_figure(study: Study, comparison: Comparison) -> Figure:
    """Return the figure: a panel per swept setting of numbers, in it a bar per arm; dots are the values tried."""
    rows = sorted(comparison.robustness, key=lambda row: study.arms.index(row.arm))
    panels = {key: [row for row in rows if row.axis == key] for key in dict.fromkeys(row.axis for row in rows)}
    tried = {key: sorted(study.trials[key].dropna().unique().tolist()) for key in panels}
    names = {arm: wrap_text(study.label(arm), _NAMES, SMALL) for arm in study.arms}
    slot = _BAR * max(1.0, *((name.count("\n") + 1) * 0.6 for name in names.values()))
    heights = [len(panel) * slot + _AXIS for panel in panels.values()]
    best = [Line2D([], [], label="best mean", **_BEST)] if any(row.best_at is not None for row in rows) else []
    figure, body = new_figure(
        title=study.title,
        caption=_caption(rows, tried),
        handles=[*best, Line2D([], [], label="values tried", **_TRIED)],
        width=WIDE,
        height=sum(heights),
    )
    grid = body.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    styles, keys = arm_styles(study.arms), short_keys(list(panels))
    for axes, (key, panel) in zip(grid.flat, panels.items(), strict=True):
        style_axes(axes)
        axes.grid(axis="x", color=PALE, linewidth=0.6)
        axes.spines["left"].set_visible(False)
        swept_axis(axes, tried[key], WIDE - _WIDTHS - widest(list(names.values()), SMALL))
        axes.set_ylim(len(panel) - 0.5, -0.5)
        axes.set_yticks(range(len(panel)), [names[row.arm] for row in panel], parse_math=False, size=SMALL)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(keys[key], size=SMALL + 1, parse_math=False)
        for y, row in enumerate(panel):
            axes.plot(tried[key], [y] * len(tried[key]), zorder=3, **_TRIED)
            _draw_bar(axes, row, y, styles[row.arm])
    return figure


def width_text(row: RobustnessRow) -> str:
    """Write how wide the usable stretch is: 3,000×, three digits at most; its ends where a ratio means nothing."""
    if row.usable_low is None or row.usable_high is None:
        return "none usable"
    if row.usable_low == row.usable_high:
        return f"only {value_text(row.usable_low)}"
    if row.width is None:
        return f"{value_text(row.usable_low)} to {value_text(row.usable_high)}"
    return f"{float(f'{row.width:.3g}'):,.0f}×" if row.width > 999 else f"{row.width:.3g}×"


def _caption(rows: Sequence[RobustnessRow], tried: Mapping[str, Sequence[float]]) -> str:
    open_ended = any({row.usable_low, row.usable_high} & {tried[row.axis][0], tried[row.axis][-1]} for row in rows)
    return join_caption(
        f"bar: the longest stretch of values at which {100 * USABLE_SHARE:.0f} % of the seeds did not diverge and "
        f"ended {usable_text(rows)}, at the best of the other settings",
        "×: its upper end over its lower" if any(row.width is not None for row in rows) else "",
        "a bar at the edge may go on beyond the values tried" if open_ended else "",
    )


def _draw_bar(axes: Axes, row: RobustnessRow, y: float, style: ArmStyle) -> None:
    low, high = row.usable_low, row.usable_high
    if low is not None and high is not None and high > low:
        look: dict[str, Any] = {
            "facecolor": (style.colour, 0.35),
            "edgecolor": style.colour,
            "hatch": style.hatch,
            "linewidth": 1.2,
        }
        axes.barh(y, high - low, left=low, height=0.56, **look)
    elif low is not None:
        axes.plot(low, y, "|", color=style.colour, markersize=12, markeredgewidth=4)  # too narrow for a bar
    if row.best_at is not None:
        axes.plot(row.best_at, y, zorder=4, **_BEST)
    colour = GREY if low is None else "black"
    axes.text(1.02, y, width_text(row), transform=axes.get_yaxis_transform(), size=SMALL, color=colour, va="center")
