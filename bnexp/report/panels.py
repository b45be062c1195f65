"""The curves of a study as numbers for any drawing: a panel per grid point, a curve per arm."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from bnexp.analysis.pairing import grid_points, point_numbers
from bnexp.analysis.study import METRICS, Study, is_number

Axis = Literal["epoch", "step", "seconds"]
T = TypeVar("T")

MOST_COLUMNS = 6
"""Panels side by side at most, where a row is made of the values of one setting."""


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
    """(x, value) on each diverged trial's own line, at the step at which it diverged."""


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
    """Grid points of the study, of which the panels may be a choice."""

    @property
    def curves(self) -> list[ArmCurve]:
        """The curves of all panels."""
        return [curve for panel in self.panels for curve in panel.curves]

    @property
    def columns(self) -> int:
        """Panels in a row."""
        return panel_columns([panel.point for panel in self.panels])


def make_panels(study: Study, column: str, *, limit: int, timed: bool = False) -> Panels:
    """Return at most `limit` panels, evenly spaced over the grid points with the first and the last.

    x is the epoch, or the step where a trial has several records in one epoch; if timed, the mean over
    the seeds of the seconds until then. A diverged trial that stopped early keeps its last value from
    there on, as it does in the table; failed trials and values that aren't finite are left out.
    """
    trials, curves = study.trials, study.curves
    axis: Axis = "step" if curves.duplicated(["trial", "epoch"]).any() else "epoch"
    points = grid_points(trials, study.grid_keys)
    chosen = evenly(len(points), limit)
    trials = trials.assign(point=point_numbers(trials, study.grid_keys))
    trials = trials.query("outcome != 'failed' and point in @chosen")
    records = curves[curves["trial"].isin(trials["trial"]) & np.isfinite(curves[column])]
    tables = {name: records.pivot(index="trial", columns=axis, values=name) for name in {column, "step"}}
    times = records.pivot(index="trial", columns=axis, values="seconds") if timed else None
    cells = dict(list(trials.groupby(["point", "arm"])))
    drawn = [
        [_curve(cells[i, arm], arm, tables[column], tables["step"], times) for arm in study.arms if (i, arm) in cells]
        for i in chosen
    ]
    panels = [Panel(points[i], tuple(filter(None, row))) for i, row in zip(chosen, drawn, strict=True)]
    return Panels(axis="seconds" if timed else axis, panels=tuple(panels), total=len(points))


def shown_column(study: Study, metric: str) -> str:
    """Return the accuracy that goes with a metric, or the first of test, validation and training that was measured."""
    columns = (METRICS[metric], "test_accuracy", "val_accuracy", "train_accuracy")
    return next((name for name in columns if study.curves[name].notna().any()), columns[-1])


def evenly(count: int, limit: int) -> list[int]:
    """Return at most `limit` of the numbers below `count`, evenly spaced, with the first and the last."""
    return [int(place) for place in np.linspace(0, count - 1, min(limit, count)).round()]


def distinct(values: Iterable[T]) -> list[T]:
    """Return values without repetitions, in the order in which they first come; mappings may be among them."""
    return list({repr(value): value for value in values}.values())


def in_order(values: Iterable[Any]) -> list[Any]:
    """Return distinct values as they come along an axis: numbers rising, then others as they first come."""
    known = distinct(values)
    return [*sorted(filter(is_number, known)), *(value for value in known if not is_number(value))]


def panel_columns(points: Sequence[Mapping[str, Any]]) -> int:
    """Return how many panels stand in a row.

    Where settings are crossed, a row has all values of the last one; otherwise four panels at most, or three where that
    leaves fewer empty places.
    """
    count = len(points)
    rows = [tuple(map(repr, point.values())) for point in points]
    across = len({row[-1] for row in rows}) if rows and len(rows[0]) > 1 else 0
    if 1 < across <= MOST_COLUMNS and count % across == 0:
        blocks = [rows[start : start + across] for start in range(0, count, across)]
        if all(len({row[:-1] for row in block}) == 1 for block in blocks):
            return across
    return max(1, count) if count <= 4 else min((4, 3), key=lambda columns: -count % columns)


def _curve(
    cell: pd.DataFrame, arm: str, wide: pd.DataFrame, steps: pd.DataFrame, times: pd.DataFrame | None
) -> ArmCurve | None:
    """Return the curve of a grid point's trials of one arm; None without a record."""
    rows = wide.index.get_indexer(pd.Index(cell["trial"]))
    table = wide.iloc[np.sort(rows[rows >= 0])].dropna(axis="columns", how="all")
    if table.empty:
        return None
    x = table.columns.to_numpy() if times is None else _elapsed(times.loc[table.index, table.columns])
    since = cell[cell["outcome"] == "diverged"].set_index("trial")["diverged_step"]
    diverged = table.loc[table.index.isin(since.index)]
    crosses = [
        _cross(since[trial], x, steps.loc[trial, table.columns].to_numpy(), diverged.loc[trial].to_numpy())
        for trial in diverged.index
    ]
    if len(diverged):
        table = pd.concat([table.drop(diverged.index), diverged.ffill(axis="columns")])
    return ArmCurve(
        arm=arm,
        x=x,
        seeds=len(table),
        mean=table.mean().to_numpy(),
        low=table.min().to_numpy(),
        high=table.max().to_numpy(),
        crosses=tuple(crosses),
    )


def _cross(step: float, x: np.ndarray, steps: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return where a trial's line is at the step at which it diverged, or its end where that isn't known.

    Args:
        step: NaN where it isn't known.
        x, steps, values: of the records; NaN where the trial has none.
    """
    known = ~np.isnan(steps)
    step = steps[known][-1] if np.isnan(step) else step
    return float(np.interp(step, steps[known], x[known])), float(np.interp(step, steps[known], values[known]))


def _elapsed(times: pd.DataFrame) -> np.ndarray:
    """Return the mean over the trials of the seconds at each record.

    From record to record, so that time doesn't jump where a trial slower or faster than the rest stops.
    """
    steps = times.diff(axis="columns")
    steps.iloc[:, 0] = times.iloc[:, 0]
    return steps.mean().fillna(0).cumsum().to_numpy()
