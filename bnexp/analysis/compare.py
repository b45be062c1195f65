"""Every arm against the baseline: means over seeds, paired differences, and the headline of a run.

A pair is two trials equal in seed and in every grid value. Diverged trials count with what was
measured; failed and unfinished ones are left out, and counted. Where a finished trial's value isn't
finite (a loss that left all bounds) the mean is None: leaving the trial out would flatter the arm.
"""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.comparison import ArmRow, Comparison, Overall
from bnexp.analysis.intervals import mean_interval, paired_difference
from bnexp.analysis.metrics import METRICS, choose_metric, lower_is_better, metric_text
from bnexp.analysis.pairing import cells, grid_points, pair_trials
from bnexp.analysis.thresholds import censored_median, first_reached
from bnexp.errors import InputError, nearest


def compare_arms(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    grid_keys: Sequence[str],
    arms: Sequence[str],
    metric: str | None = None,
    baseline: str | None = None,
    threshold: float = 0.9,
) -> Comparison:
    """Compare the arms of one run, finished or not.

    The metric defaults to the test accuracy, or what else was measured; the baseline to the arm
    `none`, or the first arm. The threshold is an accuracy.

    Raises:
        InputError: an unknown or unmeasured metric, or a baseline that is no arm of the run.
    """
    metric = choose_metric(trials, metric)
    baseline = _choose_baseline(arms, baseline)
    trials = trials[trials["arm"].isin(list(arms))]
    paired = pair_trials(trials, grid_keys=grid_keys, metric=metric, baseline=baseline)
    reached = first_reached(curves, METRICS[metric], threshold)
    paired["epoch"] = reached["epoch"].reindex(paired["trial"]).to_numpy(dtype=float)
    points = grid_points(trials, grid_keys)
    return Comparison(
        metric=metric,
        baseline=baseline,
        threshold=threshold,
        grid_keys=tuple(grid_keys),
        rows=tuple(_row(cell, points[cell["point"][0]], baseline) for cell in cells(paired)),
        overall=tuple(_overall(paired, arms, baseline)),
        finished=int(trials["outcome"].notna().sum()),
        planned=len(trials),
    )


def headline(comparison: Comparison) -> str:
    """Say in one phrase how the best arm did against the baseline, over all grid points.

    The best arm is the one with the best difference, and that may still be a loss.
    """
    metric, baseline = comparison.metric, comparison.baseline
    if not comparison.overall:
        return f"no result yet, {comparison.finished} of {comparison.planned} trials finished"
    best = max(comparison.overall, key=lambda row: _rank(row, comparison))
    phrase = f"{best.arm} {metric_text(metric, best.mean, blank='not finite')}"
    if best.arm != baseline:
        phrase += f" vs {baseline} {metric_text(metric, best.baseline_mean, blank='not finite')}"
    phrase += f" {metric}"
    if best.difference is not None:
        phrase += f", {metric_text(metric, best.difference, sign=True)}"
    if best.difference_low is not None:
        ends = (metric_text(metric, end, sign=True) for end in (best.difference_low, best.difference_high))
        phrase += f" [{', '.join(ends)}]"
    points = len({tuple(row.point.items()) for row in comparison.rows})
    return f"{phrase}, n = {best.seeds}" + (f", mean of {points} grid points" if points > 1 else "")


def _rank(row: Overall, comparison: Comparison) -> tuple[bool, float]:
    """Order arms by their gain over the baseline: below all gains one that isn't finite, lowest the baseline."""
    treated = row.arm != comparison.baseline
    if row.difference is None:
        return treated, -inf
    return treated, -row.difference if lower_is_better(comparison.metric) else row.difference


def _choose_baseline(arms: Sequence[str], baseline: str | None) -> str:
    if baseline is None:
        return "none" if "none" in arms else arms[0]
    if baseline not in arms:
        raise InputError(f"no arm is named {baseline!r}{nearest(baseline, arms)}; arms: {', '.join(arms)}")
    return baseline


def _row(cell: Any, point: dict[str, Any], baseline: str) -> ArmRow:
    finished, arm = cell[cell["finished"]], str(cell["arm"][0])
    pairs = finished[finished["paired"] & (arm != baseline)]
    mean = mean_interval(finished["value"])
    difference = paired_difference(pairs["value"], pairs["partner"])
    epoch = censored_median(finished["epoch"])
    return ArmRow(
        point=point,
        arm=arm,
        baseline=baseline,
        n=len(finished),
        mean=mean.mean,
        low=mean.low,
        high=mean.high,
        difference=difference.mean,
        difference_low=difference.low,
        difference_high=difference.high,
        p=difference.p,
        pairs=difference.pairs,
        diverged=int(np.sum(cell["outcome"] == "diverged")),
        failed=int(np.sum(cell["outcome"] == "failed")),
        epochs_to_threshold=None if epoch is None else int(epoch),
        reached=int(np.sum(~np.isnan(finished["epoch"]))),
    )


def _overall(paired: pd.DataFrame, arms: Sequence[str], baseline: str) -> Iterator[Overall]:
    pairs = paired[paired["paired"]].groupby(["arm", "seed"])[["value", "partner"]]
    by_seed = pairs.mean(skipna=False).reset_index().to_records(index=False)  # a loss that isn't finite stays visible
    for arm in arms:
        seeds = by_seed[by_seed["arm"] == arm]
        if not len(seeds):
            continue
        treated = seeds if arm != baseline else seeds[:0]
        difference = paired_difference(treated["value"], treated["partner"])
        yield Overall(
            arm=arm,
            mean=mean_interval(seeds["value"]).mean,
            baseline_mean=mean_interval(seeds["partner"]).mean,
            difference=difference.mean,
            difference_low=difference.low,
            difference_high=difference.high,
            p=difference.p,
            seeds=len(seeds),
        )
