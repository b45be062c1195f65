"""Pairs: trials that differ in nothing but the arm, what each contributes, and statistics of their differences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bnexp.analysis.stats import (
    LARGEST,
    UNBOUNDED,
    Bounds,
    Interval,
    Values,
    differences,
    effect_size,
    first_reached,
    mean_interval,
    sign_flip_p,
)
from bnexp.analysis.study import METRICS, chosen_by, difference_bounds, lower_is_better

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


MEASURES = (
    "value",
    "gap",
    "epoch",
    "there",
    "seconds",
    "seconds_per_epoch",
    "seconds_per_step",
    "epochs",
    "validation",
)
"""Columns of `measured`."""


def measured(trials: pd.DataFrame, curves: pd.DataFrame, metric: str, threshold: float) -> pd.DataFrame:
    """Return MEASURES of every trial, in the order of `trials`; NaN is what was not measured.

    `value` is the metric; `gap` the final training accuracy minus that on test images, or validation images where
    nothing was tested; `epoch` and `there` the epoch and the seconds at the first record that reaches the threshold;
    `seconds` those of all steps, `epochs` how many were recorded; `validation` what chooses a grid point for the
    metric, infinite where a loss isn't finite.
    """
    numbers = trials["trial"]
    reached = first_reached(curves, METRICS[metric], threshold).reindex(numbers)
    last = curves.sort_values("step", kind="stable").drop_duplicates("trial", keep="last").set_index("trial")
    last = last.reindex(numbers)
    with np.errstate(divide="ignore", invalid="ignore"):
        return pd.DataFrame(
            {
                "value": trials[metric].to_numpy(dtype=float),
                "gap": (trials["final_train_accuracy"] - _unseen(trials)).to_numpy(dtype=float),
                "epoch": reached["epoch"].to_numpy(dtype=float),
                "there": reached["seconds"].to_numpy(dtype=float),
                "seconds": last["seconds"].to_numpy(dtype=float),
                "seconds_per_epoch": _ratio(last["seconds"], last["epoch"]),
                "seconds_per_step": _ratio(last["seconds"], last["step"]),
                "epochs": last["epoch"].to_numpy(dtype=float),
                "validation": _validation(trials, last, chosen_by(metric)),
            }
        )


def _validation(trials: pd.DataFrame, last: pd.DataFrame, column: str | None) -> np.ndarray:
    if column in trials:
        return trials[column].to_numpy(dtype=float)
    if column != "final_val_loss" or "val_loss" not in last:
        return np.full(len(trials), np.nan)
    # Where there are validation images, a blank loss is one that is not finite.
    loss, measured = last["val_loss"].to_numpy(dtype=float), trials["final_val_accuracy"].notna().to_numpy()
    return np.where(measured & np.isnan(loss), np.inf, loss)


def _unseen(trials: pd.DataFrame) -> pd.Series:
    tested = trials["final_test_accuracy"]
    return tested if tested.notna().any() else trials["final_val_accuracy"]


def _ratio(seconds: pd.Series, count: pd.Series) -> np.ndarray:
    return np.where(count > 0, seconds.to_numpy(dtype=float) / count.to_numpy(dtype=float), np.nan)


FOR_A_SPREAD = 2
"""Seeds that an interval takes."""


def complete(places: ArrayLike, seeds: ArrayLike, fewest: int = 1) -> NDArray[np.bool_]:
    """Mark the trials that a balanced mean takes: of the seeds that have a trial at every place.

    A seed that lacks a place would pull the mean towards the places that it has. Where too few seeds have all places,
    the place with the fewest seeds is left out (the last of several), and so on until enough seeds have all the rest.

    Args:
        places: number of each trial's grid point.
        seeds: each trial's seed; a seed has one trial at a place at most.
        fewest: how many seeds are enough, where a place has as many.
    """
    _, place = np.unique(places, return_inverse=True)
    _, seed = np.unique(seeds, return_inverse=True)
    there = np.zeros((place.max(initial=-1) + 1, seed.max(initial=-1) + 1), dtype=bool)
    there[place, seed] = True
    counts = there.sum(axis=1)
    by_count = np.argsort(-counts, kind="stable")  # the fewest seeds last
    kept = np.ones(len(there), dtype=bool)
    for place_with_fewest in by_count[::-1]:
        if np.all(there[kept], axis=0).sum() >= min(fewest, counts.max()):
            break
        kept[place_with_fewest] = False
    whole = np.asarray(np.all(there[kept], axis=0))
    marked: NDArray[np.bool_] = kept[place] & whole[seed]
    return marked


def balanced(trials: Any, place: str = "point") -> Any:
    """Return the trials that a balanced mean takes, of a frame or a record array; `place` names their grid points."""
    return trials[complete(trials[place], trials["seed"], FOR_A_SPREAD)]


@dataclass(frozen=True)
class PairedDifference(Interval):
    """The mean of treated - baseline over pairs, its interval, and the sign-flip test of "no difference"."""

    p: float | None
    """Two-sided; None below two pairs, where it would be 1 whatever the values are."""
    pairs: int


def paired_difference(
    treated: Values, baseline: Values, level: float = 0.95, bounds: Bounds = UNBOUNDED
) -> PairedDifference:
    """Return the mean paired difference with its t interval, cut at the bounds, and its sign-flip p.

    Values at the same place form a pair, so both need the same length.
    """
    sample = differences(treated, baseline)
    interval = mean_interval(sample, level, bounds)
    return PairedDifference(interval.mean, interval.low, interval.high, sign_flip_p(sample), pairs=sample.size)


def paired_fields(treated: Values, partners: Values, metric: str) -> dict[str, Any]:
    """Return what every kind of row says of its pairs of values of a metric."""
    found = paired_difference(treated, partners, bounds=difference_bounds(metric))
    return {
        "difference": found.mean,
        "difference_low": found.low,
        "difference_high": found.high,
        "effect": effect_size(differences(treated, partners)),
        "p": found.p,
        "better": better(treated, partners, lower=lower_is_better(metric)),
    }


def better(treated: Values, partners: Values, *, lower: bool) -> int | None:
    """Count the pairs in which the arm did better than the baseline; a tie is no win.

    What isn't finite is worse than any number, and two such values are a tie. None where every pair is such a tie.

    Args:
        treated, partners: values at the same place form a pair.
        lower: whether less is better.
    """
    ours, theirs = _ranked(treated, lower), _ranked(partners, lower)
    if ours.size and np.isinf(ours).all() and np.isinf(theirs).all():
        return None
    gains = differences(ours, theirs)
    return int(np.sum(gains < 0 if lower else gains > 0))


def _ranked(values: Values, lower: bool) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    return np.where(np.abs(sample) <= LARGEST, sample, inf if lower else -inf)
