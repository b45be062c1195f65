"""What goes on in the layers while a network trains: activations, and one number per layer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import SymmetricalLogLocator

from bnexp.report.figures.frame import SMALL, join_caption, shorten_text, text_width
from bnexp.report.figures.probe_panels import (
    Facets,
    Probed,
    draw_band,
    draw_line,
    draw_nothing,
    layers_of,
    mark_steps,
    middle,
    points_of,
    row_texts,
    seeds_text,
)
from bnexp.report.panels import evenly
from bnexp.report.style import GREY, ArmStyle, arm_styles

# What goes into the activations while a network trains: its 15th, 50th and 85th percentile, in three layers.
#
# Ioffe & Szegedy (2015), figure 1, for the first, the middle and the last activation, an arm beside the other.

LOW, MEDIAN, HIGH = PROBES = ("drift.p15", "drift.p50", "drift.p85")

_LAYERS = 3
_ACTIVATION_ROW = 1.35
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
    facets = Facets(tuple(rows), arms, row_height=_ACTIVATION_ROW)
    figure, body = facets.sheet(
        title, _activation_caption(probed, table, points, len(layers), bool(far)), _activation_handles()
    )
    bands, styles, axes_of = _bands(table), arm_styles(probed.study.arms), dict[str, list[Axes]]()
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


def _activation_handles() -> list[Artist]:
    return [
        Line2D([], [], color=GREY, label="50th percentile"),
        Patch(facecolor=GREY, alpha=0.25, label="15th to 85th percentile"),
    ]


def _activation_caption(probed: Probed, table: pd.DataFrame, points: Sequence[int], layers: int, far: bool) -> str:
    return join_caption(
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
    draw_line(axes, band[MEDIAN], linewidth=1.5, **style.stroke)


def _share_limits(rows: Iterable[Sequence[Axes]]) -> None:
    """Give the panels of a layer one scale, also where its arms fill several lines."""
    for row in rows:
        low, high = zip(*(axes.get_ylim() for axes in row), strict=True)
        for axes in row:
            axes.set_ylim(min(low), max(high))


_ROW = 1.75
"""Inches."""
_NAME, _HANDLE = 1.9, 0.75
"""Inches in the legend: the longest name of a layer, and what stands beside a name."""
_LIGHTEST = 0.8
"""Where the colours (cividis) end: what is lighter can't be seen on white."""


@dataclass(frozen=True)
class Quantity:
    """A probe and how it is drawn."""

    probe: str
    label: str
    scale: Literal["share", "log", "cosine"]


SATURATION = (Quantity("saturation", "saturated share", "share"), Quantity("dead_units", "dead units", "share"))
COVARIATE_SHIFT = (
    Quantity("covariate_shift.relative", "relative shift", "log"),
    Quantity("covariate_shift.cosine", "cosine", "cosine"),
)


def saturation_figure(probed: Probed, title: str) -> Figure | None:
    """Return the share of saturated activations, or else of dead units; None where neither was measured."""
    return _figure(probed, title, _measured(probed, SATURATION)[:1], note="")


def covariate_shift_figure(probed: Probed, title: str) -> Figure | None:
    """Return ‖G − G′‖ / ‖G‖ and cos(G, G′) of Santurkar et al. (2018), definition 2.1; None where not measured."""
    note = "how a layer's gradient changes once the layers before it have moved; in the first layer it can't"
    return _figure(probed, title, _measured(probed, COVARIATE_SHIFT), note)


def _measured(probed: Probed, quantities: Sequence[Quantity]) -> list[Quantity]:
    return [quantity for quantity in quantities if len(probed.of(quantity.probe))]


def _figure(probed: Probed, title: str, quantities: Sequence[Quantity], note: str) -> Figure | None:
    if not quantities:
        return None
    table = pd.concat([probed.of(quantity.probe) for quantity in quantities])
    points = points_of(table) if len(quantities) == 1 else middle(points_of(table))
    arms, table = probed.arms_in(table), table[table["point"].isin(points)]
    rows = [(quantity, point) for quantity in quantities for point in points]
    texts = [quantity.label if len(quantities) > 1 else probed.point_text(point) for quantity, point in rows]
    facets = Facets(row_texts(texts), arms, row_height=_ROW)
    colours = _colours(layers_of(table))
    figure, body = facets.sheet(title, _caption(probed, table, points, note), _handles(colours, facets.width))
    medians = table.groupby(["probe", "point", "arm", "layer", "step"])["value"].median()
    for row, arm, axes in facets.panels(body, sharey="row"):
        quantity, point = rows[row]
        mark_steps(axes)
        for layer, colour in colours.items():
            if (place := (quantity.probe, point, arm, layer)) in medians.index:
                draw_line(axes, medians.loc[place], color=colour, linewidth=1.2)
        if not axes.lines:
            draw_nothing(axes)
        _set_scale(axes, quantity, medians.loc[quantity.probe])
    body.supxlabel("step", size=SMALL + 1)
    body.supylabel(quantities[0].label if len(quantities) == 1 else "", size=SMALL + 1)
    return figure


def _caption(probed: Probed, table: pd.DataFrame, points: Sequence[int], note: str) -> str:
    layers = table["layer"].nunique()
    return join_caption(
        probed.seen(points),
        note,
        f"a line per layer, {layers} from the first (dark) to the last (light)" if layers > 1 else "",
        seeds_text(table, "median"),
        probed.diverged(points),
    )


def _colours(layers: Sequence[str]) -> dict[str, str]:
    shades = colormaps["cividis"](np.linspace(0, _LIGHTEST, len(layers)))
    return {layer: to_hex(shade) for layer, shade in zip(layers, shades, strict=True)}


def _handles(colours: dict[str, str], width: float) -> list[Line2D]:
    """Return as many layers, evenly spaced, as have room in one line."""
    longest = max(text_width(shorten_text(layer, _NAME, SMALL), SMALL) for layer in colours)
    named = [list(colours.items())[place] for place in evenly(len(colours), int(width / (longest + _HANDLE)))]
    return [Line2D([], [], color=colour, label=shorten_text(layer, _NAME, SMALL)) for layer, colour in named]


def _set_scale(axes: Axes, quantity: Quantity, values: pd.Series) -> None:
    """Give all panels of a quantity one scale: shares from 0, cosines up to 1, all else in equal ratios."""
    low, high = values.min(), values.max()
    if quantity.scale == "share":
        axes.set_ylim(0, min(1.02, max(1.2 * high, 0.05)))
    elif quantity.scale == "cosine":
        axes.set_ylim(max(-1.05, min(-0.05, low - 0.1)), 1.05)
    elif high > 0:
        axes.set_yscale("log", nonpositive="mask")
        axes.set_ylim(values[values > 0].min() / 1.5, 1.5 * high)
    else:
        axes.set_ylim(0, 1)
