"""Every arm against the baseline: means over seeds, paired differences, rates and times.

A pair is two trials equal in seed and in every grid value. Diverged trials count with what was
measured; failed and unfinished ones are left out, and counted. Where a finished trial's value isn't
finite (a loss that overflowed) the mean is None: leaving the trial out would flatter the arm.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.best import best_rows
from bnexp.analysis.chance import Chance
from bnexp.analysis.columns import full_key
from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.measures import measured
from bnexp.analysis.metrics import choose_metric
from bnexp.analysis.overall import overall_rows
from bnexp.analysis.pairing import (
    INACTIVE,
    cells,
    data_keys,
    distinct_points,
    grid_points,
    pair_trials,
    point_numbers,
)
from bnexp.analysis.robustness import robustness_rows
from bnexp.analysis.rows import arm_row
from bnexp.errors import InputError, nearest, refuse_twice


def compare_arms(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    grid_keys: Sequence[str],
    arms: Sequence[str],
    metric: str | None = None,
    baseline: str | None = None,
    threshold: float = 0.9,
    by: Sequence[str] | None = None,
    chance: Chance | None = None,
) -> Comparison:
    """Compare the arms of trials, finished or not.

    Args:
        trials: as in trials.csv, perhaps with `inactive`, the grid keys that have no effect on each trial.
        curves: as in curves.csv.
        grid_keys: columns that tell grid points apart.
        arms: in the order in which they are to come.
        metric: defaults to the test accuracy, or what else was measured.
        baseline: defaults to the arm `none`, or the first arm.
        threshold: an accuracy.
        by: the grid keys that get a row of their own, beside those that tell data sets apart; the others are averaged
            over, seed by seed. Default: all.
        chance: what guessing scores, for the usable range; default: what was measured before training.

    Raises:
        InputError: an unknown or unmeasured metric, a baseline that is no arm, or a key that is no grid key.
    """
    metric, baseline = choose_metric(trials, metric), _choose_baseline(arms, baseline)
    trials = trials[trials["arm"].isin(list(arms))]
    different = data_keys(trials, grid_keys)
    keys = tuple(dict.fromkeys((*_choose_keys(by, grid_keys), *different)))
    measures = measured(trials, curves, metric, threshold)
    paired = _with_budgets(pair_trials(trials, measures, grid_keys=grid_keys, baseline=baseline))
    among: dict[str, Any] = {"arms": arms, "baseline": baseline, "metric": metric}
    comparison = Comparison(
        metric=metric,
        baseline=baseline,
        threshold=threshold,
        grid_keys=keys,
        rows=tuple(_rows(trials, paired, keys, baseline, metric)),
        overall=(),
        best=(),
        robustness=(),
        points=int(paired["point"].nunique()),
        data_sets=tuple(" ".join(map(str, point.values())) for point in grid_points(trials, different) if different),
        **_ends(trials.assign(training=paired["training"].to_numpy())),
    )
    if different:
        return comparison
    return replace(
        comparison,
        overall=tuple(overall_rows(paired, **among)),
        best=best_rows(_with_candidates(paired, trials, grid_keys), grid_points(trials, grid_keys), **among),
        robustness=robustness_rows(trials, paired, curves, grid_keys=grid_keys, chance=chance, **among),
    )


def _with_budgets(paired: pd.DataFrame) -> pd.DataFrame:
    """Return trials with their `budget`: the most epochs that a trial at the same grid point took."""
    longest = np.full(paired["point"].max() + 1 if len(paired) else 0, np.nan)
    np.fmax.at(longest, paired["point"], paired["epochs"])
    return paired.assign(budget=longest[paired["point"]])


def _rows(
    trials: pd.DataFrame, paired: pd.DataFrame, keys: Sequence[str], baseline: str, metric: str
) -> Iterator[ArmRow]:
    points = grid_points(trials, keys)
    for place, cell in cells(paired, point_numbers(trials, keys)):
        yield arm_row(cell, points[place], baseline, metric)


def _ends(trials: pd.DataFrame) -> dict[str, Any]:
    """Return the fields of a comparison that say how many trials there are, and how they ended."""
    trained = trials.drop_duplicates("training")
    failed = trained[trained["outcome"] == "failed"]
    reasons = failed["reason"].dropna() if "reason" in failed else failed["outcome"][:0]
    return {
        "planned": len(trained),
        "finished": int(trained["outcome"].notna().sum()),
        "failed": len(failed),
        "failure": " ".join(str(reasons.iloc[0]).split()) if len(reasons) else "",
        "diverged": int((trained["outcome"] == "diverged").sum()),
    }


def _with_candidates(paired: pd.DataFrame, trials: pd.DataFrame, grid_keys: Sequence[str]) -> pd.DataFrame:
    """Return paired trials with what best_rows needs: the first point of the same training, and what is inactive."""
    inactive = trials.get(INACTIVE, pd.Series([()] * len(trials), dtype=object))
    return paired.assign(point=distinct_points(trials, grid_keys), **{INACTIVE: inactive.to_numpy()})


def _choose_baseline(arms: Sequence[str], baseline: str | None) -> str:
    if baseline is None:
        return "none" if "none" in arms else arms[0]
    if baseline not in arms:
        raise InputError(f"no arm is named {baseline!r}{nearest(baseline, arms)}; arms: {', '.join(arms)}")
    return baseline


def _choose_keys(by: Sequence[str] | None, grid_keys: Sequence[str]) -> tuple[str, ...]:
    if by is None:
        return tuple(grid_keys)
    keys = [full_key(key, grid_keys) for key in by]
    refuse_twice(zip(by, keys, strict=True))
    return tuple(keys)
