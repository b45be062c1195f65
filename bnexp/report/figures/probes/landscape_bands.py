"""How smooth the loss is along the gradient while a network trains: Santurkar et al. (2018), figure 4, an arm a colour.

A band is what one moment has over several step sizes, never what several epochs have. Gradients are relative to their
own norm: a network with batch normalization has L(αW) = L(W), so its raw gradients change with the weights' norm alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnexp.report.figures.lettering import shortened, wrapped
from bnexp.report.figures.probes.drawing import draw_band, draw_line, mark_steps
from bnexp.report.figures.probes.facets import NARROW, WIDE, row_texts
from bnexp.report.figures.probes.probed import Probed, points_of, seeds_in
from bnexp.report.figures.sheet import SMALL, dress, make_sheet, sentences
from bnexp.report.style import ArmStyle, arm_styles

Bands = dict[Any, pd.DataFrame]

_ROW = 2.0
"""Inches."""
_LOG_SPAN = 100
"""A scale of positive values that span more than this is logarithmic."""


@dataclass(frozen=True)
class Quantity:
    """What a panel shows: from one probe to another, or if they are one, from the lowest seed to the highest."""

    title: str
    low: str
    high: str

    @property
    def one_moment(self) -> bool:
        """Whether the band is that of one moment, rather than of the seeds."""
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


def landscape_bands_figure(probed: Probed, title: str) -> Figure | None:
    """Return the panels that something was measured for, with one scale per panel; None without any."""
    found = {quantity: _bands(probed, quantity) for quantity in QUANTITIES}
    shown = {quantity: bands for quantity, bands in found.items() if len(bands)}
    if not shown:
        return None
    table = pd.concat([probed.of(name) for quantity in shown for name in (quantity.low, quantity.high)])
    points, styles = points_of(table), arm_styles(probed.arms)
    table = table[table["point"].isin(points)]
    figure, body = make_sheet(
        title=title,
        caption=_caption(probed, table, points, list(shown)),
        handles=[_handle(arm, styles[arm]) for arm in probed.arms_in(table)],
        width=WIDE if len(shown) > 1 else NARROW,
        height=len(points) * _ROW + 0.6,
    )
    grid = body.subplots(len(points), len(shown), sharex=True, sharey="col", squeeze=False)
    texts = row_texts([probed.point_text(point) for point in points])
    for across, point, text in zip(grid, points, texts, strict=True):
        across[0].set_ylabel(shortened(text, _ROW - 0.2, SMALL), size=SMALL, parse_math=False)
        for axes, (quantity, bands) in zip(across, shown.items(), strict=True):
            _draw_panel(axes, bands, quantity, point, styles)
            if point == points[0]:
                axes.set_title(wrapped(quantity.title, WIDE / 3 - 0.5, SMALL), size=SMALL)
    body.supxlabel("step", size=SMALL + 1)
    return figure


def _bands(probed: Probed, quantity: Quantity) -> Bands:
    """Return `low` and `high` over the steps by grid point and arm.

    The band of one moment is the mean of the seeds' lows and of their highs; that of the seeds has their `mean`, too.
    """
    places = ["point", "arm", "step"]
    low, high = (probed.of(name).set_index([*places, "trial"])["value"] for name in (quantity.low, quantity.high))
    ends = pd.DataFrame({"low": low, "high": high}).dropna().groupby(level=places)
    table = ends.mean() if quantity.one_moment else _over_seeds(low.groupby(level=places))
    return {key: part.droplevel(["point", "arm"]) for key, part in table.groupby(level=["point", "arm"])}


def _over_seeds(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"low": values.min(), "mean": values.mean(), "high": values.max()})


def _caption(probed: Probed, table: pd.DataFrame, points: Sequence[int], shown: Sequence[Quantity]) -> str:
    moments = any(quantity.one_moment for quantity in shown)
    seeds = seeds_in(table)
    ends = f", each the mean over {seeds} seeds" if seeds > 1 else ""
    smoothness = f"smoothness: mean over {seeds} seeds; band: lowest to highest seed" if seeds > 1 else ""
    return sentences(
        probed.seen(points),
        f"loss and gradient: lowest and highest over the step sizes of one moment{ends}" if moments else "",
        "gradients are relative, since with BN raw ones grow as weights shrink" if moments else "",
        smoothness if not all(quantity.one_moment for quantity in shown) else "",
        "one seed" if seeds == 1 else "",
        probed.diverged(points),
    )


def _handle(arm: str, style: ArmStyle) -> Line2D:
    return Line2D([], [], color=style.colour, linestyle=style.line, label=arm)


def _draw_panel(axes: Axes, bands: Bands, quantity: Quantity, point: int, styles: dict[str, ArmStyle]) -> None:
    dress(axes)
    mark_steps(axes)
    for arm, style in styles.items():
        if (band := bands.get((point, arm))) is not None:
            draw_band(axes, band["low"], band["high"], color=style.colour, alpha=0.15)
            for edge in ("low", "high") if quantity.one_moment else ("mean",):
                width = 1 if quantity.one_moment else 1.5
                draw_line(axes, band[edge], color=style.colour, linestyle=style.line, linewidth=width)
    low, high = min(band["low"].min() for band in bands.values()), max(band["high"].max() for band in bands.values())
    if 0 < low < high / _LOG_SPAN:
        axes.set_yscale("log")
