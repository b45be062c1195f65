"""Tuning curves: the accuracy of each arm's best setting over the number of tries, on validation and on test images."""

from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.study import Study
from bnexp.analysis.tuning_curve import TuningRow
from bnexp.report.figures.frame import WIDE, arm_handles, join_caption, panel_figure, style_accuracies
from bnexp.report.panels import distinct, evenly
from bnexp.report.seed_views import tuning_leads
from bnexp.report.style import PALE, ArmStyle, arm_styles, point_title

MOST_PLACES = 4
"""Up to this many grid points, over all runs, have panels of their own."""


def tuning_figure(study: Study, comparison: Comparison, title: str) -> Figure:
    """Return the figure: a line per arm, with the band that holds 95 % of the searches; a row per grid point."""
    rows = comparison.tuning
    places = distinct((row.run, row.point) for row in rows)
    shown = [places[number] for number in evenly(len(places), MOST_PLACES)]
    measures = ["validation", *(["test"] if any(row.test is not None for row in rows) else [])]
    several = len({row.run for row in rows}) > 1
    figure, panels = panel_figure(
        [
            _title(measure, run if several else "", point_title(point))
            for (run, point), measure in product(shown, measures)
        ],
        len(measures),
        title=title,
        caption=_caption(comparison, len(shown), len(places)),
        handles=arm_handles(study, {row.arm for row in rows}, markersize=4),
        xlabel="settings tried",
        ylabel="accuracy of the best",
        width=WIDE,
    )
    styles = arm_styles(study.arms)
    for axes, (place, measure) in zip(panels, product(shown, measures), strict=True):
        here = [row for row in rows if (row.run, row.point) == place]
        _style(axes, here)
        for arm in dict.fromkeys(row.arm for row in here):
            _draw(axes, [row for row in here if row.arm == arm], measure, styles[arm])
    return figure


def _title(measure: str, *where: str) -> str:
    images = {"validation": "validation images, which choose it", "test": "test images, which choose nothing"}
    return ", ".join(filter(None, (*where, images[measure])))


def _caption(comparison: Comparison, shown: int, total: int) -> str:
    leads = [lead.removesuffix(".") for lead in tuning_leads(comparison)]
    return join_caption(
        f"showing {shown} of {total} grid points" if shown < total else "",
        "line: mean over all searches that try so many of the settings; band: what 95 % of them find",
        *leads[:MOST_PLACES],
    )


def _style(axes: Axes, rows: list[TuningRow]) -> None:
    style_accuracies(axes)
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_xscale("log", base=2)
    ticks = [2**power for power in range(max(row.tries for row in rows).bit_length())]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def _draw(axes: Axes, rows: list[TuningRow], measure: str, style: ArmStyle) -> None:
    tries = [row.tries for row in rows]
    values, lows, highs = ([getattr(row, f"{measure}{end}") for row in rows] for end in ("", "_low", "_high"))
    if None in values:
        return
    low, high = (
        [value if end is None else end for value, end in zip(values, ends, strict=True)] for ends in (lows, highs)
    )
    axes.fill_between(tries, low, high, color=style.colour, alpha=0.18, linewidth=0)
    axes.plot(tries, values, marker=style.marker, markersize=4, linewidth=1.5, clip_on=False, **style.stroke)
