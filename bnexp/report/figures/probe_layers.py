"""The layers while a network trains: norms of gradients, inputs of activations, and one number per layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import SymmetricalLogLocator

from bnexp.report.figures.frame import SMALL, draw_color_bar, shorten_text
from bnexp.report.figures.probe_panels import (
    MOST_POINTS,
    Probed,
    draw_band,
    draw_line,
    draw_nothing,
    layers_of,
    mark_steps,
    probe_figure,
    seeds_text,
)
from bnexp.report.panels import evenly
from bnexp.report.style import GREY, PALE

_COLOURS = colormaps["cividis"]
"""These rise in lightness, so that they can be read with any colour vision and in grey print."""


# Gradients: a map per arm, layers over steps, one logarithmic scale.
#
# The norm is multiplied by that of the weights. With batch norm the loss doesn't depend on the scale of the weights
# before it, L(αW) = L(W), so raw gradients grow as weights shrink, and those of two arms can't be compared.
# ‖∂L/∂W‖·‖W‖ doesn't change with α.

GRADIENT = "gradient_norm.scale_free"
_DECADES = 12
"""Values more than this many decades below the largest one have the colour of the smallest."""
_LAYER, _LOWEST, _HIGHEST, _LAYER_NAME = 0.15, 1.3, 4.2, 1.5
"""Inches: height of a layer's name; least and largest height of a map; width of the longest name."""


def gradient_norms_figure(probed: Probed) -> Figure | None:
    """Return ‖∂L/∂W‖·‖W‖ by layer and step, medians over the seeds; None where it was not measured."""
    table = probed.of(GRADIENT)
    if table.empty:
        return None
    table, points, arms = probed.choose(table)
    layers: dict[Any, list[str]] = {point: layers_of(part) for point, part in table.groupby("point")}
    cells = {
        (point, arm): part.groupby(["layer", "step"])["value"].median().unstack().reindex(layers[point])
        for (point, arm), part in table.groupby(["point", "arm"])
    }
    height = min(max(_LAYER * max(map(len, layers.values())), _LOWEST), _HIGHEST)
    steps = table["step"].nunique()
    gaps = len(cells) < len(points) * len(arms) or any(each.dropna(axis=1).shape[1] < steps for each in cells.values())
    figure, panels = probe_figure(
        probed,
        probed.point_texts(points),
        arms,
        height,
        caption=probed.caption(
            points,
            "the first layer is at the bottom",
            seeds_text(table, "median"),
            "times the weights' norm, since with BN raw gradients grow as weights shrink",
        ),
        handles=[Patch(facecolor=PALE, label="no value")] if gaps else [],
        sharey="row",
    )
    values = np.concatenate([each.to_numpy().ravel() for each in cells.values()])
    norm = _gradient_scale(values)
    for (row, arm), axes in panels.items():
        axes.set_facecolor(PALE)
        axes.spines[:].set_visible(False)
        mark_steps(axes, table["step"], grid=False)
        axes.tick_params(axis="y", length=0)
        if (points[row], arm) in cells:
            _draw_map(axes, cells[points[row], arm], norm, height)
    under = "min" if np.nanmin(values) < norm.vmin else "neither"
    draw_color_bar(figure, ScalarMappable(norm, _COLOURS), "‖∂L/∂W‖ · ‖W‖", extend=under)
    return figure


def _gradient_scale(values: np.ndarray) -> LogNorm:
    positive = values[values > 0]
    high = float(positive.max(initial=0)) or 1.0
    low = max(float(positive.min(initial=high)), high / 10**_DECADES)
    return LogNorm(low if low < high else high / 10, high)


def _draw_map(axes: Axes, cells: pd.DataFrame, norm: LogNorm, height: float) -> None:
    """Draw a row of cells per layer, each cell half-way to its neighbours' steps."""
    steps = cells.columns.to_numpy(dtype=float)
    halves = np.diff(steps) / 2 if len(steps) > 1 else np.array([0.5])
    edges = np.concatenate([[steps[0] - halves[0]], steps[:-1] + halves[: len(steps) - 1], [steps[-1] + halves[-1]]])
    # A logarithmic scale has no 0, so 0 gets the smallest value.
    values = np.ma.masked_invalid(cells.clip(lower=norm.vmin).to_numpy())
    axes.pcolormesh(edges, np.arange(len(cells) + 1) - 0.5, values, norm=norm, cmap=_COLOURS, rasterized=True)
    places = range(0, len(cells), ceil(len(cells) / int(height / _LAYER)))
    axes.set_yticks(places, [shorten_text(cells.index[i], _LAYER_NAME, SMALL - 1) for i in places], parse_math=False)
    axes.set_ylim(-0.5, len(cells) - 0.5)


# Inputs of the activations: their 15th, 50th and 85th percentile, in the first, the middle and the last layer.
#
# Ioffe & Szegedy (2015), figure 1, with the arms side by side.

LOW, MEDIAN, HIGH = PERCENTILES = ("drift.p15", "drift.p50", "drift.p85")
_LAYERS = 3
_ACTIVATION_ROW = 1.35
"""Inches."""
_FAR = 50
"""If inputs are further from 0 than this, the row's scale is logarithmic beyond 1."""


