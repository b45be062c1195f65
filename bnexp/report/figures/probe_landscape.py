"""The loss along the gradient while a network trains, and around its trained weights."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnexp.report.figures.frame import arm_handles, draw_color_bar
from bnexp.report.figures.probe_panels import Probed, draw_band, draw_line, mark_steps, probe_figure, seeds_in
from bnexp.report.style import PALE, ArmStyle

# How smooth the loss is along the gradient while a network trains: Santurkar et al. (2018), figure 4, an arm a colour.
#
# A band spans the step sizes at one moment, and never several epochs. Gradients are divided by their norm: with batch
# normalization L(αW) = L(W), so raw gradients change with the norm of the weights alone.

Bands = dict[Any, pd.DataFrame]

_ROW = 2.0
"""Inches."""
_LOG_SPAN = 100
"""Positive values that span more than this factor get a logarithmic scale."""


@dataclass(frozen=True)
class Quantity:
    """A panel with a band from one probe to another or, if both are the same, from the lowest seed to the highest."""

    title: str
    low: str
    high: str

    @property
    def one_moment(self) -> bool:
        """True if the band spans the step sizes of one moment, False if it spans the seeds."""
        return self.low != self.high


QUANTITIES = (
    Quantity("loss along the gradient", "loss_variation.low", "loss_variation.high"),
    Quantity(
        "relative change of the gradient",
        "gradient_predictiveness.relative_low",
        "gradient_predictiveness.relative_high",
    ),
    Quantity("effective smoothness, scale-free", "effective_smoothness.scale_free", "effective_smoothness.scale_free"),
)


def landscape_bands_figure(probed: Probed) -> Figure | None:
    """Return the panels that something was measured for, with one scale per panel; None without any."""
    found = {quantity: _bands(probed, quantity) for quantity in QUANTITIES}
    shown = {quantity: bands for quantity, bands in found.items() if len(bands)}
    if not shown:
        return None
    table = probed.of(*(name for quantity in shown for name in (quantity.low, quantity.high)))
    table, points, arms = probed.choose(table)
    figure, panels = probe_figure(
        probed,
        probed.point_texts(points),
        {quantity: quantity.title for quantity in shown},
        _ROW,
        caption=_caption(probed, table, points, list(shown)),
        handles=arm_handles(probed.study, arms),
        sharey="col",
    )
    for (row, quantity), axes in panels.items():
        mark_steps(axes, table["step"])
        _draw_bands(axes, shown[quantity], quantity, points[row], probed.styles)
    return figure


def _bands(probed: Probed, quantity: Quantity) -> Bands:
    """Return `low` and `high` over the steps by grid point and arm.

    The band of one moment goes from the mean of the seeds' lows to that of their highs. The band of seeds also has
    their `mean`.
    """
    places = ["point", "arm", "step"]
    low, high = (probed.of(name).set_index([*places, "trial"])["value"] for name in (quantity.low, quantity.high))
    ends = pd.DataFrame({"low": low, "high": high}).dropna().groupby(level=places)
    seeds = low.groupby(level=places)
    over_seeds = pd.DataFrame({"low": seeds.min(), "mean": seeds.mean(), "high": seeds.max()})
    table = ends.mean() if quantity.one_moment else over_seeds
    return {key: part.droplevel(["point", "arm"]) for key, part in table.groupby(level=["point", "arm"])}


def _caption(probed: Probed, table: pd.DataFrame, points: Sequence[int], shown: Sequence[Quantity]) -> str:
    moments, smooth = (any(quantity.one_moment is one for quantity in shown) for one in (True, False))
    seeds = seeds_in(table)
    ends = f", each the mean over {seeds} seeds" if seeds > 1 else ""
    return probed.caption(
        points,
        f"loss and gradient: lowest and highest over the step sizes of one moment{ends}" if moments else "",
        "gradients are relative, since with BN raw ones grow as weights shrink" if moments else "",
        f"smoothness: mean over {seeds} seeds; band: lowest to highest seed" if smooth and seeds > 1 else "",
        "one seed" if seeds == 1 else "",
    )


def _draw_bands(axes: Axes, bands: Bands, quantity: Quantity, point: int, styles: dict[str, ArmStyle]) -> None:
    for arm, style in styles.items():
        if (band := bands.get((point, arm))) is not None:
            draw_band(axes, band["low"], band["high"], color=style.colour, alpha=0.15)
            for edge in ("low", "high") if quantity.one_moment else ("mean",):
                width = 1 if quantity.one_moment else 1.5
                draw_line(axes, band[edge], linewidth=width, **style.stroke)
    low, high = min(band["low"].min() for band in bands.values()), max(band["high"].max() for band in bands.values())
    if 0 < low < high / _LOG_SPAN:
        axes.set_yscale("log")


# The loss around the trained weights, along two filter-normalised directions: contours, a panel per arm, one scale.
#
# Li et al. (2018): each filter of a direction has the norm of that filter in the weights. So the scale of the weights,
# which means nothing with batch normalization, doesn't stretch the picture. All arms of a seed share its directions.

_NUMBER = r"(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
PROBE = re.compile(rf"landscape_slice\[{_NUMBER} {_NUMBER}\]")
"""Matches names with two coordinates, in multiples of the weights' own norm."""

