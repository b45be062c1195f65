"""What arms do along a sweep: each at its best grid point, and how much a setting matters along its axis.

The best point is chosen on validation images, and then measured by the metric.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import inf, isfinite, nextafter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bnexp.analysis.comparison import BestRow, RobustnessRow
from bnexp.analysis.pairing import INACTIVE, active, balanced, complete, paired_fields, point_numbers
from bnexp.analysis.stats import mean_interval
from bnexp.analysis.study import Chance, bounds, chosen_by, is_number, lower_is_better
from bnexp.config.dotted import is_key
from bnexp.config.trial import TrialSettings, with_changes

FEWEST_VALUES = 3
"""Values that an axis needs for the end of it to say that the best may lie beyond."""


@dataclass(frozen=True)
class Best:
    """The grid point that an arm's trials choose."""

    point: int
    candidates: tuple[int, ...]
    """Grid points that were compared, in their order."""
    seeds: int
    """Seeds that finished all candidates: those that chose."""
    score: float
    """Their mean at the chosen point."""


def best_rows(
    paired: pd.DataFrame, points: Sequence[dict[str, Any]], *, arms: Sequence[str], baseline: str, metric: str
) -> tuple[BestRow, ...]:
    """Return a row per arm; none with a single grid point, or without images that choose and others that measure.

    Grid points at which an arm trains the same are one candidate.

    Args:
        paired: as from `bnexp.analysis.pairing.pair_trials`, with the measures of the metric; `point` is the number
            from `distinct_points`, and `inactive` the grid keys that have no effect on the trial.
        points: the grid points by their number.
        arms: in the order in which they are to come.
        baseline: the arm that the others are compared to.
        metric: what is measured; chosen_by says what chooses.
    """
    if len(points) < 2 or chosen_by(metric) is None:
        return ()
    lower = lower_is_better(metric)
    usable = paired["finished"] & paired["validation"].notna() & (lower | paired["value"].notna())
    once = paired[usable].drop_duplicates(["arm", "point", "seed"])
    tried = {arm: once[once["arm"] == arm] for arm in arms}
    best = {arm: found for arm in arms if (found := best_point(tried[arm], "validation", lower=lower))}
    at_best = {arm: _values_at(tried[arm], found.point) for arm, found in best.items()}
    nothing = pd.Series(dtype=float)
    others = {arm: at_best.get(baseline, nothing) if arm != baseline else nothing for arm in best}
    return tuple(
        BestRow(
            arm=arm,
            baseline=baseline,
            point=points[found.point],
            **_measured_there(at_best[arm], others[arm], metric),
            **_choice(found, _active(paired[paired["arm"] == arm], points), tried[arm]),
        )
        for arm, found in best.items()
    )


def best_point(trials: pd.DataFrame, score: str, *, lower: bool = False) -> Best | None:
    """Return the `point` with the best mean of a column, over the seeds that finished all points; None without trials.

    Seeds that lack a point say nothing about how it compares. Where fewer than two seeds have all points, those that
    the fewest seeds finished are no candidates; see `complete`. Of equal points the first is taken.

    Args:
        trials: finished trials, with `point`, `seed` and the column.
        score: the column.
        lower: whether less is better.
    """
    if trials.empty:
        return None
    whole = balanced(trials)
    means = whole.groupby("point")[score].mean()
    best, points = int(means.argmin() if lower else means.argmax()), means.index.to_numpy(dtype=int)
    return Best(int(points[best]), tuple(points.tolist()), whole["seed"].nunique(), float(means.iloc[best]))


def _values_at(trials: pd.DataFrame, point: int) -> pd.Series:
    """Return the values at a grid point, by seed."""
    return trials[trials["point"] == point].set_index("seed")["value"]


