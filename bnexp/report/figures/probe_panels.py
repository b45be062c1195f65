"""What all pictures of probes share: the measured values, a panel per arm, and lines and bands over steps."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import EngFormatter, MaxNLocator

from bnexp.analysis.pairing import grid_points, point_numbers
from bnexp.analysis.study import Study
from bnexp.config.text import counted
from bnexp.report.figures.frame import SMALL, new_figure, shorten_text, style_axes, wrap_text
from bnexp.report.panels import evenly
from bnexp.report.style import GREY, PALE, point_title

MOST_POINTS, MOST_ARMS = 3, 4
"""Grid points in a figure at most; arms that stand side by side, beyond which one grid point is enough."""

_NOTHING = pd.DataFrame({name: [] for name in ("trial", "step", "layer", "value", "arm", "seed", "point")})


@dataclass(frozen=True)
class Probed:
    """The probes of a study's trials; failed trials and values that aren't finite are left out."""

    study: Study
    points: tuple[dict[str, Any], ...]
    """All grid points; a table's `point` is a place in here."""
    trials: pd.DataFrame
    """`trial`, `arm`, `seed`, `point`, `outcome`."""
    tables: Mapping[str, pd.DataFrame]
    """By probe, rows of `trial`, `step`, `layer`, `value`, `arm`, `seed`, `point`."""

    def of(self, probe: str) -> pd.DataFrame:
        """Return the table of a probe, empty where it was not taken."""
        return self.tables.get(probe, _NOTHING)

    def arms_in(self, table: pd.DataFrame) -> tuple[str, ...]:
        """Return the arms that a table has values of."""
        there = set(table["arm"])
        return tuple(arm for arm in self.study.arms if arm in there)

    def point_text(self, point: int) -> str:
        """Write a grid point."""
        return point_title(self.points[point])

    def seen(self, points: Sequence[int]) -> str:
        """Say which grid points are drawn, where that isn't all of them."""
        if len(points) == len(self.points):
            return ""
        if len(points) == 1:
            return f"at {self.point_text(points[0])}, one of {len(self.points)} grid points"
        return f"showing {len(points)} of {len(self.points)} grid points"

    def diverged(self, points: Sequence[int]) -> str:
        """Say how many trials diverged at some grid points."""
        outcomes = self.trials.loc[self.trials["point"].isin(points), "outcome"]
        count = int((outcomes == "diverged").sum())
        return f"{count} of {counted(len(outcomes), 'trial')} diverged; what is not finite is left out" if count else ""


def make_probed(study: Study) -> Probed:
    """Return a study's probes, each beside what is known about its trial.

    Of several rows with the same trial, step, layer and probe the last counts.
    """
    assert study.probes is not None
    places = study.trials.assign(point=point_numbers(study.trials, study.grid_keys))
    kept = (places["outcome"] != "failed") & places["arm"].isin(study.arms)
    places = places.loc[kept, ["trial", "arm", "seed", "point", "outcome"]]
    values = pd.to_numeric(study.probes["value"], errors="coerce")
    finite = study.probes.assign(value=values, layer=study.probes["layer"].fillna(""))[np.isfinite(values)]
    last = finite.drop_duplicates(["trial", "step", "layer", "probe"], keep="last")
    known = last.merge(places.drop(columns="outcome"), on="trial")
    tables = {str(probe): table for probe, table in known.groupby("probe", sort=False)}
    return Probed(study, tuple(grid_points(study.trials, study.grid_keys)), places, tables)


def points_of(table: pd.DataFrame) -> list[int]:
    """Return at most MOST_POINTS grid points of a table, evenly spaced with both ends; of many arms the middle one."""
    there = sorted(table["point"].unique())
    some = [int(there[place]) for place in evenly(len(there), MOST_POINTS)]
    return some if table["arm"].nunique() <= MOST_ARMS else middle(some)