_COLOURS = colormaps["cividis_r"]
"""The lowest loss is brightest."""
_LEVELS, _FLAT = 13, 1e-9
"""Contours and the two ends; the least range of a scale."""
_SLICE_SPAN, _DECADES = 20, 6
"""Losses that span more than this factor get levels in equal ratios, over at most this many decades."""
_WEIGHTS: dict[str, Any] = {
    "linestyle": "",
    "marker": "o",
    "color": "white",
    "markeredgecolor": "black",
    "markersize": 4,
}


def slices_figure(probed: Probed) -> Figure | None:
    """Return the slices of the first seed that all arms have, at its latest step; None without two dimensions."""
    losses = _losses(probed)
    if losses.empty:
        return None
    seed = _first_seed(losses)
    losses, points, arms = probed.choose(losses)
    losses = losses[losses["seed"] == seed]
    slices = {key: _latest(part) for key, part in losses.groupby(["point", "arm"], sort=False)}
    slices = {key: cells for key, cells in slices.items() if min(cells.shape) > 1}
    if not slices:
        return None
    norm, levels = _scale(np.concatenate([cells.to_numpy().ravel() for cells in slices.values()]))
    gaps = len(slices) < len(points) * len(arms) or any(cells.isna().any(axis=None) for cells in slices.values())
    figure, panels = probe_figure(
        probed,
        probed.point_texts(points),
        arms,
        _ROW,
        caption=probed.caption(
            points,
            f"seed {seed} at step {losses['step'].max()}",
            "axes: distance along two random directions, each filter's in multiples of its weights' norm",
        ),
        handles=[
            Line2D([], [], label="trained weights", **_WEIGHTS),
            *([Patch(facecolor=PALE, label="no finite loss")] if gaps else []),
        ],
        square=True,
        xlabel="first direction",
        ylabel="second direction",
    )
    for (row, arm), axes in panels.items():
        axes.set_facecolor(PALE)
        axes.set_box_aspect(1)
        axes.locator_params(nbins=2)
        if (points[row], arm) in slices:
            _draw_slice(axes, slices[points[row], arm], norm, levels)
    over = "max" if losses["value"].max() > levels[-1] else "neither"
    draw_color_bar(figure, ScalarMappable(norm, _COLOURS), "loss", extend=over)
    return figure


def _losses(probed: Probed) -> pd.DataFrame:
    """Return the losses beside the coordinates `x` and `y`."""
    places = {name: found.groups() for name in probed.tables if (found := PROBE.fullmatch(name))}
    tables = [probed.of(name).assign(x=float(x), y=float(y)) for name, (x, y) in places.items()]
    return pd.concat(tables) if tables else pd.DataFrame()


def _first_seed(losses: pd.DataFrame) -> int:
    """Return the seed that most arms and grid points have; of several, the lowest."""
    having = losses[["seed", "point", "arm"]].drop_duplicates().groupby("seed").size()
    return int(having[having == having.max()].index[0])


def _latest(losses: pd.DataFrame) -> pd.DataFrame:
    """Return the losses of the latest step, a row per y and a column per x."""
    last = losses[losses["step"] == losses["step"].max()]
    cells: pd.DataFrame = last.pivot(index="y", columns="x", values="value")
    return cells


def _scale(losses: np.ndarray) -> tuple[Normalize, np.ndarray]:
    """Return the scale that all panels share, and its levels: in equal ratios if losses span decades."""
    low, high = float(np.nanmin(losses)), float(np.nanmax(losses))
    if 0 < low < high / _SLICE_SPAN:
        high = min(high, low * 10.0**_DECADES)
        return LogNorm(low, high), np.geomspace(low, high, _LEVELS)
    high = max(high, low + _FLAT)
    return Normalize(low, high), np.linspace(low, high, _LEVELS)


def _draw_slice(axes: Axes, cells: pd.DataFrame, norm: Normalize, levels: np.ndarray) -> None:
    grid = cells.columns, cells.index, np.ma.masked_invalid(cells.to_numpy())
    # After rounding, the lowest level may lie above the lowest loss, hence `extend`.
    filled = axes.contourf(*grid, levels=levels, norm=norm, cmap=_COLOURS, extend="both")
    filled.set_rasterized(True)
    axes.contour(*grid, levels=levels, colors="white", linewidths=0.5, alpha=0.8)
    axes.plot(0, 0, **_WEIGHTS)
