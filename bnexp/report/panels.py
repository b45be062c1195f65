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
"""The most panels side by side, if a row has the values of one setting."""


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
    """Grid points of the study; the panels may show only some of them."""

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
    points = grid_points(study.trials, study.grid_keys)
    chosen = evenly(len(points), limit)
    trials = study.trials.assign(point=point_numbers(study.trials, study.grid_keys))
    trials = trials[trials["outcome"].ne("failed") & trials["point"].isin(chosen)].sort_values("trial")
    names = (column, "step", "seconds") if timed else (column, "step")
    x, tables = _tables(study.curves, trials["trial"].to_numpy(), study.axis, names)
    diverged = trials["outcome"].eq("diverged").to_numpy()
    since = np.where(diverged, trials["diverged_step"].to_numpy(dtype=float), np.inf)
    rows = trials.groupby(["point", "arm"]).indices
    drawn = [
        [_curve(arm, x, tables[:, rows[i, arm]], since[rows[i, arm]]) for arm in study.arms if (i, arm) in rows]
        for i in chosen
    ]
    panels = [Panel(points[i], tuple(filter(None, row))) for i, row in zip(chosen, drawn, strict=True)]
    return Panels(axis="seconds" if timed else study.axis, panels=tuple(panels), total=len(points))


def shown_column(study: Study, metric: str) -> str:
    """Return the accuracy that goes with a metric, or the first of test, validation and training that was measured."""
    columns = (METRICS[metric], "test_accuracy", "val_accuracy", "train_accuracy")
    return next((name for name in columns if study.curves[name].notna().any()), columns[-1])


def evenly(count: int, limit: int) -> list[int]:
    """Return at most `limit` of the numbers below `count`, evenly spaced, with the first and the last."""
    return [int(place) for place in np.linspace(0, count - 1, min(limit, count)).round()]


def distinct(values: Iterable[T]) -> list[T]:
    """Return values without repetitions, in order of appearance; mappings may be among them."""
    return list({repr(value): value for value in values}.values())


def in_order(values: Iterable[Any]) -> list[Any]:
    """Return distinct values in the order of an axis: numbers rising, then others in order of appearance."""
    known = distinct(values)
    return [*sorted(filter(is_number, known)), *(value for value in known if not is_number(value))]


def panel_columns(points: Sequence[Mapping[str, Any]]) -> int:
    """Return how many panels are in a row.

    If settings are crossed, a row has all values of the last one; otherwise it has at most four panels, or three if
    that leaves fewer empty places.
    """
    count = len(points)
    rows = [tuple(map(repr, point.values())) for point in points]
    across = len({row[-1] for row in rows}) if rows and len(rows[0]) > 1 else 0
    if 1 < across <= MOST_COLUMNS and count % across == 0:
        blocks = [rows[start : start + across] for start in range(0, count, across)]
        if all(len({row[:-1] for row in block}) == 1 for block in blocks):
            return across
    return max(1, count) if count <= 4 else min((4, 3), key=lambda columns: -count % columns)


def _tables(curves: pd.DataFrame, trials: np.ndarray, axis: str, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of an axis, and a table for each of some columns of the curves.

    A table has a row per trial. It holds NaN where the trial has no record in which the first column is finite.
    """
    recorded = curves["trial"].to_numpy(dtype=int)
    row_of = np.full(1 + max(recorded.max(initial=0), trials.max(initial=0)), -1)
    row_of[trials] = np.arange(len(trials))
    rows = row_of[recorded]
    kept = np.flatnonzero((rows >= 0) & np.isfinite(curves[names[0]].to_numpy(dtype=float)))
    places, x = pd.factorize(curves[axis].to_numpy()[kept], sort=True)
    tables = np.full((len(names), len(trials), len(x)), np.nan)
    for table, name in zip(tables, names, strict=True):
        table[rows[kept], places] = curves[name].to_numpy()[kept]
    return x, tables


def _curve(arm: str, x: np.ndarray, tables: np.ndarray, since: np.ndarray) -> ArmCurve | None:
    """Return the curve of a grid point's trials of one arm; None without a record.

    Args:
        arm: its name.
        x: epochs or steps.
        tables: of the values and the steps, and of the seconds where these are to be x; with the rows of the trials.
        since: the steps at which they diverged; NaN where that isn't known, infinite where they didn't.
    """
    known = ~np.isnan(tables[0])
    trials, moments = known.any(axis=1), known.any(axis=0)
    if not trials.any():
        return None
    values, steps, *times = tables[:, trials][:, :, moments]
    x, since = _elapsed(*times) if times else x[moments], since[trials]
    diverged = np.flatnonzero(since != np.inf)
    crosses = tuple(_cross(since[trial], x, steps[trial], values[trial]) for trial in diverged)
    for trial in diverged:
        values[trial] = _held(values[trial])
    low, high = np.fmin.reduce(values), np.fmax.reduce(values)
    return ArmCurve(arm=arm, x=x, seeds=len(values), mean=_means(values), low=low, high=high, crosses=crosses)


def _held(values: np.ndarray) -> np.ndarray:
    """Return values with the last known one in place of each NaN after it."""
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    return values[last]


def _means(values: np.ndarray) -> np.ndarray:
    """Return the mean of the known values in each column; 0 without any."""
    return np.asarray(np.nansum(values, axis=0) / np.maximum((~np.isnan(values)).sum(axis=0), 1))


def _cross(step: float, x: np.ndarray, steps: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return where a trial's line is at the step at which it diverged, or its end where that isn't known.

    Args:
        step: NaN where it isn't known.
        x, steps, values: of the records; NaN where the trial has none.
    """
    known = ~np.isnan(steps)
    step = steps[known][-1] if np.isnan(step) else step
    return float(np.interp(step, steps[known], x[known])), float(np.interp(step, steps[known], values[known]))


def _elapsed(times: np.ndarray) -> np.ndarray:
    """Return the mean over the trials of the seconds at each record.

    Means are taken from record to record, so that time doesn't jump where a slower or faster trial stops.
    """
    return np.cumsum(_means(np.diff(times, axis=1, prepend=0)))
