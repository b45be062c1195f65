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
    crosses: tuple[tuple[float, float], ...]
    """(x, value) of the first record at which each diverged trial had diverged."""


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
    there on, as it does in the table; failed trials are left out. A curve's crosses are at its trials'
    `diverged_step`, or at their last value where there is none from then on.
    """
    axis: Axis = "step" if curves.duplicated(["trial", "epoch"]).any() else "epoch"
    points = grid_points(trials, grid_keys)
    chosen = evenly(len(points), limit)
    trials = trials.assign(point=point_numbers(trials, grid_keys)).query("outcome != 'failed' and point in @chosen")
    records = curves[curves["trial"].isin(trials["trial"])].dropna(subset=[column])
    wide = records.pivot(index="trial", columns=axis, values=column)
    steps = records.pivot(index="trial", columns=axis, values="step")
    times = records.pivot(index="trial", columns=axis, values="seconds") if timed else None
    cells = dict(list(trials.groupby(["point", "arm"])))
    drawn = [[_curve(cells[i, arm], arm, wide, steps, times) for arm in arms if (i, arm) in cells] for i in chosen]
    panels = [Panel(points[i], tuple(filter(None, row))) for i, row in zip(chosen, drawn, strict=True)]
    return Panels(axis="seconds" if timed else axis, panels=tuple(panels), total=len(points))


def evenly(count: int, limit: int) -> list[int]:
    """Return at most `limit` of the numbers below `count`, evenly spaced, with the first and the last."""
    return [int(place) for place in np.linspace(0, count - 1, min(limit, count)).round()]


def _curve(
    cell: pd.DataFrame, arm: str, wide: pd.DataFrame, steps: pd.DataFrame, times: pd.DataFrame | None
) -> ArmCurve | None:
    """Return the curve of a grid point's trials of one arm; None without a record."""
    table = wide[wide.index.isin(cell["trial"])].dropna(axis="columns", how="all")
    if table.empty:
        return None
    x = table.columns.to_numpy() if times is None else _elapsed(times.loc[table.index, table.columns])
    since = cell[cell["outcome"] == "diverged"].set_index("trial")["diverged_step"]
    diverged = table.loc[table.index.isin(since.index)]
    places = {trial: _first_from(since[trial], steps.loc[trial, table.columns].to_numpy()) for trial in diverged.index}
    table = pd.concat([table.drop(diverged.index), diverged.ffill(axis="columns")])
    return ArmCurve(
        arm=arm,
        x=x,
        seeds=len(table),
        mean=table.mean().to_numpy(),
        low=table.min().to_numpy(),
        high=table.max().to_numpy(),
        crosses=tuple((float(x[place]), float(diverged.loc[trial].iloc[place])) for trial, place in places.items()),
    )


def _first_from(step: float, steps: np.ndarray) -> int:
    """Return the place of the first of a trial's records from a step on, or of its last where there is none.

    Args:
        step: NaN where it isn't known.
        steps: of the records; NaN where the trial has none.
    """
    later = np.flatnonzero(steps >= step)
    return int(later[0] if later.size else np.flatnonzero(~np.isnan(steps))[-1])


def _elapsed(times: pd.DataFrame) -> np.ndarray:
    """Return the mean over the trials of the seconds at each record.

    From record to record, so that time doesn't jump where a trial slower or faster than the rest stops.
    """
    steps = times.diff(axis="columns")
    steps.iloc[:, 0] = times.iloc[:, 0]
    return steps.mean().fillna(0).cumsum().to_numpy()
