"""Results over one swept setting: the metric with its intervals, and the range in which each arm can be trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bnexp.analysis.compare import USABLE_SHARE
from bnexp.analysis.comparison import ArmRow, Comparison, RobustnessRow
from bnexp.analysis.study import Study, is_number, lower_is_better
from bnexp.config.text import counted
from bnexp.report.comparison_views import usable_text
from bnexp.report.figures.frame import (
    SMALL,
    WIDE,
    arm_handles,
    join_caption,
    new_figure,
    panel_figure,
    style_accuracies,
    style_axes,
    widest,
    wrap_text,
)
from bnexp.report.panels import evenly, in_order, panel_columns
from bnexp.report.style import GREY, PALE, ArmStyle, arm_styles, is_logarithmic, point_title, short_keys, value_text

MOST_PANELS = 16
_DODGE = 0.08
"""Distance of the arms at one value, as a share of the gap between values."""
_BAR, _AXIS, _NAMES, _WIDTHS = 0.28, 0.62, 1.8, 1.2
"""Inches: height of an arm, and of the axis below the arms; width of the arms' names, and of the ranges' texts."""
_BEST: dict[str, Any] = {"linestyle": "", "marker": "D", "markersize": 5, "color": "black", "markerfacecolor": "white"}
_TRIED: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 3, "color": GREY}


def sweep_figure(study: Study, comparison: Comparison, key: str) -> Figure:
    """Return the metric's mean over the seeds, with 95 % intervals, at each value of a swept setting.

    A panel is a combination of the other settings. At least one row must have a mean.
    """
    rows = [row for row in comparison.rows if row.mean is not None]
    by_point: dict[str, list[ArmRow]] = {}
    for row in rows:
        by_point.setdefault(repr(row.point | {key: None}), []).append(row)
    groups = list(by_point.values())
    shown = [groups[place] for place in evenly(len(groups), MOST_PANELS)]
    others = [{name: value for name, value in group[0].point.items() if name != key} for group in shown]
    values = in_order(row.point[key] for row in rows)
    numeric = all(map(is_number, values))
    logarithmic = numeric and is_logarithmic(values)
    places = {repr(value): float(value) if numeric else float(i) for i, value in enumerate(values)}
    scaled = np.log(values) if logarithmic else np.array(list(places.values()))
    # Arms stand side by side, so that intervals don't hide each other.
    step = _DODGE * min(float(np.diff(scaled).min(initial=np.inf)), max(float(np.ptp(scaled)) / 8, _DODGE))
    accuracies = not lower_is_better(comparison.metric)
    handles = arm_handles(study, {row.arm for row in rows}, markersize=4)
    if accuracies and study.chance:
        handles.append(Line2D([], [], color=GREY, linestyle="dotted", linewidth=1, label="guessing"))
    if any(row.diverged for row in rows):
        handles.append(Line2D([], [], color=GREY, linestyle="", marker="x", markersize=6, label="a trial diverged"))
    figure, panels = panel_figure(
        [point_title(other) for other in others],
        panel_columns(others),
        title=study.title,
        caption=_sweep_caption(rows, len(shown), len(groups)),
        handles=handles,
        xlabel=short_keys(list(comparison.grid_keys))[key],
        ylabel=comparison.metric.replace("_", " "),
    )
    width, styles, first = figure.get_figwidth() / panel_columns(others) - 0.7, arm_styles(study.arms), panels[0]
    # All panels share these axes.
    if accuracies:
        style_accuracies(first)
    elif is_logarithmic([row.mean for row in rows if row.mean is not None]):
        first.set_yscale("log")
    if numeric:
        _style_swept_axis(first, values, width)
    else:
        first.set_xticks(range(len(values)), [value_text(value) for value in values], parse_math=False)
        first.set_xlim(-0.5, len(values) - 0.5)
    for group, axes in zip(shown, panels, strict=True):
        axes.grid(color=PALE, linewidth=0.6)
        if accuracies and study.chance:
            axes.axhline(study.chance.accuracy, color=GREY, linestyle="dotted", linewidth=1)
        here = [row.arm for row in group]  # an empty line would stand at the corner of the figure
        for i, arm in ((i, arm) for i, arm in enumerate(study.arms) if arm in here):
            mine = sorted((row for row in group if row.arm == arm), key=lambda row: places[repr(row.point[key])])
            xs = np.array([places[repr(row.point[key])] for row in mine])
            shift = (i - (len(study.arms) - 1) / 2) * step
            _draw_arm(axes, xs * np.exp(shift) if logarithmic else xs + shift, mine, styles[arm], joined=numeric)
    return figure


def _sweep_caption(rows: Sequence[ArmRow], shown: int, total: int) -> str:
    seeds = max((row.n for row in rows), default=0)
    return join_caption(
        f"showing {shown} of {total} combinations of the other settings" if shown < total else "",
        f"mean over {counted(seeds, 'seed')}",
        "line: 95 % interval" if any(row.low is not None for row in rows) else "",
    )


def _draw_arm(axes: Axes, xs: np.ndarray, rows: Sequence[ArmRow], style: ArmStyle, *, joined: bool) -> None:
    means = np.array([row.mean for row in rows], dtype=float)
    if joined:
        axes.plot(xs, means, linewidth=1.5, **style.stroke)
    axes.plot(xs, means, style.marker, color=style.colour, markersize=4, clip_on=False)
    ends = np.array([[row.low, row.high] for row in rows], dtype=float).reshape(-1, 2)
    axes.vlines(xs, ends[:, 0], ends[:, 1], color=style.colour, linewidth=1.2)
    for x, mean, row in zip(xs, means, rows, strict=True):
        if row.diverged:
            axes.plot(x, mean, "x", color=style.colour, markersize=8, markeredgewidth=1.4, clip_on=False, zorder=4)


def usable_range_figure(study: Study, comparison: Comparison) -> Figure:
    """Return the figure: a panel per swept setting of numbers, with a bar per arm; dots mark the tried values."""
    rows = sorted(comparison.robustness, key=lambda row: study.arms.index(row.arm))
    panels = {key: [row for row in rows if row.axis == key] for key in dict.fromkeys(row.axis for row in rows)}
    tried = {key: sorted(study.trials[key].dropna().unique().tolist()) for key in panels}
    names = {arm: wrap_text(study.label(arm), _NAMES, SMALL) for arm in study.arms}
    slot = _BAR * max(1.0, *((name.count("\n") + 1) * 0.6 for name in names.values()))
    heights = [len(panel) * slot + _AXIS for panel in panels.values()]
    best = [Line2D([], [], label="best mean", **_BEST)] if any(row.best_at is not None for row in rows) else []
    figure, body = new_figure(
        title=study.title,
        caption=_range_caption(rows, tried),
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
        _style_swept_axis(axes, tried[key], WIDE - _WIDTHS - widest(list(names.values()), SMALL))
        axes.set_ylim(len(panel) - 0.5, -0.5)
        axes.set_yticks(range(len(panel)), [names[row.arm] for row in panel], parse_math=False, size=SMALL)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(keys[key], size=SMALL + 1, parse_math=False)
        for y, row in enumerate(panel):
            axes.plot(tried[key], [y] * len(tried[key]), zorder=3, **_TRIED)
            _draw_bar(axes, row, y, styles[row.arm])
    return figure


def width_text(row: RobustnessRow) -> str:
    """Write how wide the usable range is, as 3,000×, with three digits at most; or its ends, if ratios mean nothing."""
    if row.usable_low is None or row.usable_high is None:
        return "none usable"
    if row.usable_low == row.usable_high:
        return f"only {value_text(row.usable_low)}"
    if row.width is None:
        return f"{value_text(row.usable_low)} to {value_text(row.usable_high)}"
    return f"{float(f'{row.width:.3g}'):,.0f}×" if row.width > 999 else f"{row.width:.3g}×"


def _range_caption(rows: Sequence[RobustnessRow], tried: Mapping[str, Sequence[float]]) -> str:
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
        (bar,) = axes.barh(y, high - low, left=low, height=0.56, linewidth=1.2, hatch=style.hatch)
        bar.set(facecolor=(style.colour, 0.35), edgecolor=style.colour)
    elif low is not None:
        axes.plot(low, y, "|", color=style.colour, markersize=12, markeredgewidth=4)  # too narrow for a bar
    if row.best_at is not None:
        axes.plot(row.best_at, y, zorder=4, **_BEST)
    colour = GREY if low is None else "black"
    axes.text(1.02, y, width_text(row), transform=axes.get_yaxis_transform(), size=SMALL, color=colour, va="center")


def _style_swept_axis(axes: Axes, values: Sequence[float], width: float) -> None:
    """Make x the axis of a swept setting; it is logarithmic if the values span decades.

    The ticks are at the values if these fit into `width` inches, and otherwise at round numbers.
    """
    values = sorted(set(values))
    logarithmic = is_logarithmic(values)
    places = np.log(values) if logarithmic else np.array(values, dtype=float)
    edge = 0.03 * np.ptp(places) or 0.5
    limits = places[[0, -1]] + [-edge, edge]
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(np.exp(limits) if logarithmic else limits)
    apart = float(np.diff(places).min(initial=np.inf)) / (np.ptp(places) or 1) * width
    if apart > widest([value_text(value) for value in values], SMALL - 1) + 0.06:
        axes.xaxis.set_major_locator(FixedLocator(values))
    elif logarithmic:
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if values[-1] > 300 * values[0] else (1, 2, 5)))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: value_text(float(value))))
