"""The metric over a swept setting: a line per arm with its intervals, a panel per combination of the other settings."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.study import Study, is_number, lower_is_better
from bnexp.config.text import counted
from bnexp.report.figures.frame import (
    NARROW,
    SMALL,
    WIDE,
    join_caption,
    multiples_height,
    new_figure,
    small_multiples,
    style_accuracies,
    swept_axis,
    wrap_text,
)
from bnexp.report.panels import distinct, evenly, in_order, panel_columns
from bnexp.report.style import GREY, PALE, ArmStyle, arm_styles, is_logarithmic, point_title, short_keys, value_text

MOST_PANELS = 16
_DODGE = 0.08
"""How far apart the arms stand at one value, in gaps between values."""


def sweep_figure(study: Study, comparison: Comparison, key: str) -> Figure:
    """Return the metric's mean over the seeds, with 95 % intervals, at each value of a swept setting."""
    rows = [row for row in comparison.rows if row.mean is not None]
    others = [{name: value for name, value in row.point.items() if name != key} for row in rows]
    points = distinct(others)
    shown = [points[place] for place in evenly(len(points), MOST_PANELS)]
    values = in_order(row.point[key] for row in rows)
    numeric = all(map(is_number, values))
    places = [float(value) for value in values] if numeric else [float(i) for i in range(len(values))]
    place = {repr(value): x for value, x in zip(values, places, strict=True)}
    logarithmic = numeric and is_logarithmic(places)
    step = _step(places, logarithmic)
    styles = arm_styles(study.arms)
    columns = panel_columns(shown)
    width = WIDE if len(shown) > 1 else NARROW
    titles = [wrap_text(point_title(other), width / columns - 0.3, SMALL) for other in shown]
    figure, body = new_figure(
        title=study.title,
        caption=_caption(rows, len(shown), len(points)),
        handles=_handles(rows, styles, study.label, study.chance is not None and not _loss(comparison)),
        width=width,
        height=multiples_height(titles, columns, width),
    )
    for other, axes in zip(shown, small_multiples(body, titles, columns), strict=True):
        here = [row for row, mine in zip(rows, others, strict=True) if repr(mine) == repr(other)]
        _style_panel(axes, study, comparison, rows)
        if numeric:
            swept_axis(axes, values, width / columns - 0.7)
        else:
            axes.set_xticks(range(len(values)), [value_text(value) for value in values], parse_math=False)
            axes.set_xlim(-0.5, len(values) - 0.5)
        for i, arm in enumerate(study.arms):
            mine = sorted((row for row in here if row.arm == arm), key=lambda row: place[repr(row.point[key])])
            xs = np.array([place[repr(row.point[key])] for row in mine], dtype=float)
            shift = (i - (len(study.arms) - 1) / 2) * step
            _draw_arm(axes, xs * np.exp(shift) if logarithmic else xs + shift, mine, styles[arm], joined=numeric)
    body.supxlabel(short_keys(list(comparison.grid_keys))[key], size=SMALL + 1, parse_math=False)
    body.supylabel(comparison.metric.replace("_", " "), size=SMALL + 1)
    return figure


def _step(places: Sequence[float], logarithmic: bool) -> float:
    """Return how far an arm is moved beside a value, so that intervals don't hide each other.

    It is in units of the axis, or of its logarithm.
    """
    scaled = np.log(places) if logarithmic else np.array(places)
    return _DODGE * min(float(np.diff(scaled).min(initial=np.inf)), max(float(np.ptp(scaled)) / 8, _DODGE))


def _loss(comparison: Comparison) -> bool:
    return lower_is_better(comparison.metric)


def _handles(
    rows: Sequence[ArmRow], styles: dict[str, ArmStyle], label: Callable[[str], str], chance: bool
) -> list[Line2D]:
    there = {row.arm for row in rows}
    handles = [
        Line2D([], [], label=label(arm), marker=style.marker, markersize=4, **style.stroke)
        for arm, style in styles.items()
        if arm in there
    ]
    if chance:
        handles.append(Line2D([], [], color=GREY, linestyle="dotted", linewidth=1, label="guessing"))
    if any(row.diverged for row in rows):
        handles.append(Line2D([], [], color=GREY, linestyle="", marker="x", markersize=6, label="a trial diverged"))
    return handles


def _caption(rows: Sequence[ArmRow], shown: int, total: int) -> str:
    seeds = max((row.n for row in rows), default=0)
    return join_caption(
        f"showing {shown} of {total} combinations of the other settings" if shown < total else "",
        f"mean over {counted(seeds, 'seed')}",
        "line: 95 % interval" if any(row.low is not None for row in rows) else "",
    )


def _style_panel(axes: Axes, study: Study, comparison: Comparison, rows: Sequence[ArmRow]) -> None:
    axes.grid(color=PALE, linewidth=0.6)
    means = [row.mean for row in rows if row.mean is not None]
    if not _loss(comparison):
        style_accuracies(axes)
        if study.chance:
            axes.axhline(study.chance.accuracy, color=GREY, linestyle="dotted", linewidth=1)
    elif is_logarithmic(means):
        axes.set_yscale("log")


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