def middle(points: Sequence[int]) -> list[int]:
    """Return the one in the middle."""
    return [points[len(points) // 2]]


def layers_of(table: pd.DataFrame) -> list[str]:
    """Return the layers of a table as data pass them; those that only some trials have stand among the others."""
    per_trial = (tuple(layers.unique()) for _, layers in table.groupby("trial", sort=False)["layer"])
    return _in_order(dict.fromkeys(per_trial))


def _in_order(sequences: Iterable[Sequence[str]]) -> list[str]:
    order: list[str] = []
    for names in sequences:
        place = 0
        for name in names:
            if name in order:
                place = order.index(name)
            else:
                order.insert(place, name)
            place += 1
    return order


def seeds_in(table: pd.DataFrame) -> int:
    """Return how many seeds an arm has at one grid point, at most."""
    return int(table.groupby(["point", "arm"])["seed"].nunique().max())


def seeds_text(table: pd.DataFrame, statistic: str) -> str:
    """Say over how many seeds the statistic is taken."""
    seeds = seeds_in(table)
    return "one seed" if seeds == 1 else f"{statistic} over {seeds} seeds"


NARROW, WIDE = 5.6, 8.0
"""Widths in inches: of a figure with one column, and with several."""
_NARROWEST = 4.5
"""Inches: where the panels would let a figure be narrower."""

_BESIDE = 1.3
"""Inches: what stands left and right of the panels."""
_TITLE_LINE, _BELOW = 0.14, 0.45
"""Inches: a line of a panel's title, the ticks and the label under the last row."""


@dataclass(frozen=True)
class Facets:
    """Where the panels stand; beyond MOST_ARMS arms all rows come again for the next ones."""

    rows: tuple[str, ...]
    """What is written beside each row; nothing where it is empty."""
    arms: tuple[str, ...]
    row_height: float
    """Inches."""
    square: bool = False
    """Whether panels are as wide as high, rather than as wide as there is room."""

    @property
    def columns(self) -> int:
        """Panels side by side: as many as leave the fewest places empty."""
        return ceil(len(self.arms) / ceil(len(self.arms) / MOST_ARMS))

    @property
    def width(self) -> float:
        """Inches of the figure."""
        if self.square:
            return min(max(_BESIDE + self.columns * (self.row_height + 0.1), _NARROWEST), WIDE)
        return WIDE if self.columns > 1 else NARROW

    @property
    def panel_width(self) -> float:
        """Inches of a panel, about."""
        return (self.width - _BESIDE) / self.columns - 0.1

    @property
    def height(self) -> float:
        """Inches of all panels with what is written at them."""
        lines = ceil(len(self.arms) / self.columns)
        titles = max(self._title(arm).count("\n") + 1 for arm in self.arms)
        return lines * (len(self.rows) * self.row_height + titles * _TITLE_LINE + 0.1) + _BELOW

    def sheet(self, title: str, caption: str, handles: Sequence[Artist]) -> tuple[Figure, SubFigure]:
        """Return a figure with room for the panels, and its part for them."""
        return new_figure(title=title, caption=caption, handles=handles, width=self.width, height=self.height)

    def panels(self, body: SubFigure, sharey: bool | Literal["row"] = True) -> Iterator[tuple[int, str, Axes]]:
        """Make the panels; yield the place of each one's row in `rows`, its arm and its axes."""
        lines = ceil(len(self.arms) / self.columns)
        grid = body.subplots(lines * len(self.rows), self.columns, sharex=True, sharey=sharey, squeeze=False)
        for line, across in enumerate(grid):
            block, row = divmod(line, len(self.rows))
            if self.rows[row]:
                across[0].set_ylabel(
                    shorten_text(self.rows[row], self.row_height - 0.1, SMALL), size=SMALL, parse_math=False
                )
            arms = self.arms[block * self.columns : (block + 1) * self.columns]
            for axes in across[len(arms) :]:
                axes.remove()
            for arm, axes in zip(arms, across, strict=False):
                style_axes(axes)
                # Under the last panel of a column that is one short there is no other to carry the ticks.
                below = (block + 1) * self.columns + list(arms).index(arm)
                axes.tick_params(labelbottom=row == len(self.rows) - 1 and below >= len(self.arms))
                if row == 0:
                    axes.set_title(self._title(arm), size=SMALL, parse_math=False)
                yield row, arm, axes

    def _title(self, arm: str) -> str:
        return wrap_text(arm, self.panel_width, SMALL)


def row_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """Return what is written beside the rows: nothing where there is but one."""
    return tuple(texts) if len(texts) > 1 else ("",)


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
