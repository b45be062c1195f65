"""Learning curves as a figure for the screen and for paper: a small panel per grid point, a line per arm."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from bnexp.report.figures.sheet import GREY, PALE, SMALL, dress, inches, make_sheet, picture, sentences, wrapped
from bnexp.report.panels import ArmCurve, Panels, make_panels
from bnexp.report.style import ArmStyle, arm_styles, point_texts
from bnexp.store.files import replace

_NARROW, _WIDE = 5.6, 8.0
"""Widths in inches: of a figure with one panel, and with several."""


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
    figure = curves_figure(
        trials, curves, grid_keys=grid_keys, arms=arms, column=metric_column, title=title, max_panels=max_panels
    )
    replace(path, picture(figure, "png"))


def curves_figure(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    grid_keys: Sequence[str],
    arms: Sequence[str],
    column: str,
    title: str,
    max_panels: int = 16,
    timed: bool = False,
) -> Figure:
    """Return the learning curves over epochs, steps where an epoch has several records, or, if timed, seconds.

    A trial's seconds are its share of the time of the group that it trained in, so arms can be held
    against each other where their groups were equally large. column is an accuracy of curves.csv.
    """
    panels = make_panels(trials, curves, grid_keys=grid_keys, arms=arms, column=column, limit=max_panels, timed=timed)
    return curve_figure(panels, arms=arms, label=column.replace("_", " "), title=title)


def default_curve_metric(curves: pd.DataFrame) -> str:
    """Return the first of test, validation and training accuracy that was measured."""
    names = ("test_accuracy", "val_accuracy", "train_accuracy")
    return next((name for name in names if curves[name].notna().any()), names[-1])


def curve_figure(panels: Panels, *, arms: Sequence[str], label: str, title: str) -> Figure:
    """Return the figure: title and legend above, the panels with shared axes, the caption below."""
    columns = _columns(len(panels.panels))
    rows = -(-len(panels.panels) // columns)
    handles = _legend_handles(panels, arms)
    width = _WIDE if columns > 1 or not _fits(handles) else _NARROW
    height = rows * min(width / columns * 0.75, _NARROW * 0.62) + 0.3
    figure, body = make_sheet(title=title, caption=_caption(panels), handles=handles, width=width, height=height)
    _draw_panels(body, panels, arm_styles(arms), rows, columns)
    body.supylabel(label, size=SMALL + 1)
    body.supxlabel(panels.axis, size=SMALL + 1)
    return figure


def _columns(count: int) -> int:
    """Four at most; three where that leaves fewer empty places."""
    return count if count <= 4 else min((4, 3), key=lambda columns: -count % columns)


def _fits(handles: Sequence[Line2D]) -> bool:
    return all(inches(str(handle.get_label()), SMALL) < _NARROW - 1 for handle in handles)


def _legend_handles(panels: Panels, arms: Sequence[str]) -> list[Line2D]:
    curves = [curve for panel in panels.panels for curve in panel.curves]
    drawn = {curve.arm for curve in curves}
    handles = [
        Line2D([], [], color=style.colour, linestyle=style.line, label=arm)
        for arm, style in arm_styles(arms).items()
        if arm in drawn
    ]
    if any(curve.crosses for curve in curves):
        handles.append(Line2D([], [], color=GREY, linestyle="", marker="x", label="diverged"))
    return handles


def _caption(panels: Panels) -> str:
    curves = [curve for panel in panels.panels for curve in panel.curves]
    seeds = max((curve.seeds for curve in curves), default=0)
    seen = f"showing {len(panels.panels)} of {panels.total} grid points" if len(panels.panels) < panels.total else ""
    return sentences(
        seen,
        "nothing recorded yet" if seeds == 0 else "one seed" if seeds == 1 else "",
        f"line: mean over {seeds} seeds; band: lowest to highest seed" if seeds > 1 else "",
        "cross: where a trial diverged; a stopped one keeps its last value"
        if any(curve.crosses for curve in curves)
        else "",
        "seconds: a trial's share of the time of all that trained with it, measuring left out; "
        "arms don't train in turns"
        if panels.axis == "seconds"
        else "",
    )


def _draw_panels(figure: SubFigure, panels: Panels, styles: dict[str, ArmStyle], rows: int, columns: int) -> None:
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels.panels):
            axes.remove()
            continue
        panel = panels.panels[place]
        axes.set_title(
            wrapped(", ".join(point_texts(panel.point)), _WIDE / columns - 0.3, SMALL), size=SMALL, parse_math=False
        )
        _dress(axes, panels)
        # Under the last panel of a column that is one short there is no other to carry the ticks.
        axes.tick_params(labelbottom=place + columns >= len(panels.panels))
        for curve in panel.curves:
            _draw_curve(axes, curve, styles[curve.arm])


def _dress(axes: Axes, panels: Panels) -> None:
    dress(axes)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    whole = panels.axis != "seconds"
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6 if whole else 4, steps=[1, 2, 5, 10], integer=whole))
    if whole:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 20k steps, in little space
    axes.grid(color=PALE, linewidth=0.6)


def _draw_curve(axes: Axes, curve: ArmCurve, style: ArmStyle) -> None:
    if curve.seeds > 1:
        axes.fill_between(curve.x, curve.low, curve.high, color=style.colour, alpha=0.18, linewidth=0)
    axes.plot(curve.x, curve.mean, color=style.colour, linestyle=style.line, linewidth=1.5)
    for x, y in curve.crosses:
        axes.plot(x, y, "x", color=style.colour, markersize=5, markeredgewidth=1.4, clip_on=False, zorder=4)
