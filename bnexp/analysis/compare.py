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

from bnexp.analysis.comparison import ArmRow, Comparison, EvaluationRow, Overall, Point
from bnexp.analysis.pairing import (
    FINISHED,
    INACTIVE,
    balanced,
    cells,
    data_keys,
    distinct_points,
    grid_points,
    measured,
    pair_trials,
    paired_difference,
    paired_fields,
    point_numbers,
)
from bnexp.analysis.stats import (
    bootstrap_interval,
    censored_median,
    differences,
    mean_interval,
    restricted_mean,
    wilson_interval,
)
from bnexp.analysis.study import Chance, Study, bounds, choose_metric, difference_bounds, full_key
from bnexp.analysis.sweeps import best_rows, robustness_rows
from bnexp.errors import InputError, nearest, refuse_twice

TIMED = 1.0
"""Seconds that the steps of an arm have to take together before their time is compared: shorter, it is noise."""


@np.errstate(divide="ignore", invalid="ignore")  # inf − inf, and steps too short for the clock
def arm_row(cell: Any, point: Point, baseline: str, metric: str) -> ArmRow:
    """Return the row of a cell from `bnexp.analysis.pairing.cells`, with `budget` in epochs beside the measures."""
    finished, arm = cell[cell["finished"]], str(cell["arm"][0])
    pairs = finished[finished["paired"] & (arm != baseline)]
    whole, whole_pairs = balanced(finished), balanced(pairs)
    values, (treated, partners) = by_seed(whole, "value")[0], by_seed(whole_pairs, "value", "partner_value")
    mean = mean_interval(values, bounds=bounds(metric))
    trained = _once(finished)
    diverged = trained["outcome"] == "diverged"
    rate = wilson_interval(int(diverged.sum()), len(trained))
    epoch = censored_median(trained["epoch"])
    return ArmRow(
        point=point,
        arm=arm,
        baseline=baseline,
        n=len(values),
        mean=mean.mean,
        low=mean.low,
        high=mean.high,
        pairs=len(treated),
        **paired_fields(treated, partners, metric),
        trials=len(trained),
        diverged=int(diverged.sum()),
        diverged_low=rate and rate[0],
        diverged_high=rate and rate[1],
        survivors_mean=mean_interval(trained["value"][~diverged]).mean if diverged.any() else None,
        failed=int(np.sum(_once(cell)["outcome"] == "failed")),
        gap=mean_interval(whole["gap"]).mean,
        epochs_to_threshold=None if epoch is None else int(epoch),
        reached=int(np.sum(~np.isnan(trained["epoch"]))),
        restricted_epochs=restricted_mean(whole["epoch"], whole["budget"]),
        first=_first(whole_pairs),
        seconds_to_threshold=censored_median(trained["there"]),
        seconds_per_epoch=_median(trained["seconds_per_epoch"]),
        step_cost=_step_cost(pairs),
    )


def _once(trials: Any, training: str = "training") -> Any:
    """Return each training once, whichever grid points it stands at."""
    _, firsts = np.unique(trials[training], return_index=True)
    return trials[firsts]


def by_seed(trials: Any, *columns: str) -> list[np.ndarray]:
    """Return each seed's mean of each column; where a seed has one trial, that is its value."""
    seeds, places = np.unique(trials["seed"], return_inverse=True)
    if len(seeds) == len(trials):
        return [np.asarray(trials[name], dtype=float) for name in columns]
    counts = np.bincount(places)
    return [np.bincount(places, weights=trials[name]) / counts for name in columns]


def _first(pairs: Any) -> int:
    # NaN is never: later than every epoch.
    mine, theirs = (np.nan_to_num(pairs[name], nan=np.inf) for name in ("epoch", "partner_epoch"))
    _, places = np.unique(pairs["seed"], return_inverse=True)
    lead = np.bincount(places, weights=(mine < theirs)) - np.bincount(places, weights=(mine > theirs))
    return int(np.sum(lead > 0))


def _step_cost(pairs: Any) -> float | None:
    """Return how much longer a step takes than the baseline's; None where either was timed for too short."""
    sides = (("seconds", "training"), ("partner_seconds", "partner_training"))
    timed = min(np.nansum(_once(pairs, training)[name]) for name, training in sides)
    return _median(pairs["seconds_per_step"] / pairs["partner_seconds_per_step"]) if timed >= TIMED else None


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def overall_rows(paired: pd.DataFrame, *, arms: Sequence[str], baseline: str, metric: str) -> Iterator[Overall]:
    """Yield a row for each arm that has pairs; only seeds with a pair at every grid point count.

    Args:
        paired: as from `bnexp.analysis.pairing.pair_trials`; the baseline's trials are paired with themselves.
        arms: in the order in which they are to come.
        baseline: the arm that the others are compared to.
        metric: what the values are.
    """
    for arm in arms:
        pairs = paired[paired["paired"] & (paired["arm"] == arm)]
        if len(pairs):
            yield _overall_row(arm, pairs, treated=arm != baseline, metric=metric)


