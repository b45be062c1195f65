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
    deviation,
    differences,
    effect_size,
    first_reached,
    last_records,
    mean_interval,
    sign_flip_p,
)
from bnexp.analysis.study import METRICS, Study, chosen_by, difference_bounds, lower_is_better, units

FINISHED = ("completed", "diverged")
"""Outcomes with a result."""
INACTIVE = "inactive"
"""Column with the grid keys that have no effect on a trial: it would be the same training with their other values."""
IDENTITY = "identity"
"""Column whose values are equal for trials of an arm that train the same but for their seeds."""
PARTNERS = ("value", "epoch", "seconds", "seconds_per_step", "training")
"""Columns that each trial's row repeats from its partner in the baseline."""


def pair_trials(study: Study, *, baseline: str, metric: str, threshold: float = 0.9) -> pd.DataFrame:
    """Return a row per trial, in their order, with its place, its measures and those of its partner in the baseline.

    Columns: `trial`, `arm`, `seed`, `outcome` and the grid keys; `training`, see trainings; `point`, the number of the
    grid point in order of appearance; `candidate`, the first point at which the arm trains the same; INACTIVE;
    `finished` (completed or diverged); `unit`, see units; those of `measured`; `budget`, the most epochs that a trial
    at the point took;
    `partner_…` for each of PARTNERS; `paired`, whether both of them finished.
    """
    trials = study.trials.reset_index(drop=True)
    frame = trials[["trial", "arm", "seed", "outcome", *study.grid_keys]].assign(
        training=trainings(trials),
        point=point_numbers(trials, study.grid_keys),
        finished=trials["outcome"].isin(FINISHED),
        unit=units(study, trials["seed"]),
        **measured(trials, study.curves, metric, threshold),
    )
    frame[INACTIVE] = trials.get(INACTIVE, pd.Series([()] * len(trials), dtype=object))
    same = [trials["arm"], trials.get(IDENTITY, frame["point"])]
    frame["candidate"] = frame.groupby(same)["point"].transform("min")
    frame["budget"] = frame.groupby("point")["epochs"].transform("max")
    partners = frame[frame["finished"] & (frame["arm"] == baseline)].set_index(["seed", "point"])
    # The partner's value may itself be NaN (a loss), so its place decides, not the value.
    partners = partners[list(PARTNERS)].add_prefix("partner_").assign(paired=True)
    frame = frame.join(partners, on=["seed", "point"])
    frame["paired"] = frame["finished"] & frame["paired"].notna()
    return frame


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


def trainings(trials: pd.DataFrame) -> np.ndarray:
    """Return the number of each trial's training: in joined runs one training may stand at several grid points."""
    if "number" not in trials:
        return np.arange(len(trials))
    return trials.groupby(["run", "number"], sort=False).ngroup().to_numpy()


def active(paired: pd.DataFrame, key: str) -> NDArray[np.bool_]:
    """Tell on which trials a grid key has an effect."""
    return np.array([key not in keys for keys in paired[INACTIVE]], dtype=bool)


def cells(paired: pd.DataFrame, places: np.ndarray) -> Iterator[tuple[int, Any]]:
    """Yield each place and, arm by arm, its trials as a record array, in order of appearance.

    A record array reads like a frame (`cell["value"]`), and thousands of them cost next to nothing. `places` are the
    numbers of the table's rows that the trials belong to.
    """
    arms, names = pd.factorize(paired["arm"])
    numbers, _ = pd.factorize(places * len(names) + arms)  # in order of appearance
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    records = paired.to_records(index=False).view(np.ndarray)[order]  # a plain array gives its columns faster
    for start, cell in zip(starts, np.split(records, starts)[1:], strict=True):
        yield int(places[order[start]]), cell


def measured(trials: pd.DataFrame, curves: pd.DataFrame, metric: str, threshold: float) -> pd.DataFrame:
    """Return the measures of every trial, in the order of `trials`; NaN for those that were not taken.

    `value` is the metric; `gap` the final training accuracy minus that on test images, or validation images where
    nothing was tested; `epoch` and `there` the epoch and the seconds at the first record that reaches the threshold;
    `seconds` those of all steps, `epochs` how many were recorded; `seconds_per_epoch` and `seconds_per_step`;
    `validation` what chooses a grid point for the metric, infinite where a loss isn't finite.
    """
    numbers, tested = trials["trial"], trials["final_test_accuracy"]
    reached = first_reached(curves, METRICS[metric], threshold).reindex(numbers)
    last = last_records(curves).reindex(numbers)
    unseen = tested if tested.notna().any() else trials["final_val_accuracy"]
    columns = {
        "value": trials[metric],
        "gap": trials["final_train_accuracy"] - unseen,
        "epoch": reached["epoch"],
        "there": reached["seconds"],
        "seconds": last["seconds"],
        "seconds_per_epoch": last["seconds"] / last["epoch"].where(last["epoch"] > 0),
        "seconds_per_step": last["seconds"] / last["step"].where(last["step"] > 0),
        "epochs": last["epoch"],
        "validation": _validation(trials, last, chosen_by(metric)),
    }
    return pd.DataFrame({name: np.asarray(values, dtype=float) for name, values in columns.items()})


