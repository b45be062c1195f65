"""What the panels of all pictures of probes have in common: steps, lines and bands over them, a scale of colours."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import SubFigure
from matplotlib.ticker import EngFormatter, MaxNLocator

from bnexp.report.figures.sheet import GREY, PALE, SMALL

_MOST_STEPS = 200
"""A line through more points than this becomes pixels, so that an SVG stays small."""
_BAR = 0.15
"""Inches that the scale of colours is thick."""


def mark_steps(axes: Axes, *, grid: bool = True) -> None:
    """Give an axes the ticks of numbers of steps: whole, and 20k for 20,000."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(which="minor", labelsize=SMALL - 1, length=1.5, color=GREY)
    if grid:
        axes.grid(color=PALE, linewidth=0.6)


def draw_line(axes: Axes, values: pd.Series, **look: Any) -> None:
    """Draw values over the steps of their index: a line, or a dot where there is but one."""
    marker = "." if len(values) == 1 else ""
    axes.plot(values.index, values, marker=marker, rasterized=len(values) > _MOST_STEPS, **look)


def draw_band(axes: Axes, low: pd.Series, high: pd.Series, **look: Any) -> None:
    """Fill what lies between two values over the steps of their index."""
    axes.fill_between(low.index, low, high, linewidth=0, rasterized=len(low) > _MOST_STEPS, **look)


def draw_nothing(axes: Axes) -> None:
    """Say that a panel has no value to show."""
    axes.text(0.5, 0.5, "no value", transform=axes.transAxes, size=SMALL, color=GREY, ha="center", va="center")


def draw_bar(body: SubFigure, scale: ScalarMappable, label: str, height: float, extend: str) -> None:
    """Draw the scale of colours at the right of all panels; `extend`: the end that stands for more, or neither."""
    bar = body.colorbar(scale, ax=body.axes, aspect=height / _BAR, pad=0.02, extend=extend)
    bar.set_label(label, size=SMALL)
    bar.ax.tick_params(which="both", labelsize=SMALL - 1, color=GREY)
    bar.outline.set_visible(False)
