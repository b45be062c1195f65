"""What goes into the activations while a network trains: its 15th, 50th and 85th percentile, in three layers.

Ioffe & Szegedy (2015), figure 1, for the first, the middle and the last activation, an arm beside the other.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import SymmetricalLogLocator

from bnexp.report.figures.probes.drawing import draw_band, draw_line, draw_nothing, mark_steps
from bnexp.report.figures.probes.facets import Facets
from bnexp.report.figures.probes.probed import Probed, layers_of, middle, points_of, seeds_text
from bnexp.report.figures.sheet import GREY, SMALL, sentences
from bnexp.report.panels import evenly
from bnexp.report.style import ArmStyle, arm_styles

LOW, MEDIAN, HIGH = PROBES = ("drift.p15", "drift.p50", "drift.p85")

_LAYERS = 3
_ROW = 1.35
"""Inches."""
_TICKS = 5
"""Numbers at a logarithmic scale at most."""
_FAR = 50
"""Inputs further from 0 than this make a row's scale logarithmic beyond 1."""


def activations_figure(probed: Probed, title: str) -> Figure | None:
    """Return the percentiles over steps, medians over the seeds; None where they were not measured."""
    table = _inputs(probed)
    if table.empty:
        return None
    points, arms = middle(points_of(table)), probed.arms_in(table)
    table = table[table["point"].isin(points)]
    layers = layers_of(table)
    rows = [layers[place] for place in evenly(len(layers), _LAYERS)]
    table = table[table["layer"].isin(rows)]
    far = set(table.loc[table["value"].abs() > _FAR, "layer"])
    facets = Facets(tuple(rows), arms, row_height=_ROW)
    figure, body = facets.sheet(title, _caption(probed, table, points, len(layers), bool(far)), _handles())
    bands, styles, axes_of = _bands(table), arm_styles(probed.arms), dict[str, list[Axes]]()
    for row, arm, axes in facets.panels(body, sharey="row"):
        axes_of.setdefault(rows[row], []).append(axes)
        mark_steps(axes)
        if rows[row] in far:
            _make_logarithmic(axes)
        if (band := bands.get((rows[row], arm))) is not None:
            _draw_band(axes, band, styles[arm])
        else:
            draw_nothing(axes)
    _share_limits(axes_of.values())
    body.supxlabel("step", size=SMALL + 1)
    body.supylabel("input of the activation", size=SMALL + 1)
    return figure


def _inputs(probed: Probed) -> pd.DataFrame:
    """Return the percentiles at the activations; those at the norm layers are of other values."""
    table = pd.concat([probed.of(name) for name in PROBES])
    return table[table["layer"].str.rpartition(".")[2] == "activation"] if len(table) else table


def _bands(table: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    """Return the medians over the seeds by layer and arm, a row per step and a column per percentile."""
    return {
        key: part.groupby(["step", "probe"])["value"].median().unstack().reindex(columns=PROBES)
        for key, part in table.groupby(["layer", "arm"])
    }


def _handles() -> list[Artist]:
    return [
        Line2D([], [], color=GREY, label="50th percentile"),
        Patch(facecolor=GREY, alpha=0.25, label="15th to 85th percentile"),
    ]


def _caption(probed: Probed, table: pd.DataFrame, points: Sequence[int], layers: int, far: bool) -> str:
    return sentences(
        probed.seen(points),
        f"{_LAYERS} of {layers} activations, the first at the top" if layers > _LAYERS else "",
        "one scale per row; beyond ±1 it is logarithmic where inputs go far" if far else "one scale per row",
        seeds_text(table, "medians"),
        probed.diverged(points),
    )


def _make_logarithmic(axes: Axes) -> None:
    axes.set_yscale("symlog", linthresh=1)
    locator = SymmetricalLogLocator(base=10, linthresh=1)
    locator.set_params(numticks=_TICKS)
    axes.yaxis.set_major_locator(locator)


def _draw_band(axes: Axes, band: pd.DataFrame, style: ArmStyle) -> None:
    draw_band(axes, band[LOW], band[HIGH], color=style.colour, alpha=0.25)
    draw_line(axes, band[MEDIAN], color=style.colour, linestyle=style.line, linewidth=1.5)


def _share_limits(rows: Iterable[Sequence[Axes]]) -> None:
    """Give the panels of a layer one scale, also where its arms fill several lines."""
    for row in rows:
        low, high = zip(*(axes.get_ylim() for axes in row), strict=True)
        for axes in row:
            axes.set_ylim(min(low), max(high))
