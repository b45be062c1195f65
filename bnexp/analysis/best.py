"""Each arm at its best: the grid point is chosen on validation images, and then measured by the metric."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nextafter
from typing import Any

import pandas as pd

from bnexp.analysis.comparison import BestRow
from bnexp.analysis.pairing import FOR_A_SPREAD, INACTIVE, complete, paired_fields
from bnexp.analysis.stats import mean_interval
from bnexp.analysis.study import bounds, chosen_by, is_number, lower_is_better
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
    at_best = {arm: _values(tried[arm], found.point) for arm, found in best.items()}
    nothing = pd.Series(dtype=float)
    others = {arm: at_best.get(baseline, nothing) if arm != baseline else nothing for arm in best}
    return tuple(
        BestRow(
            arm=arm,
            baseline=baseline,
            point=points[found.point],
            **_measured(at_best[arm], others[arm], metric),
            **_choice(found, _active(paired[paired["arm"] == arm], points), tried[arm]),
        )
        for arm, found in best.items()
    )


def comparable(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of the seeds that finished all points.

    A single seed chooses only where no point has two; see `bnexp.analysis.pairing.complete`.
    """
    return trials[complete(trials["point"], trials["seed"], FOR_A_SPREAD)]


def best_point(trials: pd.DataFrame, score: str, *, lower: bool = False) -> Best | None:
    """Return the `point` with the best mean of a column, over the seeds that finished all points; None without trials.

    Seeds that lack a point say nothing about how it compares. Where fewer than two seeds have all points, those that
    the fewest seeds finished are no candidates; see comparable. Of equal points the first is taken.

    Args:
        trials: finished trials, with `point`, `seed` and the column.
        score: the column.
        lower: whether less is better.
    """
    if trials.empty:
        return None
    whole = comparable(trials)
    means = whole.groupby("point")[score].mean()
    best, points = int(means.argmin() if lower else means.argmax()), means.index.to_numpy(dtype=int)
    return Best(int(points[best]), tuple(points.tolist()), whole["seed"].nunique(), float(means.iloc[best]))


def _values(trials: pd.DataFrame, point: int) -> pd.Series:
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


def _measured(mine: pd.Series, other: pd.Series, metric: str) -> dict[str, Any]:
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
