"""What is one number per layer, while a network trains: a line per layer, coloured by its depth, in a panel per arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnexp.report.figures.lettering import inches, shortened
from bnexp.report.figures.probes.drawing import draw_line, draw_nothing, mark_steps
from bnexp.report.figures.probes.facets import Facets, row_texts
from bnexp.report.figures.probes.probed import Probed, layers_of, middle, points_of, seeds_text
from bnexp.report.figures.sheet import SMALL, sentences
from bnexp.report.panels import evenly

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
    return sentences(
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
    longest = max(inches(shortened(layer, _NAME, SMALL), SMALL) for layer in colours)
    named = [list(colours.items())[place] for place in evenly(len(colours), int(width / (longest + _HANDLE)))]
    return [Line2D([], [], color=colour, label=shortened(layer, _NAME, SMALL)) for layer, colour in named]


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