def activations_figure(probed: Probed) -> Figure | None:
    """Return the percentiles over steps, medians over the seeds; None where they were not measured."""
    table = probed.of(*PERCENTILES)
    # Percentiles at norm layers are of other values.
    table = table[table["layer"].astype(str).str.endswith("activation")]
    if table.empty:
        return None
    table, points, arms = probed.choose(table, most=1)
    layers = layers_of(table)
    rows = [layers[place] for place in evenly(len(layers), _LAYERS)]
    table = table[table["layer"].isin(rows)]
    bands = {
        key: part.groupby(["step", "probe"])["value"].median().unstack().reindex(columns=PERCENTILES)
        for key, part in table.groupby(["layer", "arm"])
    }
    far = set(table.loc[table["value"].abs() > _FAR, "layer"])
    figure, panels = probe_figure(
        probed,
        rows,
        arms,
        _ACTIVATION_ROW,
        caption=probed.caption(
            points,
            f"{_LAYERS} of {len(layers)} activations, the first at the top" if len(layers) > _LAYERS else "",
            "one scale per row; beyond ±1 it is logarithmic where inputs go far" if far else "one scale per row",
            seeds_text(table, "medians"),
        ),
        handles=[
            Line2D([], [], color=GREY, label="50th percentile"),
            Patch(facecolor=GREY, alpha=0.25, label="15th to 85th percentile"),
        ],
        ylabel="input of the activation",
        sharey="row",
    )
    for (row, arm), axes in panels.items():
        mark_steps(axes, table["step"])
        if rows[row] in far:
            axes.set_yscale("symlog", linthresh=1)
            locator = SymmetricalLogLocator(base=10, linthresh=1)
            locator.set_params(numticks=5)
            axes.yaxis.set_major_locator(locator)
        if (band := bands.get((rows[row], arm))) is not None:
            draw_band(axes, band[LOW], band[HIGH], color=probed.styles[arm].colour, alpha=0.25)
            draw_line(axes, band[MEDIAN], linewidth=1.5, **probed.styles[arm].stroke)
        else:
            draw_nothing(axes)
    for row in range(len(rows)):  # one scale, even if the arms fill several lines
        low, high = zip(*(axes.get_ylim() for (place, _), axes in panels.items() if place == row), strict=True)
        for arm in arms:
            panels[row, arm].set_ylim(min(low), max(high))
    return figure


# One number per layer over steps: a line per layer, dark first and light last, a panel per arm.

_ROW = 1.75
"""Inches."""
_NAMES, _NAME = 4, 1.9
"""How many layers the legend names, and inches of the longest name."""
_LIGHTEST = 0.8
"""The colours end here: lighter ones can't be seen on white."""


@dataclass(frozen=True)
class Quantity:
    """A row of panels."""

    probe: str
    label: str
    scale: Literal["share", "cosine", "log"]


SATURATION = (Quantity("saturation", "saturated share", "share"), Quantity("dead_units", "dead units", "share"))
COVARIATE_SHIFT = (
    Quantity("covariate_shift.relative", "relative shift", "log"),
    Quantity("covariate_shift.cosine", "cosine", "cosine"),
)


def saturation_figure(probed: Probed) -> Figure | None:
    """Return the share of saturated activations, or else of dead units; None where neither was measured."""
    return _layer_lines(probed, SATURATION, most=1)


def covariate_shift_figure(probed: Probed) -> Figure | None:
    """Return ‖G − G′‖ / ‖G‖ and cos(G, G′) of Santurkar et al. (2018), definition 2.1; None where not measured."""
    note = "how a layer's gradient changes once the layers before it have moved; in the first layer it can't"
    return _layer_lines(probed, COVARIATE_SHIFT, most=2, note=note)


def _layer_lines(probed: Probed, known: Sequence[Quantity], *, most: int, note: str = "") -> Figure | None:
    """Return the figure of the first quantities that were measured: a row for each, or one quantity by grid point."""
    quantities = [quantity for quantity in known if len(probed.of(quantity.probe))][:most]
    if not quantities:
        return None
    table, single = probed.of(*(quantity.probe for quantity in quantities)), len(quantities) == 1
    table, points, arms = probed.choose(table, MOST_POINTS if single else 1)
    rows = [(quantity, point) for quantity in quantities for point in points]
    layers = layers_of(table)
    colours = dict(zip(layers, map(to_hex, _COLOURS(np.linspace(0, _LIGHTEST, len(layers)))), strict=True))
    named = [layers[place] for place in evenly(len(layers), _NAMES)]
    figure, panels = probe_figure(
        probed,
        probed.point_texts(points) if single else [quantity.label for quantity in quantities],
        arms,
        _ROW,
        caption=probed.caption(
            points,
            note,
            f"a line per layer, {len(layers)} from the first (dark) to the last (light)" if len(layers) > 1 else "",
            seeds_text(table, "median"),
        ),
        handles=[Line2D([], [], color=colours[name], label=shorten_text(name, _NAME, SMALL)) for name in named],
        ylabel=quantities[0].label if single else "",
        sharey="row",
    )
    medians = table.groupby(["probe", "point", "arm", "layer", "step"])["value"].median()
    for (row, arm), axes in panels.items():
        quantity, point = rows[row]
        mark_steps(axes, table["step"])
        for layer, colour in colours.items():
            if (place := (quantity.probe, point, arm, layer)) in medians.index:
                draw_line(axes, medians.loc[place], color=colour, linewidth=1.2)
        if not axes.lines:
            draw_nothing(axes)
        _set_scale(axes, quantity, medians.loc[quantity.probe])
    return figure


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
