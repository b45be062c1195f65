"""Shared by all pictures of probes: the measured values, a panel per arm, and lines and bands over steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.analysis.pairing import grid_points, point_numbers
from bnexp.analysis.study import Study
from bnexp.config.text import counted
from bnexp.report.figures.frame import SMALL, WIDE, count_ticks, join_caption, panel_figure, shorten_text
from bnexp.report.panels import evenly
from bnexp.report.style import GREY, PALE, ArmStyle, arm_styles, point_title

MOST_POINTS, MOST_ARMS = 3, 4
"""Most grid points in a figure; most arms side by side. With more arms one grid point is drawn."""
_NARROWEST, _BESIDE = 4.5, 1.3
"""Inches: the least width of a figure with square panels; the space left and right of them."""
_MOST_STEPS = 200
"""A line through more points than this becomes pixels, so that an SVG stays small."""
_NOTHING = pd.DataFrame({name: [] for name in ("trial", "step", "layer", "value", "arm", "seed", "point")})

Column = TypeVar("Column")


@dataclass(frozen=True)
class Probed:
    """The probes of a study's trials; failed trials and values that aren't finite are left out."""

    study: Study
    title: str
    """Title of the figures."""
    points: tuple[dict[str, Any], ...]
    """All grid points; a table's `point` is a place in here."""
    trials: pd.DataFrame
    """`trial`, `arm`, `seed`, `point`, `outcome`."""
    tables: Mapping[str, pd.DataFrame]
    """By probe, rows of `trial`, `step`, `layer`, `value`, `arm`, `seed`, `point`."""

    def of(self, *probes: str) -> pd.DataFrame:
        """Return the rows of probes, none where these were not taken."""
        return pd.concat([self.tables.get(probe, _NOTHING) for probe in probes])

    @property
    def styles(self) -> dict[str, ArmStyle]:
        """How the arms look."""
        return arm_styles(self.study.arms)

    def choose(self, table: pd.DataFrame, most: int = MOST_POINTS) -> tuple[pd.DataFrame, list[int], dict[str, str]]:
        """Return a table's rows at `points_of` it, these points, and what the arms are called that the table has."""
        there, points = set(table["arm"]), points_of(table, most)
        arms = {arm: self.study.label(arm) for arm in self.study.arms if arm in there}
        return table[table["point"].isin(points)], points, arms

    def point_texts(self, points: Sequence[int]) -> list[str]:
        """Return the texts beside the rows of grid points; empty if there is only one."""
        return [point_title(self.points[point]) for point in points] if len(points) > 1 else [""]

    def caption(self, points: Sequence[int], *parts: str) -> str:
        """Return a caption: which grid points are drawn, if not all; more text; how many trials diverged."""
        shown = ""
        if len(points) < len(self.points):
            shown = f"showing {len(points)} of {len(self.points)} grid points"
            if len(points) == 1:
                shown = f"at {point_title(self.points[points[0]])}, one of {len(self.points)} grid points"
        outcomes = self.trials.loc[self.trials["point"].isin(points), "outcome"]
        count = int((outcomes == "diverged").sum())
        ended = f"{count} of {counted(len(outcomes), 'trial')} diverged; what is not finite is left out"
        return join_caption(shown, *parts, ended if count else "")


def make_probed(study: Study, title: str) -> Probed:
    """Return a study's probes, with the facts about their trials, for figures with a title.

    The last of several rows with the same trial, step, layer and probe counts.
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
    return Probed(study, title, tuple(grid_points(study.trials, study.grid_keys)), places, tables)


def points_of(table: pd.DataFrame, most: int = MOST_POINTS) -> list[int]:
    """Return at most this many grid points of a table, evenly spaced with both ends; with many arms the middle one."""
    there = sorted(int(point) for point in table["point"].unique())
    if most == 1 or table["arm"].nunique() > MOST_ARMS:
        some = [there[place] for place in evenly(len(there), MOST_POINTS)]
        return [some[len(some) // 2]]
    return [there[place] for place in evenly(len(there), most)]


def layers_of(table: pd.DataFrame) -> list[str]:
    """Return the layers of a table in the order in which data pass them, also those that only some trials have."""
    order: list[str] = []
    for names in dict.fromkeys(tuple(layers.unique()) for _, layers in table.groupby("trial", sort=False)["layer"]):
        place = 0
        for name in names:
            if name in order:
                place = order.index(name)
            else:
                order.insert(place, name)
            place += 1
    return order


def seeds_in(table: pd.DataFrame) -> int:
    """Return the largest number of seeds that an arm has at a grid point."""
    return int(table.groupby(["point", "arm"])["seed"].nunique().max())


def seeds_text(table: pd.DataFrame, statistic: str) -> str:
    """Write over how many seeds the statistic is taken."""
    seeds = seeds_in(table)
    return "one seed" if seeds == 1 else f"{statistic} over {seeds} seeds"


def probe_figure(
    probed: Probed,
    rows: Sequence[str],
    columns: Mapping[Column, str],
    height: float,
    *,
    square: bool = False,
    xlabel: str = "step",
    **more: Any,
) -> tuple[Figure, dict[tuple[int, Column], Axes]]:
    """Return a figure, and its empty panels by the row's place and the column.

    If there are more than MOST_ARMS columns, all rows are repeated for the next ones.

    Args:
        probed: has the title.
        rows: the text beside each row; may be empty.
        columns: the text above each column.
        height: inches of a panel.
        square: make panels square instead of filling the width.
        xlabel: of all panels.
        more: other arguments of `panel_figure`.
    """
    across = ceil(len(columns) / ceil(len(columns) / MOST_ARMS))
    padded = [*columns, *[None] * (-len(columns) % across)]
    places = [
        (row, column)
        for start in range(0, len(padded), across)
        for row in range(len(rows))
        for column in padded[start : start + across]
    ]
    titles = [None if column is None else "" if row else columns[column] for row, column in places]
    width = min(max(_BESIDE + across * (height + 0.1), _NARROWEST), WIDE) if square else None
    figure, drawn = panel_figure(titles, across, title=probed.title, xlabel=xlabel, width=width, height=height, **more)
    panels = dict(zip([(row, column) for row, column in places if column is not None], drawn, strict=True))
    for row, text in enumerate(rows):
        for first in list(columns)[::across]:
            panels[row, first].set_ylabel(shorten_text(text, height - 0.1, SMALL), size=SMALL, parse_math=False)
    return figure, panels


def mark_steps(axes: Axes, steps: pd.Series, *, grid: bool = True) -> None:
    """Give an axes the ticks of numbers of steps; a single step is its only tick."""
    count_ticks(axes.xaxis, 4)
    if steps.nunique() == 1:
        axes.set_xticks([steps.iloc[0]])
    if grid:
        axes.grid(color=PALE, linewidth=0.6)


def draw_line(axes: Axes, values: pd.Series, **look: Any) -> None:
    """Draw values over the steps of their index: a line, or a dot if there is only one."""
    marker = "." if len(values) == 1 else ""
    axes.plot(values.index, values, marker=marker, rasterized=len(values) > _MOST_STEPS, **look)


def draw_band(axes: Axes, low: pd.Series, high: pd.Series, **look: Any) -> None:
    """Fill the area between two values over the steps of their index."""
    axes.fill_between(low.index, low, high, linewidth=0, rasterized=len(low) > _MOST_STEPS, **look)


def draw_nothing(axes: Axes) -> None:
    """Write that a panel has no value to show."""
    axes.text(0.5, 0.5, "no value", transform=axes.transAxes, size=SMALL, color=GREY, ha="center", va="center")
