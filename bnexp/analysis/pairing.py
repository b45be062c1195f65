"""Which trials belong together: cells of some grid values and an arm, and pairs that differ by the arm alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FINISHED = ("completed", "diverged")
"""Outcomes with a result."""
DATA_SETS = ("data.name", "data.root")
"""Grid keys whose values are different data sets: a mean over them means nothing.

The numbers of images and their scaling make no other data set. Fewer test images are the first of the same ones, and
estimate the same accuracy; the number of training images is a setting like any other.
"""
INACTIVE = "inactive"
"""Column with the grid keys that have no effect on a trial: it would be the same training with their other values."""
IDENTITY = "identity"
"""Column whose values are equal for trials of an arm that train the same but for their seeds."""
PARTNERS = ("value", "epoch", "seconds", "seconds_per_step", "training")
"""Columns whose values of the baseline's trial stand beside a trial's own."""


def pair_trials(
    trials: pd.DataFrame, measures: pd.DataFrame, *, grid_keys: Sequence[str], baseline: str
) -> pd.DataFrame:
    """Return a row per trial, in the order of `trials`, with its place, its measures and its partner's.

    Columns: `trial`, `arm`, `seed`, `outcome`; `training`, see `trainings`; `point`, the number of the grid point in
    order of appearance; `finished` (completed or diverged); the measures; `partner_…` for each of PARTNERS, of the
    baseline's trial with the same seed and grid point; `paired`, whether both of them finished.
    """
    frame = trials[["trial", "arm", "seed", "outcome"]].reset_index(drop=True)
    frame["training"] = trainings(trials)
    frame["point"] = point_numbers(trials, grid_keys)
    frame[measures.columns] = measures.to_numpy()
    frame["finished"] = frame["outcome"].isin(FINISHED)
    partner = _partners(frame, (frame["finished"] & (frame["arm"] == baseline)).to_numpy())
    for name in PARTNERS:
        frame[f"partner_{name}"] = np.where(partner >= 0, frame[name].to_numpy()[partner], np.nan)
    # The partner's value may itself be NaN (a loss), so its place decides, not the value.
    frame["paired"] = frame["finished"] & (partner >= 0)
    return frame


def _partners(frame: pd.DataFrame, is_baseline: np.ndarray) -> np.ndarray:
    """Return the row of each trial's partner, -1 where there is none."""
    seeds, known = pd.factorize(frame["seed"])
    places = frame["point"].to_numpy() * len(known) + seeds
    row_at = np.full(places.max(initial=-1) + 1, -1)
    row_at[places[is_baseline]] = np.flatnonzero(is_baseline)
    partners: np.ndarray = row_at[places]
    return partners


def point_numbers(trials: pd.DataFrame, grid_keys: Sequence[str]) -> np.ndarray:
    """Return the number of each trial's grid point, counted from 0 in order of appearance."""
    if not grid_keys:
        return np.zeros(len(trials), dtype=int)
    # A blank is a grid value like any other: null in the YAML.
    return trials.groupby(list(grid_keys), sort=False, dropna=False).ngroup().to_numpy()


def trainings(trials: pd.DataFrame) -> np.ndarray:
    """Return the number of each trial's training: in joined runs one training may stand at several grid points."""
    if "number" not in trials:
        return np.arange(len(trials))
    return trials.groupby(["run", "number"], sort=False).ngroup().to_numpy()


def data_keys(trials: pd.DataFrame, grid_keys: Sequence[str]) -> tuple[str, ...]:
    """Return the grid keys that tell data sets apart; none where all trials are about the same images."""
    there = {key: trials.loc[active(trials, key), key] for key in grid_keys if key in DATA_SETS}
    return tuple(key for key, values in there.items() if values.nunique(dropna=False) > 1)


def active(trials: pd.DataFrame, key: str) -> NDArray[np.bool_]:
    """Tell on which trials a grid key has an effect; on all where the frame doesn't say."""
    if INACTIVE not in trials:
        return np.ones(len(trials), dtype=bool)
    return np.array([key not in keys for keys in trials[INACTIVE]], dtype=bool)


def distinct_points(trials: pd.DataFrame, grid_keys: Sequence[str]) -> NDArray[np.int_]:
    """Return the number of each trial's grid point, or of the first at which its arm trains the same.

    Points that differ only in settings without effect on the arm, or come to the same for it, are one point to it.
    """
    points: NDArray[np.int_] = point_numbers(trials, grid_keys)
    if IDENTITY not in trials:
        return points
    same = [trials[name].to_numpy() for name in ("arm", IDENTITY)]
    return pd.Series(points).groupby(same).transform("min").to_numpy()


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
    arms, names = pd.factorize(paired["arm"])
    numbers, _ = pd.factorize(places * len(names) + arms)  # in order of appearance
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    records = paired.to_records(index=False)[order]
    for start, cell in zip(starts, np.split(records, starts)[1:], strict=True):
        yield int(places[order[start]]), cell
