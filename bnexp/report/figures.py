"""Learning curves as a figure for the screen and for paper: a small panel per grid point, a line per arm."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from bnexp.report.labels import point_texts
from bnexp.report.panels import ArmCurve, Panels, make_panels
from bnexp.report.style import ArmStyle, arm_styles

DPI = 120

_GREY = "#555555"
_SMALL, _LARGE = 8, 10
"""Sizes of text in points."""
_LINE = 0.17
"""Height of a line of small text in inches."""
_LETTERS = 15
"""Small letters to an inch."""


def draw_curves(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    grid_keys: Sequence[str],
    arms: Sequence[str],
    metric_column: str,
    title: str,
    path: Path,
    max_panels: int = 16,
) -> None:
    """Write the learning curves as a PNG; metric_column is an accuracy of curves.csv."""
    panels = make_panels(trials, curves, grid_keys=grid_keys, arms=arms, column=metric_column, limit=max_panels)
    figure = curve_figure(panels, arms=arms, label=metric_column.replace("_", " "), title=title)
    figure.savefig(path, dpi=DPI, format="png")


def default_curve_metric(curves: pd.DataFrame) -> str:
    """Return the first of test, validation and training accuracy that was measured."""
    names = ("test_accuracy", "val_accuracy", "train_accuracy")
    return next((name for name in names if curves[name].notna().any()), names[-1])


def curve_figure(panels: Panels, *, arms: Sequence[str], label: str, title: str) -> Figure:
    """Return the figure: title and legend above, the panels with shared axes, the caption below."""
    columns = _columns(len(panels.panels))
    rows = -(-len(panels.panels) // columns)
    width = 5.6 if columns == 1 else 8.0
    heading, caption = fill(title, int(width * _LETTERS * 0.75)), fill(_caption(panels), int(width * _LETTERS * 1.1))
    handles = _legend_handles(panels, arms)
    legend_columns = _legend_columns(handles, width)
    heights = (
        _LINE * (1.4 * len(heading.splitlines()) + -(-len(handles) // legend_columns) + 1.2),
        rows * width / columns * (0.62 if columns == 1 else 0.75) + 0.3,
        _LINE * (len(caption.splitlines()) + 0.6),
    )
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=heights, squeeze=False).flat
    top.text(0.01, 1 - 0.08 / heights[0], heading, size=_LARGE, weight="bold", va="top", parse_math=False)
    legend = top.legend(handles=handles, loc="lower left", ncols=legend_columns, fontsize=_SMALL, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    _draw_panels(middle, panels, arm_styles(arms), rows, columns)
    middle.supylabel(label, size=_SMALL + 1)
    middle.supxlabel(panels.axis, size=_SMALL + 1)
    bottom.text(0.01, 0.9, caption, size=_SMALL, color=_GREY, va="top", parse_math=False)
    return figure


def _columns(count: int) -> int:
    """Four at most; three where that leaves fewer empty places."""
    return count if count <= 4 else min((4, 3), key=lambda columns: -count % columns)


def _legend_handles(panels: Panels, arms: Sequence[str]) -> list[Line2D]:
    curves = [curve for panel in panels.panels for curve in panel.curves]
    drawn = {curve.arm for curve in curves}
    handles = [
        Line2D([], [], color=style.colour, linestyle=style.line, label=arm)
        for arm, style in arm_styles(arms).items()
        if arm in drawn
    ]
    if any(curve.ends for curve in curves):
        handles.append(Line2D([], [], color=_GREY, linestyle="", marker="x", label="diverged"))
    return handles


def _legend_columns(handles: Sequence[Line2D], width: float) -> int:
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    return max(1, int(width * _LETTERS / (longest + 9)))  # 9: the line before the name, and a gap


def _caption(panels: Panels) -> str:
    curves = [curve for panel in panels.panels for curve in panel.curves]
    seeds = max((curve.seeds for curve in curves), default=0)
    parts = [f"showing {len(panels.panels)} of {panels.total} grid points"] if len(panels.panels) < panels.total else []
    if seeds == 0:
        parts.append("nothing recorded yet")
    elif seeds == 1:
        parts.append("one seed")
    else:
        parts.append(f"line: mean over {seeds} seeds; band: lowest to highest seed")
    if any(curve.ends for curve in curves):
        parts.append("a diverged trial keeps its last value")
    return ". ".join(part[0].upper() + part[1:] for part in parts) + "."


def _draw_panels(figure: SubFigure, panels: Panels, styles: dict[str, ArmStyle], rows: int, columns: int) -> None:
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    letters = int(8.0 / columns * _LETTERS * 0.9)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels.panels):
            axes.remove()
            continue
        panel = panels.panels[place]
        _dress(axes, fill(", ".join(point_texts(panel.point)), letters))
        # Under the last panel of a column that is one short there is no other to carry the ticks.
        axes.tick_params(labelbottom=place + columns >= len(panels.panels))
        for curve in panel.curves:
            _draw_curve(axes, curve, styles[curve.arm])


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, size=_SMALL, parse_math=False)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 20k steps, in little space
    axes.tick_params(labelsize=_SMALL - 1, length=2.5, color=_GREY)
    axes.grid(color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)


def _draw_curve(axes: Axes, curve: ArmCurve, style: ArmStyle) -> None:
    if curve.seeds > 1:
        axes.fill_between(curve.x, curve.low, curve.high, color=style.colour, alpha=0.18, linewidth=0)
    axes.plot(curve.x, curve.mean, color=style.colour, linestyle=style.line, linewidth=1.5)
    for x, y in curve.ends:
        axes.plot(x, y, "x", color=style.colour, markersize=5, markeredgewidth=1.4, clip_on=False, zorder=4)
