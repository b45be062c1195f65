"""What the probes found, before anything is drawn: finite values by grid point, arm and seed, layers in their order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.pairing import grid_points, point_numbers
from bnexp.report.labels import point_texts
from bnexp.report.panels import evenly
from bnexp.words import counted

MOST_POINTS, MOST_ARMS = 3, 4
"""Grid points in a figure at most; arms that stand side by side, beyond which one grid point is enough."""

_NOTHING = pd.DataFrame({name: [] for name in ("trial", "step", "layer", "value", "arm", "seed", "point")})


@dataclass(frozen=True)
class Probed:
    """The probes of a study's trials; failed trials and values that aren't finite are left out."""

    arms: tuple[str, ...]
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
        return tuple(arm for arm in self.arms if arm in there)

    def point_text(self, point: int) -> str:
        """Write a grid point."""
        return ", ".join(point_texts(self.points[point]))

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


def make_probed(trials: pd.DataFrame, probes: pd.DataFrame, *, grid_keys: Sequence[str], arms: Sequence[str]) -> Probed:
    """Return the probes, each beside what is known about its trial.

    Args:
        trials: `trial`, `arm`, `seed`, `outcome` and the grid keys.
        probes: the rows of probes.csv; of several with the same trial, step, layer and probe the last counts.
        grid_keys, arms: of the study.
    """
    places = trials.assign(point=point_numbers(trials, grid_keys))
    places = places.loc[
        (places["outcome"] != "failed") & places["arm"].isin(arms), ["trial", "arm", "seed", "point", "outcome"]
    ]
    values = pd.to_numeric(probes["value"], errors="coerce")
    finite = probes.assign(value=values, layer=probes["layer"].fillna(""))[np.isfinite(values)]
    last = finite.drop_duplicates(["trial", "step", "layer", "probe"], keep="last")
    known = last.merge(places.drop(columns="outcome"), on="trial")
    tables = {str(probe): table for probe, table in known.groupby("probe", sort=False)}
    return Probed(tuple(arms), tuple(grid_points(trials, grid_keys)), places, tables)


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
