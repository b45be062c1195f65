"""Learning curves: a small panel per grid point, a line per arm."""

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnexp.analysis.study import METRICS, Study
from bnexp.report.figures.frame import (
    NARROW,
    SMALL,
    WIDE,
    count_ticks,
    join_caption,
    multiples_height,
    new_figure,
    small_multiples,
    style_accuracies,
    widest,
    wrap_text,
)
from bnexp.report.panels import ArmCurve, Panels, make_panels
from bnexp.report.style import GREY, PALE, ArmStyle, arm_styles, point_title

MOST_PANELS = 16


def curves_figure(study: Study, metric: str, *, timed: bool = False) -> Figure:
    """Return the curves of the accuracy that goes with a metric, over epochs, steps or, if timed, seconds.

    It is over steps where an epoch has several records. A trial's seconds are its share of the time of the group that
    it trained in, so arms can be compared where their groups were equally large.
    """
    column = METRICS[metric]
    if study.curves[column].isna().all():
        column = default_curve_metric(study.curves)
    panels = make_panels(study, column, limit=MOST_PANELS, timed=timed)
    styles = arm_styles(study.arms)
    handles = _handles(panels, styles, study.label)
    labels = [str(handle.get_label()) for handle in handles]
    width = WIDE if panels.columns > 1 or widest(labels, SMALL) > NARROW - 1 else NARROW
    titles = [wrap_text(point_title(panel.point), width / panels.columns - 0.3, SMALL) for panel in panels.panels]
    height = multiples_height(titles, panels.columns, width)
    figure, body = new_figure(title=study.title, caption=_caption(panels), handles=handles, width=width, height=height)
    for panel, axes in zip(panels.panels, small_multiples(body, titles, panels.columns), strict=True):
        _style_panel(axes, timed)
        for curve in panel.curves:
            _draw_curve(axes, curve, styles[curve.arm])
    body.supylabel(column.replace("_", " "), size=SMALL + 1)
    body.supxlabel(panels.axis, size=SMALL + 1)
    return figure


def default_curve_metric(curves: pd.DataFrame) -> str:
    """Return the first of test, validation and training accuracy that was measured."""
    names = ("test_accuracy", "val_accuracy", "train_accuracy")
    return next((name for name in names if curves[name].notna().any()), names[-1])


def _handles(panels: Panels, styles: dict[str, ArmStyle], label: Callable[[str], str]) -> list[Line2D]:
    drawn = {curve.arm for curve in panels.curves}
    handles = [Line2D([], [], label=label(arm), **style.stroke) for arm, style in styles.items() if arm in drawn]
    if any(curve.crosses for curve in panels.curves):
        handles.append(Line2D([], [], color=GREY, linestyle="", marker="x", label="diverged"))
    return handles


def _caption(panels: Panels) -> str:
    seeds = max((curve.seeds for curve in panels.curves), default=0)
    return join_caption(
        f"showing {len(panels.panels)} of {panels.total} grid points" if len(panels.panels) < panels.total else "",
        "nothing recorded yet" if seeds == 0 else "one seed" if seeds == 1 else "",
        f"line: mean over {seeds} seeds; band: lowest to highest seed" if seeds > 1 else "",
        "cross: where a trial diverged; a stopped one keeps its last value"
        if any(curve.crosses for curve in panels.curves)
        else "",
        "seconds: a trial's share of the time of all that trained with it, measuring left out; "
        "arms don't train in turns"
        if panels.axis == "seconds"
        else "",
    )


def _style_panel(axes: Axes, timed: bool) -> None:
    style_accuracies(axes)
    axes.grid(color=PALE, linewidth=0.6)
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