def _active(trials: pd.DataFrame, points: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the grid points of an arm's trials by their number, without the keys that have no effect there."""
    inactive = dict(zip(trials["point"], trials[INACTIVE], strict=True))
    return {
        number: {key: value for key, value in points[number].items() if key not in inactive[number]}
        for number in sorted(inactive)
    }


def _choice(found: Best, points: Mapping[int, dict[str, Any]], tried: pd.DataFrame) -> dict[str, Any]:
    excluded = [number for number in points if number not in found.candidates]
    without = [set(keys) for keys in tried[INACTIVE].drop_duplicates()]
    return {
        "inactive": tuple(tried.loc[tried["point"] == found.point, INACTIVE].iloc[0]),
        "partly_inactive": tuple(sorted(set().union(*without) - set(without[0]).intersection(*without))),
        "validation": found.score if isfinite(found.score) else None,
        "candidates": len(found.candidates),
        "excluded": tuple(", ".join(f"{key} {value}" for key, value in points[number].items()) for number in excluded),
        "seeds": found.seeds,
        "seeds_left_out": tried["seed"].nunique() - found.seeds,
        "epochs": int(tried.drop_duplicates("training")["epochs"].sum()),
        "edges": tuple(edges([points[number] for number in found.candidates], points[found.point])),
    }


def edges(tried: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys whose chosen value is the smallest or the largest of the FEWEST_VALUES or more that were tried.

    Where the setting can't be smaller, or larger, nothing lies beyond and that is no edge.
    """
    for key, value in chosen.items():
        values = {point[key] for point in tried if key in point}
        if len(values) < FEWEST_VALUES or not all(map(is_number, values)):
            continue
        beyond = {min(values): -1, max(values): 1}.get(value)
        if beyond and _allowed(key, value + beyond if isinstance(value, int) else nextafter(value, beyond * inf)):
            yield key


def _allowed(key: str, value: float) -> bool:
    try:
        with_changes(TrialSettings(), {key: value})
    except ValueError:
        return not is_key(TrialSettings, key)
    return True


def _measured_there(mine: pd.Series, other: pd.Series, metric: str) -> dict[str, Any]:
    """Return the fields of what was measured at the arm's best, and paired with the baseline at its own."""
    seeds = mine.index.intersection(other.index)
    mean = mean_interval(mine.to_numpy(), bounds=bounds(metric))
    return {
        "n": len(mine),
        "mean": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "pairs": len(seeds),
        **paired_fields(mine[seeds].to_numpy(), other[seeds].to_numpy(), metric),
    }


def along(trials: pd.DataFrame, axis: str, grid_keys: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which trials lie along an axis: the arms tried the same values, at the same points of all other settings.

    These points are those with the most values that every arm tried there; points with fewer, and values that weren't
    tried at all of them, are left out. So are arms that tried only one value. Settings that only change together (in
    zip, or from run to run) have no axis: no trial lies along it. Nor does a trial on which the setting has no effect.

    Args:
        trials: as in trials.csv, perhaps with the settings without effect on each trial.
        axis: the setting.
        grid_keys: columns that tell grid points apart.
    """
    others = point_numbers(trials, [key for key in grid_keys if key != axis])
    at = trials[axis].where(active(trials, axis)).to_numpy()
    tried = pd.DataFrame({"arm": trials["arm"].to_numpy(), "others": others, "at": at})
    values = {cell: frozenset(at) for cell, at in tried.dropna().groupby(["arm", "others"], sort=False)["at"]}
    arms = {arm for (arm, _), at in values.items() if len(at) > 1}
    shared = {
        point: frozenset.intersection(*(values.get((arm, point), frozenset()) for arm in arms))
        for point in (range(others.max() + 1) if arms else ())
    }
    most = max(shared.values(), key=len, default=frozenset())
    whole = [point for point, at in shared.items() if len(most) > 1 and at >= most]
    found: NDArray[np.bool_] = (
        tried["arm"].isin(arms) & tried["others"].isin(whole) & tried["at"].isin(most)
    ).to_numpy()
    return found


USABLE_SHARE = 0.9
"""Share of the seeds at a value that must have been trained, at the best setting of the other keys."""
ACCURACIES = ("test_accuracy", "val_accuracy", "train_accuracy")


def robustness_rows(
    trials: pd.DataFrame,
    paired: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    grid_keys: Sequence[str],
    arms: Sequence[str],
    baseline: str,
    metric: str,
    chance: Chance | None,
) -> tuple[RobustnessRow, ...]:
    """Return a row for each axis of numbers and each arm that lies along it; see axes.

    Args:
        trials: as in trials.csv.
        paired: the same trials in the same order, from `bnexp.analysis.pairing.pair_trials`.
        curves: as in curves.csv.
        grid_keys: columns that tell grid points apart.
        arms: in the order in which they are to come.
        baseline: the arm whose range the others' are held against.
        metric: what worst and best are of.
        chance: what guessing scores; None: the mean accuracy before training.
    """
    guessing = chance or _before_training(trials, curves)
    trained = above_chance(trials, curves, guessing)
    axes = {key: trials[key].to_numpy() for key in grid_keys}
    found: list[RobustnessRow] = []
    for axis, column in axes.items():
        values = pd.unique(column[~pd.isna(column)])
        if len(values) < 2 or not all(map(is_number, values)):
            continue
        others = point_numbers(trials, [key for key in grid_keys if key != axis])
        frame = paired.assign(at=column.astype(float), others=others, trained=trained)[along(trials, axis, grid_keys)]
        there = [arm for arm in arms if arm in set(frame["arm"])]
        frame = frame[frame["finished"]]
        lower = lower_is_better(metric)
        rows = [_robustness_row(axis, arm, frame[frame["arm"] == arm], baseline, lower, guessing) for arm in there]
        found += _with_ratios(rows, baseline)
    return tuple(found)


def above_chance(trials: pd.DataFrame, curves: pd.DataFrame, chance: Chance | None) -> NDArray[np.bool_]:
    """Tell of every trial whether it completed, with an accuracy clearly above chance.

    Args:
        trials: as in trials.csv.
        curves: as in curves.csv.
        chance: what guessing scores; None: the mean accuracy before training.
    """
    guessing = chance or _before_training(trials, curves)
    above = trials[f"final_{_accuracy(trials)}"] > (guessing.above if guessing else np.inf)
    found: NDArray[np.bool_] = ((trials["outcome"] == "completed") & above).to_numpy(dtype=bool)
    return found


def _before_training(trials: pd.DataFrame, curves: pd.DataFrame) -> Chance | None:
    """Return the mean accuracy before training as that of guessing; None where it wasn't measured."""
    mean = float(curves.loc[curves["step"] == 0, _accuracy(trials)].mean())
    return None if np.isnan(mean) else Chance(mean, measured=True)


def _accuracy(trials: pd.DataFrame) -> str:
    return next(name for name in ACCURACIES if trials[f"final_{name}"].notna().any() or name == ACCURACIES[-1])


def _robustness_row(
    axis: str, arm: str, trials: pd.DataFrame, baseline: str, lower: bool, guessing: Chance | None
) -> RobustnessRow:
    means = _whole_axis(trials).groupby("at")["value"].apply(_mean)
    usable = trials.groupby(["at", "point"])["trained"].mean().groupby("at").max() >= USABLE_SHARE
    # A loss that isn't finite is worse than any number.
    ranked = means.where(np.isfinite(means), np.inf if lower else -np.inf)
    ranked = ranked.sort_values(ascending=not lower, kind="stable")
    ends = [
        (value if np.isfinite(value) else None, place)
        for value, place in zip(ranked.tolist(), ranked.index.tolist(), strict=True)
    ]
    (worst, worst_at), (best, best_at) = (ends[0], ends[-1]) if ends else ((None, None), (None, None))
    low, high = longest_stretch(means.index.to_numpy(), usable.to_numpy(dtype=bool))
    return RobustnessRow(
        axis=axis,
        arm=arm,
        baseline=baseline,
        values=len(means),
        worst=worst,
        worst_at=worst_at,
        best=best,
        best_at=best_at,
        spread=None if worst is None or best is None else abs(best - worst),
        usable=int(usable.sum()),
        usable_low=low,
        usable_high=high,
        width=high / low if low is not None and high is not None and means.index.min() > 0 else None,
        width_ratio=None,
        usable_above=guessing.above if guessing else None,
        guessing=guessing.accuracy if guessing else None,
        guessing_measured=bool(guessing and guessing.measured),
    )


def _whole_axis(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of seeds and other settings that were tried along the whole axis; all, where none were."""
    whole = trials[complete(trials["at"], trials.groupby(["others", "seed"]).ngroup())]
    return whole if whole["at"].nunique() == trials["at"].nunique() else trials


def _mean(values: pd.Series) -> float:
    return float(values.mean(skipna=False))


def longest_stretch(values: np.ndarray, good: np.ndarray) -> tuple[float | None, float | None]:
    """Return the ends of the longest run of good values, in their order; the first of equally long ones."""
    marked = groupby(zip(values, good, strict=True), key=lambda pair: bool(pair[1]))
    runs = [[value for value, _ in run] for is_good, run in marked if is_good]
    if not runs:
        return None, None
    longest = max(runs, key=len)
    return float(longest[0]), float(longest[-1])


def _with_ratios(rows: list[RobustnessRow], baseline: str) -> Iterator[RobustnessRow]:
    widths = {row.arm: row.width for row in rows}
    base = widths.get(baseline)
    for row in rows:
        ratio = row.width / base if row.arm != baseline and row.width is not None and base else None
        yield replace(row, width_ratio=ratio)
