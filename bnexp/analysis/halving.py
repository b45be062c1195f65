"""Successive halving: which trials of a search are behind, and are trained no further."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bnexp.analysis.study import is_number
from bnexp.config.experiment import ExperimentConfig

STOPPED = "stopped"
"""The outcome of a trial that halving stopped."""


def behind(config: ExperimentConfig, comparison: int, trials: pd.DataFrame, curves: pd.DataFrame) -> list[int]:
    """Return the numbers of the trials that a comparison of `config.halving` stops, all seeds of a combination.

    An arm's combinations at a grid point are compared among themselves by their mean validation accuracy over the
    seeds, after the epochs of the comparison; trials that diverged and ended before count with their last accuracy. A
    combination with failed trials comes after all others. Of equal combinations the smaller goes on, by the first
    setting, then by the second, and so on.

    The answer is the same after trials were stopped, so an interrupted run makes the same decisions.

    Args:
        config: the search.
        comparison: its number, counted from 0.
        trials: the rows of trials.csv.
        curves: their records, which all reach the epoch, unless the trial has ended.
    """
    plan = config.halving
    assert plan
    epoch, points = plan.at[comparison], config.points()
    last = curves[curves["epoch"] <= epoch].groupby("trial")[["epoch", "val_accuracy"]].last()
    trials = trials.set_index("trial").join(last)
    earlier = (trials["outcome"] == STOPPED) & (trials["epoch"] < epoch)
    numbers = trials.index.to_series() // (len(config.arms) * len(config.seeds))  # grid point by grid point
    places = [repr({k: v for k, v in point.items() if k not in plan.among}) for point in points]
    trials = trials.assign(point=numbers, place=[places[number] for number in numbers])
    trials = trials.assign(failed=trials["outcome"] == "failed", score=-trials["val_accuracy"].fillna(0))[~earlier]
    order = [_order([point[key] for key in plan.among]) for point in points]
    stopped: list[int] = []
    for _, here in trials.groupby(["arm", "place"], sort=False):
        ranked = here.groupby("point")[["failed", "score"]].mean()
        ranked["order"] = [order[number] for number in ranked.index]
        kept = ranked.sort_values(["failed", "score", "order"]).index[: plan.keep[comparison]]
        mine = ~here["point"].isin(kept) & (here["outcome"].isna() | (here["outcome"] == STOPPED))
        stopped += here.index[mine].tolist()
    return stopped


def _order(values: Sequence[Any]) -> tuple[tuple[bool, Any], ...]:
    """Return a sort key for combinations of values, ascending, words after numbers."""
    return tuple((False, value) if is_number(value) else (True, str(value)) for value in values)
