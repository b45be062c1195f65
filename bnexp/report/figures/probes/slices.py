"""The loss around the trained weights, along two filter-normalised directions: contours, a panel per arm, one scale.

Li et al. (2018): each filter of a direction has the norm of the weights' own, so that the scale of the weights, which
means nothing with batch normalization, doesn't stretch the picture. The directions of a seed are those of every arm.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnexp.report.figures.probes.drawing import draw_bar
from bnexp.report.figures.probes.facets import Facets, row_texts
from bnexp.report.figures.probes.probed import Probed, points_of
from bnexp.report.figures.sheet import PALE, SMALL, sentences

_NUMBER = r"(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
PROBE = re.compile(rf"landscape_slice\[{_NUMBER} {_NUMBER}\]")
"""With its coordinates in multiples of the weights' own norm."""

_COLOURS = colormaps["cividis_r"]
"""The lowest loss brightest."""
_LEVELS, _FLAT = 13, 1e-9
"""Contours and the two ends; what all losses span at least."""
_LOG_SPAN, _DECADES = 20, 6
"""Losses that span more than this get levels in equal ratios, over so many decades at most."""
_ROW = 2.0
"""Inches."""
_WEIGHTS: dict[str, Any] = {
    "linestyle": "",
    "marker": "o",
    "color": "white",
    "markeredgecolor": "black",
    "markersize": 4,
}


def slices_figure(probed: Probed, title: str) -> Figure | None:
    """Return the slices of the first seed that all arms have, at its latest step; None without two dimensions."""
    losses = _losses(probed)
    if losses.empty:
        return None
    points, seed, arms = points_of(losses), _first_seed(losses), probed.arms_in(losses)
    losses = losses[losses["point"].isin(points) & (losses["seed"] == seed)]
    slices = {key: _latest(part) for key, part in losses.groupby(["point", "arm"], sort=False)}
    slices = {key: cells for key, cells in slices.items() if min(cells.shape) > 1}
    if not slices:
        return None
    rows = row_texts([probed.point_text(point) for point in points])
    facets = Facets(rows, arms, row_height=_ROW, square=True)
    norm, levels = _scale(np.concatenate([cells.to_numpy().ravel() for cells in slices.values()]))
    gaps = len(slices) < len(points) * len(arms) or any(cells.isna().any(axis=None) for cells in slices.values())
    figure, body = facets.sheet(title, _caption(probed, losses, points, seed), _handles(gaps))
    for row, arm, axes in facets.panels(body):
        _draw_slice(axes, slices.get((points[row], arm)), norm, levels)
    over = "max" if losses["value"].max() > levels[-1] else "neither"
    draw_bar(body, ScalarMappable(norm, _COLOURS), "loss", facets.height, extend=over)
    body.supxlabel("first direction", size=SMALL + 1)
    body.supylabel("second direction", size=SMALL + 1)
    return figure


def _losses(probed: Probed) -> pd.DataFrame:
    """Return the losses beside the coordinates `x` and `y`."""
    places = {name: found.groups() for name in probed.tables if (found := PROBE.fullmatch(name))}
    tables = [probed.of(name).assign(x=float(x), y=float(y)) for name, (x, y) in places.items()]
    return pd.concat(tables) if tables else pd.DataFrame()


def _first_seed(losses: pd.DataFrame) -> int:
    """Return the lowest seed of those that the most arms and grid points have."""
    having = losses[["seed", "point", "arm"]].drop_duplicates().groupby("seed").size()
    return int(having[having == having.max()].index[0])


def _latest(losses: pd.DataFrame) -> pd.DataFrame:
    """Return the losses of the latest step, a row per y and a column per x."""
    last = losses[losses["step"] == losses["step"].max()]
    cells: pd.DataFrame = last.pivot(index="y", columns="x", values="value")
    return cells


def _scale(losses: np.ndarray) -> tuple[Normalize, np.ndarray]:
    """Return the scale that all panels share, and its levels: in equal ratios where losses span decades."""
    low, high = float(np.nanmin(losses)), float(np.nanmax(losses))
    if 0 < low < high / _LOG_SPAN:
        high = min(high, low * 10.0**_DECADES)
        return LogNorm(low, high), np.geomspace(low, high, _LEVELS)
    high = max(high, low + _FLAT)
    return Normalize(low, high), np.linspace(low, high, _LEVELS)


def _caption(probed: Probed, losses: pd.DataFrame, points: Sequence[int], seed: int) -> str:
    return sentences(
        probed.seen(points),
        f"seed {seed} at step {losses['step'].max()}",
        "axes: distance along two random directions, each filter's in multiples of its weights' norm",
        probed.diverged(points),
    )


def _handles(gaps: bool) -> list[Artist]:
    weights = Line2D([], [], label="trained weights", **_WEIGHTS)
    return [weights, *([Patch(facecolor=PALE, label="no finite loss")] if gaps else [])]


def _draw_slice(axes: Axes, cells: pd.DataFrame | None, norm: Normalize, levels: np.ndarray) -> None:
    axes.set_facecolor(PALE)
    axes.set_box_aspect(1)
    axes.locator_params(nbins=2)
    if cells is None:
        return
    grid = cells.columns, cells.index, np.ma.masked_invalid(cells.to_numpy())
    filled = axes.contourf(
        *grid, levels=levels, norm=norm, cmap=_COLOURS, extend="both"
    )  # rounded, the lowest level may lie above the lowest loss
    filled.set_rasterized(True)
    axes.contour(*grid, levels=levels, colors="white", linewidths=0.5, alpha=0.8)
    axes.plot(0, 0, **_WEIGHTS)
