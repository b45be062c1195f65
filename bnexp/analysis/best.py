"""Each arm at its best: the grid point is chosen on validation images, and then measured on test images."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from bnexp.analysis.columns import is_number
from bnexp.analysis.comparison import BestRow
from bnexp.analysis.intervals import mean_interval
from bnexp.analysis.metrics import bounds
from bnexp.analysis.paired import paired_fields
from bnexp.analysis.pairing import grid_points

CHOSEN_BY, MEASURED = "final_val_accuracy", "final_test_accuracy"
FEWEST_VALUES = 3
"""Values that an axis needs for the end of it to say that the best may lie beyond."""


def best_rows(
    trials: pd.DataFrame, paired: pd.DataFrame, *, grid_keys: Sequence[str], arms: Sequence[str], baseline: str
) -> tuple[BestRow, ...]:
    """Return a row per arm; none with a single grid point, or where validation or test images are missing.

    Args:
        trials: as in trials.csv.
        paired: the same trials in the same order, from `bnexp.analysis.pairing.pair_trials`.
        grid_keys: columns that tell grid points apart.
        arms: in the order in which they are to come.
        baseline: the arm that the others are compared to.
    """
    points = grid_points(trials, grid_keys)
    frame = paired.assign(
        chosen_by=trials[CHOSEN_BY].to_numpy(dtype=float), measured=trials[MEASURED].to_numpy(dtype=float)
    )
    frame = frame[frame["finished"] & frame["chosen_by"].notna() & frame["measured"].notna()]
    if len(points) < 2 or frame.empty:
        return ()
    best = {arm: best_point(frame[frame["arm"] == arm]) for arm in arms}
    at_best = {
        arm: frame[(frame["arm"] == arm) & (frame["point"] == point)].set_index("seed") for arm, point in best.items()
    }
    return tuple(
        _row(arm, at_best, baseline, points[point], _choice(frame[frame["arm"] == arm], points, point))
        for arm, point in best.items()
        if point is not None
    )


def best_point(trials: pd.DataFrame) -> int | None:
    """Return the `point` of the highest mean `chosen_by` among those that most seeds finished; None without trials."""
    if trials.empty:
        return None
    by_point = trials.groupby("point")["chosen_by"].agg(["mean", "count"])
    whole = by_point[by_point["count"] == by_point["count"].max()]
    return int(whole["mean"].idxmax())


def _choice(trials: pd.DataFrame, points: list[dict[str, Any]], chosen: int) -> dict[str, Any]:
    tried = [points[number] for number in trials["point"].unique()]
    return {
        "validation": float(trials.loc[trials["point"] == chosen, "chosen_by"].mean()),
        "candidates": len(tried),
        "epochs": int(trials["epochs"].sum()),
        "edges": tuple(edges(tried, points[chosen])),
    }


def edges(tried: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys whose chosen value is the smallest or the largest of the FEWEST_VALUES or more that were tried."""
    for key, value in chosen.items():
        values = {point[key] for point in tried}
        if len(values) >= FEWEST_VALUES and all(map(is_number, values)) and value in (min(values), max(values)):
            yield key


def _row(
    arm: str, at_best: dict[str, pd.DataFrame], baseline: str, point: dict[str, Any], choice: dict[str, Any]
) -> BestRow:
    mine, other = at_best[arm]["measured"], at_best[baseline]["measured"]
    seeds = mine.index.intersection(other.index) if arm != baseline else mine.index[:0]
    treated, partners = mine[seeds].to_numpy(), other[seeds].to_numpy()
    mean = mean_interval(mine.to_numpy(), bounds=bounds(MEASURED))
    return BestRow(
        arm=arm,
        baseline=baseline,
        point=point,
        n=len(mine),
        mean=mean.mean,
        low=mean.low,
        high=mean.high,
        pairs=len(treated),
        **paired_fields(treated, partners, MEASURED),
        **choice,
    )
