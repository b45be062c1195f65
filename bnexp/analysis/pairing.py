"""Which trials belong together: cells of some grid values and an arm, and pairs that differ by the arm alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

PARTNERS = ("value", "epoch", "seconds_per_step")
"""Measures of the baseline's trial that stand beside a trial's own."""


def pair_trials(
    trials: pd.DataFrame, measures: pd.DataFrame, *, grid_keys: Sequence[str], baseline: str
) -> pd.DataFrame:
    """Return a row per trial, in the order of `trials`, with its place, its measures and its partner's.

    Columns: `trial`, `arm`, `seed`, `outcome`; `point`, the number of the grid point in order of
    appearance; `finished` (completed or diverged); the measures; `partner_…` for each of PARTNERS, of the
    baseline's trial with the same seed and grid point; `paired`, whether both of them finished.
    """
    frame = trials[["trial", "arm", "seed", "outcome"]].reset_index(drop=True)
    frame["point"] = point_numbers(trials, grid_keys)
    frame = pd.concat([frame, measures.reset_index(drop=True)], axis=1)
    frame["finished"] = frame["outcome"].isin(["completed", "diverged"])
    baselines = frame[frame["finished"] & (frame["arm"] == baseline)]
    partners = baselines[["point", "seed", *PARTNERS]].rename(columns={name: f"partner_{name}" for name in PARTNERS})
    frame = frame.merge(partners, how="left", on=["point", "seed"], validate="many_to_one", indicator="match")
    # The partner's value may itself be NaN (a loss), so the match decides, not the value.
    frame["paired"] = frame["finished"] & (frame["match"] == "both")
    return frame.drop(columns="match")


def point_numbers(trials: pd.DataFrame, grid_keys: Sequence[str]) -> np.ndarray:
    """Return the number of each trial's grid point, counted from 0 in order of appearance."""
    if not grid_keys:
        return np.zeros(len(trials), dtype=int)
    # A blank is a grid value like any other: null in the YAML.
    return trials.groupby(list(grid_keys), sort=False, dropna=False).ngroup().to_numpy()


def grid_points(trials: pd.DataFrame, grid_keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the grid points as plain Python values, None for a blank; their places are their numbers."""
    if not grid_keys:
        return [{}]
    points = trials[list(grid_keys)].drop_duplicates().to_dict("records")
    return [{str(key): None if pd.isna(value) else value for key, value in point.items()} for point in points]


def cells(paired: pd.DataFrame, places: np.ndarray) -> Iterator[tuple[int, Any]]:
    """Yield each place and, arm by arm, its trials as a record array, in order of appearance.

    A record array reads like a frame (`cell["value"]`), and thousands of them cost next to nothing.

    Args:
        paired: trials as from `pair_trials`.
        places: number of the row of the table that each trial belongs to.
    """
    numbers = paired.assign(place=places).groupby(["place", "arm"], sort=False).ngroup().to_numpy()
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    records = paired.to_records(index=False)[order]
    for start, cell in zip(starts, np.split(records, starts)[1:], strict=True):
        yield int(places[order[start]]), cell
