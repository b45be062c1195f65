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
from bnexp.analysis.pairing import INACTIVE, active, balanced, complete, grid_points, paired_fields, point_numbers
from bnexp.analysis.stats import mean_interval
from bnexp.analysis.study import Chance, Study, bounds, chosen_by, is_number, lower_is_better
from bnexp.config.keys import is_key
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


def best_rows(paired: pd.DataFrame, study: Study, baseline: str, metric: str) -> Iterator[BestRow]:
    """Yield a row per arm; none with a single grid point, or without images that choose and others that measure.

    Grid points at which an arm trains the same are one candidate.
    """
    points, lower = grid_points(paired, study.grid_keys), lower_is_better(metric)
    if len(points) < 2 or chosen_by(metric) is None:
        return
    paired = paired.assign(point=paired["candidate"])
    usable = paired[paired["finished"] & paired["validation"].notna() & (lower | paired["value"].notna())]
    once = usable.drop_duplicates(["arm", "point", "seed"])
    tried = {arm: once[once["arm"] == arm] for arm in study.arms}
    best = {arm: found for arm in study.arms if (found := best_point(tried[arm], "validation", lower=lower))}
    at_best = {arm: tried[arm][tried[arm]["point"] == found.point].set_index("seed") for arm, found in best.items()}
    for arm, found in best.items():
        mine, other = at_best[arm]["value"], at_best.get(baseline, once[:0])["value"]
        seeds = mine.index.intersection(other.index) if arm != baseline else mine.index[:0]
        mean = mean_interval(mine.to_numpy(), bounds(metric))
        yield BestRow(
            arm=arm,
            baseline=baseline,
            point=points[found.point],
            n=len(mine),
            mean=mean.mean,
            low=mean.low,
            high=mean.high,
            pairs=len(seeds),
            **paired_fields(mine[seeds].to_numpy(), other[seeds].to_numpy(), metric),
            **_choice(found, paired[paired["arm"] == arm], tried[arm], points),
        )


def best_point(trials: pd.DataFrame, score: str, *, lower: bool = False) -> Best | None:
    """Return the `point` with the best mean of a column, over the seeds that finished all points; None without trials.

    Seeds that lack a point say nothing about how it compares. Where fewer than two seeds have all points, those that
    the fewest seeds finished are no candidates; see `complete`. Of equal points the first is taken.
    """
    if trials.empty:
        return None
    whole = balanced(trials)
    means = whole.groupby("point")[score].mean()
    best, points = int(means.argmin() if lower else means.argmax()), means.index.to_numpy(dtype=int)
    return Best(int(points[best]), tuple(points.tolist()), whole["seed"].nunique(), float(means.iloc[best]))


