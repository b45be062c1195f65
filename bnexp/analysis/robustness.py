"""How much an arm minds a setting: its worst case, its spread and its usable range along a swept axis."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bnexp.analysis.comparison import RobustnessRow
from bnexp.analysis.pairing import active, complete, point_numbers
from bnexp.analysis.study import Chance, is_number, lower_is_better


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
    trained = learned(trials, curves, guessing)
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
        rows = [_row(axis, arm, frame[frame["arm"] == arm], baseline, lower_is_better(metric)) for arm in there]
        if guessing:
            rows = [_with_chance(row, guessing) for row in rows]
        found += _with_ratios(rows, baseline)
    return tuple(found)


def learned(trials: pd.DataFrame, curves: pd.DataFrame, chance: Chance | None) -> NDArray[np.bool_]:
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


def _row(axis: str, arm: str, trials: pd.DataFrame, baseline: str, lower: bool) -> RobustnessRow:
    means = _balanced(trials).groupby("at")["value"].apply(_mean)
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
    )


def _with_chance(row: RobustnessRow, chance: Chance) -> RobustnessRow:
    return replace(row, usable_above=chance.above, guessing=chance.accuracy, guessing_measured=chance.measured)


def _balanced(trials: pd.DataFrame) -> pd.DataFrame:
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
