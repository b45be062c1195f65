"""How large the gradient is in every layer while a network trains: a map per arm, layers over steps, one log scale.

The norm is multiplied by that of the weights: batch norm doesn't mind the scale of the weights before it,
L(αW) = L(W), so raw gradients grow as weights shrink, and those of two arms don't compare. ‖∂L/∂W‖·‖W‖ doesn't change
with α. The colours (cividis) rise in lightness.
"""

from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bnexp.report.figures.frame import SMALL, join_caption, shorten_text
from bnexp.report.figures.probe_panels import (
    Facets,
    Probed,
    draw_bar,
    layers_of,
    mark_steps,
    points_of,
    row_texts,
    seeds_text,
)
from bnexp.report.style import PALE

PROBE = "gradient_norm.scale_free"
_COLOURS = colormaps["cividis"]
_DECADES = 12
"""What is smaller than the largest value by more than these has the colour of the smallest."""
_LAYER = 0.15
"""Inches that a layer's name takes."""
_LOWEST, _HIGHEST = 1.3, 4.2
"""Inches: the height of a map."""
_NAME = 1.5
"""Inches: the longest name of a layer."""


def gradient_norms_figure(probed: Probed, title: str) -> Figure | None:
    """Return ‖∂L/∂W‖·‖W‖ by layer and step, medians over the seeds; None where it was not measured."""
    table = probed.of(PROBE)
    if table.empty:
        return None
    points, arms = points_of(table), probed.arms_in(table)
    table = table[table["point"].isin(points)]
    cells = _cells(table)
    height = min(max(_LAYER * max(map(len, cells.values())), _LOWEST), _HIGHEST)
    facets = Facets(row_texts([probed.point_text(point) for point in points]), arms, height)
    full = len(points) * len(arms), table["step"].nunique()
    gaps = len(cells) < full[0] or any(each.dropna(axis=1).shape[1] < full[1] for each in cells.values())
    handles = [Patch(facecolor=PALE, label="no value")] if gaps else []
    figure, body = facets.sheet(title, _caption(probed, table, points), handles)
    values = np.concatenate([each.to_numpy().ravel() for each in cells.values()])
    norm = _norm(values)
    for row, arm, axes in facets.panels(body, sharey="row"):
        _draw_map(axes, cells.get((points[row], arm)), norm, height)
    body.supxlabel("step", size=SMALL + 1)
    under = "min" if np.nanmin(values) < norm.vmin else "neither"
    draw_bar(body, ScalarMappable(norm, _COLOURS), "‖∂L/∂W‖ · ‖W‖", facets.height, extend=under)
    return figure


def _cells(table: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    """Return the medians over the seeds by grid point and arm, a row per layer of any arm and a column per step."""
    layers: dict[Any, list[str]] = {point: layers_of(part) for point, part in table.groupby("point")}
    return {
        (point, arm): part.groupby(["layer", "step"])["value"].median().unstack().reindex(layers[point])
        for (point, arm), part in table.groupby(["point", "arm"])
    }


def _norm(values: np.ndarray) -> LogNorm:
    positive = values[values > 0]
    high = float(positive.max(initial=0)) or 1.0
    low = max(float(positive.min(initial=high)), high / 10**_DECADES)
    return LogNorm(low if low < high else high / 10, high)


def _caption(probed: Probed, table: pd.DataFrame, points: list[int]) -> str:
    return join_caption(
        probed.seen(points),
        "the first layer is at the bottom",
        seeds_text(table, "median"),
        "times the weights' norm, since with BN raw gradients grow as weights shrink",
        probed.diverged(points),
    )


def _draw_map(axes: Axes, cells: pd.DataFrame | None, norm: LogNorm, height: float) -> None:
    axes.set_facecolor(PALE)
    axes.spines[:].set_visible(False)
    mark_steps(axes, grid=False)
    axes.tick_params(axis="y", length=0)
    if cells is not None:
        edges = _edges(cells.columns.to_numpy(dtype=float)), np.arange(len(cells) + 1) - 0.5
        # 0 has no place in a log scale, but is the smallest.
        values = np.ma.masked_invalid(cells.clip(lower=norm.vmin).to_numpy())
        axes.pcolormesh(*edges, values, norm=norm, cmap=_COLOURS, rasterized=True)
        places = range(0, len(cells), ceil(len(cells) / int(height / _LAYER)))
        axes.set_yticks(places, [shorten_text(cells.index[i], _NAME, SMALL - 1) for i in places], parse_math=False)
        axes.set_ylim(-0.5, len(cells) - 0.5)


def _edges(steps: np.ndarray) -> np.ndarray:
    """Return the limits of columns around steps, half-way from one to the next."""
    if len(steps) == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    halves = np.diff(steps) / 2
    return np.concatenate([[steps[0] - halves[0]], steps[:-1] + halves, [steps[-1] + halves[-1]]])
