"""Learning curves: a small panel per grid point, a line per arm."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnexp.analysis.study import Study
from bnexp.report.figures.frame import (
    NARROW,
    SMALL,
    WIDE,
    arm_handles,
    count_ticks,
    join_caption,
    panel_figure,
    style_accuracies,
    widest,
)
from bnexp.report.panels import ArmCurve, Panels, make_panels, shown_column
from bnexp.report.style import GREY, PALE, ArmStyle, arm_styles, point_title

MOST_PANELS = 16


def curves_figure(study: Study, metric: str, *, timed: bool = False) -> Figure:
    """Return the curves of the accuracy that goes with a metric, over epochs, steps or, if timed, seconds.

    If it wasn't measured, they show the first of test, validation and training accuracy that was. The x axis has steps
    if an epoch has several records. A trial's seconds are its share of the time of its group, so arms can be
    compared if their groups were equally large.
    """
    column = shown_column(study, metric)
    panels = make_panels(study, column, limit=MOST_PANELS, timed=timed)
    crosses = any(curve.crosses for curve in panels.curves)
    handles = arm_handles(study, {curve.arm for curve in panels.curves})
    if crosses:
        handles.append(Line2D([], [], color=GREY, linestyle="", marker="x", label="diverged"))
    labels = [str(handle.get_label()) for handle in handles]
    figure, drawn = panel_figure(
        [point_title(panel.point) for panel in panels.panels],
        panels.columns,
        title=study.title,
        caption=_caption(panels, crosses=crosses),
        handles=handles,
        xlabel=panels.axis,
        ylabel=column.replace("_", " "),
        width=WIDE if widest(labels, SMALL) > NARROW - 1 else None,
    )
    styles = arm_styles(study.arms)
    _style_shared_axes(drawn[0], timed)
    for panel, axes in zip(panels.panels, drawn, strict=True):
        axes.grid(color=PALE, linewidth=0.6)
        for curve in panel.curves:
            _draw_curve(axes, curve, styles[curve.arm])
    return figure


def _caption(panels: Panels, *, crosses: bool) -> str:
    seeds = max((curve.seeds for curve in panels.curves), default=0)
    return join_caption(
        f"showing {len(panels.panels)} of {panels.total} grid points" if len(panels.panels) < panels.total else "",
        "nothing recorded yet" if seeds == 0 else "one seed" if seeds == 1 else "",
        f"line: mean over {seeds} seeds; band: lowest to highest seed" if seeds > 1 else "",
        "cross: where a trial diverged; a stopped one keeps its last value" if crosses else "",
        "seconds: a trial's share of the time of all that trained with it, measuring left out; "
        "arms don't train in turns"
        if panels.axis == "seconds"
        else "",
    )


def _style_shared_axes(axes: Axes, timed: bool) -> None:
    style_accuracies(axes)
    if timed:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    else:
        count_ticks(axes.xaxis, 6)


def _draw_curve(axes: Axes, curve: ArmCurve, style: ArmStyle) -> None:
    if curve.seeds > 1:
        axes.fill_between(curve.x, curve.low, curve.high, color=style.colour, alpha=0.18, linewidth=0)
    axes.plot(curve.x, curve.mean, linewidth=1.5, **style.stroke)
    for x, y in curve.crosses:
        axes.plot(x, y, "x", color=style.colour, markersize=5, markeredgewidth=1.4, clip_on=False, zorder=4)
