"""What the curves of a run show, before anything is drawn: a panel per grid point, a curve per arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bnexp.analysis.pairing import grid_points, point_numbers

Axis = Literal["epoch", "step", "seconds"]


@dataclass(frozen=True)
class ArmCurve:
    """One arm at one grid point, over its seeds."""

    arm: str
    x: np.ndarray
    """Epochs, steps or seconds, never falling."""
    seeds: int
    mean: np.ndarray
    low: np.ndarray
    """The lowest seed at each x."""
    high: np.ndarray
    """The highest seed at each x."""
    ends: tuple[tuple[float, float], ...]
    """The last record (x, value) of each diverged trial."""


@dataclass(frozen=True)
class Panel:
    """One grid point."""

    point: dict[str, Any]
    curves: tuple[ArmCurve, ...]


@dataclass(frozen=True)
class Panels:
    """The panels of a figure."""

    axis: Axis
    panels: tuple[Panel, ...]
    total: int
    """Grid points of the run, of which the panels may be a choice."""


def make_panels(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    grid_keys: Sequence[str],
    arms: Sequence[str],
    column: str,
    limit: int,
    timed: bool = False,
) -> Panels:
    """Return at most `limit` panels, evenly spaced over the grid points with the first and the last.

    x is the epoch, or the step where a trial has several records in one epoch; if timed, the mean over
    the seeds of the seconds until then. A diverged trial that stopped early keeps its last value from
    there on, as it does in the table; failed trials are left out.
    """
    axis: Axis = "step" if curves.duplicated(["trial", "epoch"]).any() else "epoch"
    points = grid_points(trials, grid_keys)
    chosen = evenly(len(points), limit)
    trials = trials.assign(point=point_numbers(trials, grid_keys)).query("outcome != 'failed' and point in @chosen")
    records = curves[curves["trial"].isin(trials["trial"])].dropna(subset=[column])
    wide = records.pivot(index="trial", columns=axis, values=column)
    times = records.pivot(index="trial", columns=axis, values="seconds") if timed else None
    cells = dict(list(trials.groupby(["point", "arm"])))
    drawn = [[_curve(cells[i, arm], arm, wide, times) for arm in arms if (i, arm) in cells] for i in chosen]
    panels = [Panel(points[i], tuple(filter(None, row))) for i, row in zip(chosen, drawn, strict=True)]
    return Panels(axis="seconds" if timed else axis, panels=tuple(panels), total=len(points))


def evenly(count: int, limit: int) -> list[int]:
    """Return at most `limit` of the numbers below `count`, evenly spaced, with the first and the last."""
    return [int(place) for place in np.linspace(0, count - 1, min(limit, count)).round()]


def _curve(cell: pd.DataFrame, arm: str, wide: pd.DataFrame, times: pd.DataFrame | None) -> ArmCurve | None:
    """Return the curve of a grid point's trials of one arm; None without a record."""
    table = wide[wide.index.isin(cell["trial"])].dropna(axis="columns", how="all")
    if table.empty:
        return None
    x = table.columns.to_numpy() if times is None else _elapsed(times.loc[table.index, table.columns])
    diverged = table.loc[table.index.isin(cell.loc[cell["outcome"] == "diverged", "trial"])]
    stops = [(np.flatnonzero(trial.notna())[-1], trial.dropna().iloc[-1]) for _, trial in diverged.iterrows()]
    table = pd.concat([table.drop(diverged.index), diverged.ffill(axis="columns")])
    return ArmCurve(
        arm=arm,
        x=x,
        seeds=len(table),
        mean=table.mean().to_numpy(),
        low=table.min().to_numpy(),
        high=table.max().to_numpy(),
        ends=tuple((float(x[place]), float(value)) for place, value in stops),
    )


def _elapsed(times: pd.DataFrame) -> np.ndarray:
    """Return the mean over the trials of the seconds at each record.

    From record to record, so that time doesn't jump where a trial slower or faster than the rest stops.
    """
    steps = times.diff(axis="columns")
    steps.iloc[:, 0] = times.iloc[:, 0]
    return steps.mean().fillna(0).cumsum().to_numpy()