def _choice(
    found: Best, mine: pd.DataFrame, tried: pd.DataFrame, points: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the fields of a row that say from what it was chosen, of an arm's trials and those that were compared."""
    inactive = dict(zip(mine["point"], mine[INACTIVE], strict=True))
    shown = {
        number: {key: value for key, value in points[number].items() if key not in inactive[number]}
        for number in sorted(inactive)
    }
    excluded = [point for number, point in shown.items() if number not in found.candidates]
    without = [set(keys) for keys in tried[INACTIVE].drop_duplicates()]
    return {
        "inactive": tuple(tried.loc[tried["point"] == found.point, INACTIVE].iloc[0]),
        "partly_inactive": tuple(sorted(set().union(*without) - set(without[0]).intersection(*without))),
        "validation": found.score if isfinite(found.score) else None,
        "candidates": len(found.candidates),
        "excluded": tuple(", ".join(f"{key} {value}" for key, value in point.items()) for point in excluded),
        "seeds": found.seeds,
        "seeds_left_out": tried["seed"].nunique() - found.seeds,
        "epochs": int(tried.drop_duplicates("training")["epochs"].sum()),
        "edges": tuple(edges([shown[number] for number in found.candidates], shown[found.point])),
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


USABLE_SHARE = 0.9
"""Share of the seeds at a value that must have been trained, at the best setting of the other keys."""
ACCURACIES = ("test_accuracy", "val_accuracy", "train_accuracy")


def robustness_rows(paired: pd.DataFrame, study: Study, baseline: str, metric: str) -> Iterator[RobustnessRow]:
    """Yield a row for each axis of numbers and each arm that lies along it; see along."""
    paired = paired.assign(trained=above_chance(study))
    for axis in study.grid_keys:
        values = paired[axis].dropna().unique()
        if len(values) < 2 or not all(map(is_number, values)):
            continue
        others = [key for key in study.grid_keys if key != axis]
        frame = paired.assign(at=paired[axis].astype(float), others=point_numbers(paired, others))
        frame = frame[along(frame, axis)]
        there = [arm for arm in study.arms if arm in set(frame["arm"])]
        rows = [
            _robustness_row(axis, arm, frame[frame["finished"] & (frame["arm"] == arm)], baseline, metric, study)
            for arm in there
        ]
        base = next((row.width for row in rows if row.arm == baseline), None)
        for row in rows:
            yield replace(row, width_ratio=row.width / base if row.arm != baseline and row.width and base else None)


def along(paired: pd.DataFrame, axis: str) -> NDArray[np.bool_]:
    """Tell which trials lie along an axis: the arms tried the same values, at the same points of all other settings.

    These points are those with the most values that every arm tried there; points with fewer, and values that weren't
    tried at all of them, are left out. So are arms that tried only one value. Settings that only change together (in
    zip, or from run to run) have no axis: no trial lies along it. Nor does a trial on which the setting has no effect.

    `at` is the value of the axis, and `others` the number of the point of the other settings.
    """
    tried = paired[["arm", "others"]].assign(at=paired["at"].where(active(paired, axis)))
    values = {cell: frozenset(at) for cell, at in tried.dropna().groupby(["arm", "others"], sort=False)["at"]}
    arms = {arm for (arm, _), at in values.items() if len(at) > 1}
    shared = {
        point: frozenset.intersection(*(values.get((arm, point), frozenset()) for arm in arms))
        for point in (tried["others"].unique() if arms else ())
    }
    most = max(shared.values(), key=len, default=frozenset())
    whole = [point for point, at in shared.items() if len(most) > 1 and at >= most]
    found = tried["arm"].isin(arms) & tried["others"].isin(whole) & tried["at"].isin(most)
    return np.asarray(found)


def above_chance(study: Study) -> NDArray[np.bool_]:
    """Tell of every trial whether it completed, with an accuracy clearly above chance."""
    guessing, trials = _guessing(study), study.trials
    above = trials[f"final_{_accuracy(trials)}"] > (guessing.above if guessing else inf)
    return np.asarray((trials["outcome"] == "completed") & above, dtype=bool)


def _guessing(study: Study) -> Chance | None:
    """Return what guessing scores; where that isn't known, the mean accuracy before training, if it was measured."""
    if study.chance:
        return study.chance
    mean = float(study.curves.loc[study.curves["step"] == 0, _accuracy(study.trials)].mean())
    return None if np.isnan(mean) else Chance(mean, measured=True)


def _accuracy(trials: pd.DataFrame) -> str:
    return next(name for name in ACCURACIES if trials[f"final_{name}"].notna().any() or name == ACCURACIES[-1])


def _robustness_row(
    axis: str, arm: str, trials: pd.DataFrame, baseline: str, metric: str, study: Study
) -> RobustnessRow:
    lower, guessing = lower_is_better(metric), _guessing(study)
    # The seeds and other settings that were tried along the whole axis; all, where none were.
    whole = trials[complete(trials["at"], trials.groupby(["others", "seed"]).ngroup())]
    whole = whole if whole["at"].nunique() == trials["at"].nunique() else trials
    means = whole.groupby("at")["value"].apply(lambda values: float(values.mean(skipna=False)))
    usable = trials.groupby(["at", "point"])["trained"].mean().groupby("at").max() >= USABLE_SHARE
    # A loss that isn't finite is worse than any number.
    ranked = means.where(np.isfinite(means), inf if lower else -inf)
    ranked = ranked.sort_values(ascending=not lower, kind="stable")
    places: list[Any] = ranked.index.tolist() or [None]
    scores = [score if isfinite(score) else None for score in ranked] or [None]
    worst, best = scores[0], scores[-1]
    low, high = longest_stretch(means.index.to_numpy(), usable.to_numpy(dtype=bool))
    return RobustnessRow(
        axis=axis,
        arm=arm,
        baseline=baseline,
        values=len(means),
        worst=worst,
        worst_at=places[0],
        best=best,
        best_at=places[-1],
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


def longest_stretch(values: np.ndarray, good: np.ndarray) -> tuple[float | None, float | None]:
    """Return the ends of the longest run of good values, in their order; the first of equally long ones."""
    marked = groupby(zip(values, good, strict=True), key=lambda pair: bool(pair[1]))
    runs = [[value for value, _ in run] for is_good, run in marked if is_good]
    longest = max(runs, key=len, default=None)
    return (float(longest[0]), float(longest[-1])) if longest else (None, None)
