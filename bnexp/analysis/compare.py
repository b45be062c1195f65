"""Every arm against the baseline: means over seeds, paired differences, rates and times.

A pair is two trials equal in seed and in every grid value. Diverged trials count with what was
measured; failed and unfinished ones are left out, and counted. Where a finished trial's value isn't
finite (a loss that overflowed) the mean is None: leaving the trial out would flatter the arm.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.best import best_rows
from bnexp.analysis.chance import Chance
from bnexp.analysis.columns import full_key
from bnexp.analysis.comparison import Comparison
from bnexp.analysis.measures import measured
from bnexp.analysis.metrics import choose_metric
from bnexp.analysis.overall import overall_rows
from bnexp.analysis.pairing import cells, data_keys, grid_points, pair_trials, point_numbers
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
        trials: as in trials.csv.
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
    keys = tuple(grid_keys) if by is None else _choose_keys(by, grid_keys)
    trials = trials[trials["arm"].isin(list(arms))]
    different = data_keys(trials, grid_keys)
    keys = (*keys, *(key for key in different if key not in keys))
    paired = pair_trials(trials, measured(trials, curves, metric, threshold), grid_keys=grid_keys, baseline=baseline)
    longest = np.full(paired["point"].max() + 1 if len(paired) else 0, np.nan)
    np.fmax.at(longest, paired["point"], paired["epochs"])
    paired["budget"] = longest[paired["point"]]
    points, places = grid_points(trials, keys), point_numbers(trials, keys)
    among: dict[str, Any] = {"arms": arms, "baseline": baseline, "metric": metric}
    comparison = Comparison(
        metric=metric,
        baseline=baseline,
        threshold=threshold,
        grid_keys=keys,
        rows=tuple(arm_row(cell, points[place], baseline, metric) for place, cell in cells(paired, places)),
        overall=(),
        best=(),
        robustness=(),
        points=int(paired["point"].nunique()),
        finished=paired.loc[paired["outcome"].notna(), "training"].nunique(),
        planned=paired["training"].nunique(),
        data_sets=tuple(" ".join(map(str, point.values())) for point in grid_points(trials, different) if different),
    )
    if different:
        return comparison
    return replace(
        comparison,
        overall=tuple(overall_rows(paired, **among)),
        best=best_rows(paired, grid_points(trials, grid_keys), **among),
        robustness=robustness_rows(trials, paired, curves, grid_keys=grid_keys, chance=chance, **among),
    )


def _choose_baseline(arms: Sequence[str], baseline: str | None) -> str:
    if baseline is None:
        return "none" if "none" in arms else arms[0]
    if baseline not in arms:
        raise InputError(f"no arm is named {baseline!r}{nearest(baseline, arms)}; arms: {', '.join(arms)}")
    return baseline


def _choose_keys(by: Sequence[str], grid_keys: Sequence[str]) -> tuple[str, ...]:
    keys = [full_key(key, grid_keys) for key in by]
    refuse_twice(zip(by, keys, strict=True))
    return tuple(keys)