def _overall_row(arm: str, pairs: pd.DataFrame, *, treated: bool, metric: str) -> Overall:
    whole = balanced(pairs)
    # A loss that isn't finite stays visible.
    by_seed = whole.groupby("seed")[["value", "partner_value"]].mean(skipna=False)
    seeds, partner_seeds = by_seed["value"].to_numpy(), by_seed["partner_value"].to_numpy()
    values, partners = (seeds, partner_seeds) if treated else (seeds[:0], partner_seeds[:0])
    bootstrap = bootstrap_interval(differences(values, partners))
    return Overall(
        arm=arm,
        mean=mean_interval(seeds).mean,
        baseline_mean=mean_interval(partner_seeds).mean,
        bootstrap_low=bootstrap and bootstrap[0],
        bootstrap_high=bootstrap and bootstrap[1],
        seeds=len(by_seed),
        seeds_left_out=pairs["seed"].nunique() - len(by_seed),
        points=whole["point"].nunique(),
        **paired_fields(values, partners, metric),
    )


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


PROBE = "mode_gap"
"""The probe that evaluates the same weights with several kinds of statistics."""
MEASURED = "final_test_accuracy"
"""The metric that it measures."""
WAYS = ("running", "population", "batch")
"""The kinds of statistics."""
LIMITS = difference_bounds(MEASURED)


def evaluation_rows(study: Study, keys: Sequence[str], baseline: str) -> tuple[EvaluationRow, ...]:
    """Return a row for each grid point and arm that the probe mode_gap was taken of.

    Args:
        study: the trials, with what probes found.
        keys: grid keys that get rows of their own; the others are averaged over, seed by seed.
        baseline: the arm that the others are compared to.
    """
    measured = _mode_gaps(study, keys)
    if measured.empty:
        return ()
    partners = measured[measured["arm"] == baseline].set_index(["full", "seed"])[list(WAYS)].add_suffix("_partner")
    paired = measured.join(partners, on=["full", "seed"])
    points = grid_points(study.trials, keys)
    cells = paired.groupby(["point", "arm"], sort=False)
    return tuple(
        _evaluation_row(points[cell["point"].iloc[0]], cell["arm"].iloc[0], baseline, cell) for _, cell in cells
    )


def _evaluation_row(point: Point, arm: str, baseline: str, cell: pd.DataFrame) -> EvaluationRow:
    pairs = balanced(cell[cell["running_partner"].notna() & (arm != baseline)], "full")
    cell = balanced(cell, "full")
    by_seed = pairs.groupby("seed")[[*WAYS, *(f"{way}_partner" for way in WAYS)]].mean()
    running, population = (
        paired_difference(by_seed[way].to_numpy(), by_seed[f"{way}_partner"].to_numpy(), bounds=LIMITS)
        for way in ("running", "population")
    )
    means = {way: mean_interval(cell.groupby("seed")[way].mean().to_numpy()).mean for way in WAYS}
    return EvaluationRow(
        point=point,
        arm=arm,
        baseline=baseline,
        n=cell["seed"].nunique(),
        **means,
        running_difference=running.mean,
        running_low=running.low,
        running_high=running.high,
        running_p=running.p,
        difference=population.mean,
        difference_low=population.low,
        difference_high=population.high,
        p=population.p,
        pairs=len(by_seed),
    )


def _mode_gaps(study: Study, keys: Sequence[str]) -> pd.DataFrame:
    """Return of every finished trial that PROBE was taken of its place, and the accuracies at its last measurement."""
    probes = study.probes
    if probes is None or not (of := probes["probe"].isin([f"{PROBE}.{way}" for way in WAYS])).any():
        return pd.DataFrame()
    wide = probes[of].pivot_table(index=["trial", "step"], columns="probe", values="value").dropna()
    last = wide.reset_index().sort_values("step").drop_duplicates("trial", keep="last")
    last = last.rename(columns={f"{PROBE}.{way}": way for way in WAYS})
    trials = study.trials.assign(
        full=point_numbers(study.trials, study.grid_keys), point=point_numbers(study.trials, keys)
    )
    trials = trials.loc[trials["outcome"].isin(FINISHED), ["trial", "arm", "seed", "full", "point"]]
    return trials.merge(last, on="trial")
