"""What the curves of a run show, before anything is drawn: a panel per grid point, a curve per arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bnexp.analysis.pairing import grid_points, point_numbers

Axis = Literal["epoch", "step"]


@dataclass(frozen=True)
class ArmCurve:
    """One arm at one grid point, over its seeds."""

    arm: str
    x: np.ndarray
    """Epochs or steps, rising."""
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
) -> Panels:
    """Return at most `limit` panels, evenly spaced over the grid points with the first and the last.

    x is the epoch, or the step where a trial has several records in one epoch. A diverged trial that
    stopped early keeps its last value from there on, as it does in the table; failed trials are left out.
    """
    axis: Axis = "step" if curves.duplicated(["trial", "epoch"]).any() else "epoch"
    points = grid_points(trials, grid_keys)
    chosen = np.linspace(0, len(points) - 1, min(limit, len(points))).round().astype(int)
    trials = trials.assign(point=point_numbers(trials, grid_keys)).query("outcome != 'failed' and point in @chosen")
    records = curves[curves["trial"].isin(trials["trial"])].dropna(subset=[column])
    wide = records.pivot(index="trial", columns=axis, values=column)
    cells = dict(list(trials.groupby(["point", "arm"])))
    drawn = [[_curve(cells[i, arm], arm, wide) for arm in arms if (i, arm) in cells] for i in chosen]
    panels = [Panel(points[i], tuple(filter(None, row))) for i, row in zip(chosen, drawn, strict=True)]
    return Panels(axis=axis, panels=tuple(panels), total=len(points))


def _curve(cell: pd.DataFrame, arm: str, wide: pd.DataFrame) -> ArmCurve | None:
    """Return the curve of a grid point's trials of one arm; None without a record."""
    table = wide[wide.index.isin(cell["trial"])].dropna(axis="columns", how="all")
    if table.empty:
        return None
    diverged = table.loc[table.index.isin(cell.loc[cell["outcome"] == "diverged", "trial"])]
    last = [trial.dropna() for _, trial in diverged.iterrows()]
    table = pd.concat([table.drop(diverged.index), diverged.ffill(axis="columns")])
    return ArmCurve(
        arm=arm,
        x=table.columns.to_numpy(),
        seeds=len(table),
        mean=table.mean().to_numpy(),
        low=table.min().to_numpy(),
        high=table.max().to_numpy(),
        ends=tuple((float(trial.index[-1]), float(trial.iloc[-1])) for trial in last),
    )