def _validation(trials: pd.DataFrame, last: pd.DataFrame, column: str | None) -> ArrayLike:
    if column in trials:
        return trials[column].to_numpy()
    if column != "final_val_loss" or "val_loss" not in last:
        return np.full(len(trials), np.nan)
    # Where there are validation images, a blank loss is one that is not finite.
    loss, measured = last["val_loss"].to_numpy(dtype=float), trials["final_val_accuracy"].notna().to_numpy()
    return np.where(measured & np.isnan(loss), np.inf, loss)


FOR_A_SPREAD = 2
"""Seeds that an interval needs."""


def complete(places: ArrayLike, seeds: ArrayLike, fewest: int = 1) -> NDArray[np.bool_]:
    """Mark the trials that a balanced mean uses: those of the seeds that have a trial at every place.

    A seed that lacks a place would pull the mean towards the places that it has. If too few seeds have all places, the
    place with the fewest seeds is left out (the last of several), and so on until enough seeds have all the rest. A
    seed is at a place at most once. `fewest` seeds are enough if a place has that many.
    """
    _, place = np.unique(places, return_inverse=True)
    _, seed = np.unique(seeds, return_inverse=True)
    there = np.zeros((place.max(initial=-1) + 1, seed.max(initial=-1) + 1), dtype=bool)
    there[place, seed] = True
    counts = there.sum(axis=1)
    kept = np.ones(len(there), dtype=bool)
    for place_with_fewest in np.argsort(-counts, kind="stable")[::-1]:
        if np.all(there[kept], axis=0).sum() >= min(fewest, counts.max()):
            break
        kept[place_with_fewest] = False
    whole = np.asarray(np.all(there[kept], axis=0))
    marked: NDArray[np.bool_] = kept[place] & whole[seed]
    return marked


def balanced(trials: Any, place: str = "point") -> Any:
    """Return the trials that a balanced mean uses, from a frame or a record array; `place` names their grid points."""
    return trials[complete(trials[place], trials["seed"], FOR_A_SPREAD)]


def seed_means(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the means of `value` and `partner_value` over the pairs of each seed, or tuning study; see units.

    A loss that isn't finite stays visible.
    """
    means: pd.DataFrame = pairs.groupby("unit")[["value", "partner_value"]].mean(skipna=False)
    return means


@dataclass(frozen=True)
class PairedDifference(Interval):
    """The mean of treated - baseline over pairs, its interval, and the sign-flip test of "no difference"."""

    p: float | None
    """Two-sided; None below two pairs, where it would be 1 whatever the values are."""


def paired_difference(treated: Values, baseline: Values, bounds: Bounds = UNBOUNDED) -> PairedDifference:
    """Return the mean difference of values at the same place with its t interval, cut at the bounds, and its p."""
    sample = differences(treated, baseline)
    return PairedDifference(**vars(mean_interval(sample, bounds)), p=sign_flip_p(sample))


def paired_fields(treated: Values, partners: Values, metric: str) -> dict[str, Any]:
    """Return the fields about pairs that all kinds of rows share, from values of a metric."""
    found, apart = paired_difference(treated, partners, difference_bounds(metric)), differences(treated, partners)
    return {
        "difference": found.mean,
        "difference_low": found.low,
        "difference_high": found.high,
        "deviation": deviation(apart),
        "effect": effect_size(apart),
        "p": found.p,
        "better": better(treated, partners, lower=lower_is_better(metric)),
    }


def better(treated: Values, partners: Values, *, lower: bool) -> int | None:
    """Count the pairs in which the arm did better than the baseline; a tie is no win; if lower, less is better.

    A value that isn't finite is worse than any number, and two of them are a tie. None if every pair is such a tie.
    """
    samples = (np.asarray(values, dtype=float) for values in (treated, partners))
    ours, theirs = (np.where(np.abs(sample) <= LARGEST, sample, inf if lower else -inf) for sample in samples)
    if ours.size and np.isinf(ours).all() and np.isinf(theirs).all():
        return None
    gains = differences(ours, theirs)
    return int(np.sum(gains < 0 if lower else gains > 0))
