"""Every arm against the baseline: means over seeds, paired differences, rates and times; and along a swept axis.

A pair is two trials equal in seed and in every grid value. Diverged trials count with what was
measured; failed and unfinished ones are left out, and counted. Where a finished trial's value isn't
finite (a loss that overflowed) the mean is None: leaving the trial out would flatter the arm.
"""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from math import inf, isfinite
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bnexp.analysis.choices import best_rows
from bnexp.analysis.comparison import ArmRow, Comparison, EvaluationRow, Overall, Point, RobustnessRow
from bnexp.analysis.pairing import (
    FINISHED,
    active,
    balanced,
    cells,
    complete,
    grid_points,
    pair_trials,
    paired_difference,
    paired_fields,
    point_numbers,
    seed_means,
)
from bnexp.analysis.stats import (
    bootstrap_interval,
    censored_median,
    differences,
    mean_interval,
    restricted_mean,
    wilson_interval,
)
from bnexp.analysis.study import (
    Chance,
    Study,
    bounds,
    choose_metric,
    difference_bounds,
    full_key,
    is_number,
    lower_is_better,
    outcome_counts,
    units,
)
from bnexp.errors import InputError, nearest, refuse_twice

TIMED = 1.0
"""Seconds that the steps of an arm must take in all before their times are compared: shorter times are noise."""
DATA_SETS = ("data.name", "data.root", "data.digest", "data.split")
"""Grid keys whose values are different data sets: a mean over them means nothing.

One split and a split for each seed are different data, too: their trials share no images. Other numbers of images, or
another scaling, don't make another data set. Fewer test images are the first of the same ones, and estimate the same
accuracy; the number of training images is a setting like any other.
"""


def compare_arms(
    study: Study,
    *,
    metric: str | None = None,
    baseline: str | None = None,
    threshold: float = 0.9,
    by: Sequence[str] | None = None,
) -> Comparison:
    """Compare the arms of trials, finished or not; warnings are left to fairness.

    Args:
        study: the trials.
        metric: see choose_metric.
        baseline: defaults to the arm `none`, or the first arm.
        threshold: an accuracy.
        by: the grid keys that get a row of their own, beside those that tell data sets apart; the others are averaged
            over, seed by seed. Default: all.

    Raises:
        InputError: an unknown or unmeasured metric, an unknown arm or grid key, or a threshold that isn't an accuracy.
    """
    _check_threshold(threshold)
    metric, arms = choose_metric(study.trials, metric), study.arms
    baseline = _choose_baseline(arms, baseline)
    keys = study.grid_keys if by is None else tuple(full_key(key, study.grid_keys, "--by ") for key in by)
    refuse_twice(zip(by or keys, keys, strict=True))
    paired = pair_trials(study, baseline=baseline, metric=metric, threshold=threshold)
    swept = [key for key in study.grid_keys if key in DATA_SETS]
    different = [key for key in swept if paired.loc[active(paired, key), key].nunique(dropna=False) > 1]
    keys = tuple(dict.fromkeys((*keys, *different)))
    comparison = Comparison(
        metric=metric,
        baseline=baseline,
        threshold=threshold,
        grid_keys=keys,
        rows=tuple(arm_rows(paired, keys, baseline, metric)),
        points=int(paired["point"].nunique()),
        images=study.chance.images if study.chance and metric == "final_test_accuracy" else None,
        new_splits=all(config.data.split == "per_seed" for config in study.configs.values()),
        tuned=any(config.tuned and config.studies == 1 for config in study.configs.values()),
        tunings=study.tunings,
        evaluations=tuple(evaluation_rows(study, keys, baseline)),
        data_sets=_name_data_sets(paired, different),
        differs=study.differs,
        left_out=study.left_out,
        labels=study.labels,
        **outcome_counts(study.trials[~paired["training"].duplicated().to_numpy()]),
    )
    if different:
        return comparison
    return replace(
        comparison,
        overall=tuple(_overall_rows(paired, arms, baseline, metric)),
        best=tuple(best_rows(paired, study, baseline, metric)),
        robustness=tuple(_robustness_rows(paired, study, baseline, metric)),
    )


def _check_threshold(threshold: float) -> None:
    """Refuse a threshold that isn't an accuracy."""
    if not 0 <= threshold <= 1:
        share = f"; {threshold:g} % is {threshold / 100:g}" if 1 < threshold <= 100 else ""
        raise InputError(f"--threshold {threshold:g}: expected an accuracy from 0 to 1{share}")


def _name_data_sets(paired: pd.DataFrame, keys: Sequence[str]) -> tuple[str, ...]:
    """Return what tells each data set apart, where there are several."""
    if not keys:
        return ()
    return tuple(
        " ".join(str(value) for value in point.values() if value is not None) for point in grid_points(paired, keys)
    )


def _choose_baseline(arms: Sequence[str], wanted: str | None) -> str:
    """Return the wanted baseline, or by default the arm `none`, or the first."""
    if wanted is None:
        return "none" if "none" in arms else arms[0]
    if wanted not in arms:
        raise InputError(f"--baseline {wanted}: no such arm{nearest(wanted, arms)}; there are {', '.join(arms)}")
    return wanted


def arm_rows(paired: pd.DataFrame, keys: Sequence[str], baseline: str, metric: str) -> Iterator[ArmRow]:
    """Yield a row for each arm and each point of some grid keys; the other keys are averaged over, seed by seed."""
    points = grid_points(paired, keys)
    for place, cell in cells(paired, point_numbers(paired, keys)):
        yield _arm_row(cell, points[place], baseline, metric)


@np.errstate(divide="ignore", invalid="ignore")  # inf − inf, and steps too short for the clock
def _arm_row(cell: Any, point: Point, baseline: str, metric: str) -> ArmRow:
    finished, arm = cell[cell["finished"]], str(cell["arm"][0])
    pairs = finished[finished["paired"] & (arm != baseline)]
    whole, whole_pairs = balanced(finished), balanced(pairs)
    values, treated, partners = _by_unit(whole, "value"), *(_by_unit(whole_pairs, name) for name in _SIDES)
    trained = _once(finished)
    diverged = trained["outcome"] == "diverged"
    low, high = wilson_interval(int(diverged.sum()), len(trained)) or (None, None)
    epoch = censored_median(trained["epoch"])
    # NaN is never: later than every epoch.
    mine, theirs = (np.nan_to_num(whole_pairs[name], nan=np.inf) for name in ("epoch", "partner_epoch"))
    _, places = np.unique(whole_pairs["unit"], return_inverse=True)
    lead = np.bincount(places, weights=(mine < theirs)) - np.bincount(places, weights=(mine > theirs))
    return ArmRow(
        point=point,
        arm=arm,
        baseline=baseline,
        n=len(values),
        **vars(mean_interval(values, bounds(metric))),
        pairs=len(treated),
        **paired_fields(treated, partners, metric),
        trials=len(trained),
        diverged=int(diverged.sum()),
        diverged_low=low,
        diverged_high=high,
        survivors_mean=mean_interval(trained["value"][~diverged]).mean if diverged.any() else None,
        failed=int(np.sum(_once(cell)["outcome"] == "failed")),
        gap=mean_interval(whole["gap"]).mean,
        epochs_to_threshold=None if epoch is None else int(epoch),
        reached=int(np.sum(~np.isnan(trained["epoch"]))),
        restricted_epochs=restricted_mean(whole["epoch"], whole["budget"]),
        first=int(np.sum(lead > 0)),
        seconds_to_threshold=censored_median(trained["there"]),
        seconds_per_epoch=_median(trained["seconds_per_epoch"]),
        step_cost=_step_cost(pairs),
    )


_SIDES = ("value", "partner_value")


def _once(trials: Any, training: str = "training") -> Any:
    """Return each training once, whichever grid points it stands at."""
    _, firsts = np.unique(trials[training], return_index=True)
    return trials[firsts]


def _by_unit(trials: Any, column: str) -> np.ndarray:
    """Return the mean of a column over each seed, or tuning study; of a single trial that is its value."""
    found, places = np.unique(trials["unit"], return_inverse=True)
    if len(found) == len(trials):
        return np.asarray(trials[column], dtype=float)
    return np.asarray(np.bincount(places, weights=trials[column]) / np.bincount(places))


def _step_cost(pairs: Any) -> float | None:
    """Return how many times as long a step takes as the baseline's; None if either was timed for too short."""
    sides = (("seconds", "training"), ("partner_seconds", "partner_training"))
    timed = min(np.nansum(_once(pairs, training)[name]) for name, training in sides)
    return _median(pairs["seconds_per_step"] / pairs["partner_seconds_per_step"]) if timed >= TIMED else None


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def _overall_rows(paired: pd.DataFrame, arms: Sequence[str], baseline: str, metric: str) -> Iterator[Overall]:
    """Yield a row for each arm that has pairs; the baseline's trials are paired with themselves."""
    for arm in arms:
        pairs = paired[paired["paired"] & (paired["arm"] == arm)]
        if pairs.empty:
            continue
        whole = balanced(pairs)
        by_seed = seed_means(whole)
        seeds, partner_seeds = (by_seed[name].to_numpy() for name in _SIDES)
        count = 0 if arm == baseline else len(seeds)
        low, high = bootstrap_interval(differences(seeds[:count], partner_seeds[:count])) or (None, None)
        yield Overall(
            arm=arm,
            mean=mean_interval(seeds).mean,
            baseline_mean=mean_interval(partner_seeds).mean,
            bootstrap_low=low,
            bootstrap_high=high,
            seeds=len(by_seed),
            seeds_left_out=pairs["seed"].nunique() - whole["seed"].nunique(),
            points=whole["point"].nunique(),
            **paired_fields(seeds[:count], partner_seeds[:count], metric),
        )


PROBE = "mode_gap"
"""The probe that evaluates the same weights with several kinds of statistics."""
MEASURED = "final_test_accuracy"
"""The metric that it measures."""
WAYS = ("running", "population", "batch")
"""The kinds of statistics."""


def evaluation_rows(study: Study, keys: Sequence[str], baseline: str) -> Iterator[EvaluationRow]:
    """Yield a row for each arm and each point of some grid keys at which the probe mode_gap was taken."""
    measured = _mode_gaps(study, keys)
    if measured.empty:
        return
    partners = measured[measured["arm"] == baseline].set_index(["full", "seed"])[list(WAYS)].add_suffix("_partner")
    paired, points = measured.join(partners, on=["full", "seed"]), grid_points(study.trials, keys)
    for _, cell in paired.groupby(["point", "arm"], sort=False):
        place, arm = cell["point"].iloc[0], cell["arm"].iloc[0]
        whole = balanced(cell, "full").groupby("unit")
        pairs = balanced(cell[cell["running_partner"].notna() & (arm != baseline)], "full")
        by_seed = pairs.groupby("unit")[[*WAYS, *partners.columns]].mean()
        numbers: list[Any] = [mean_interval(whole[way].mean().to_numpy()).mean for way in WAYS]
        for way in ("running", "population"):
            mine, theirs = (by_seed[name].to_numpy() for name in (way, f"{way}_partner"))
            numbers += astuple(paired_difference(mine, theirs, difference_bounds(MEASURED)))
        yield EvaluationRow(points[place], arm, baseline, whole.ngroups, *[*numbers, len(by_seed)])


def _mode_gaps(study: Study, keys: Sequence[str]) -> pd.DataFrame:
    """Return the finished trials that PROBE was taken of: their places, and the accuracies at its last measurement."""
    probes = study.probes
    if probes is None or not (of := probes["probe"].isin([f"{PROBE}.{way}" for way in WAYS])).any():
        return pd.DataFrame()
    wide = probes[of].pivot_table(index=["trial", "step"], columns="probe", values="value").dropna()
    last = wide.reset_index().sort_values("step").drop_duplicates("trial", keep="last")
    last = last.rename(columns={f"{PROBE}.{way}": way for way in WAYS})
    trials = study.trials.assign(
        full=point_numbers(study.trials, study.grid_keys),
        point=point_numbers(study.trials, keys),
        unit=units(study, study.trials["seed"]),
    )
    trials = trials.loc[trials["outcome"].isin(FINISHED), ["trial", "arm", "seed", "unit", "full", "point"]]
    return trials.merge(last, on="trial")


USABLE_SHARE = 0.9
"""Share of the seeds at a value that must have been trained, at the best setting of the other keys."""
ACCURACIES = ("test_accuracy", "val_accuracy", "train_accuracy")


def _robustness_rows(paired: pd.DataFrame, study: Study, baseline: str, metric: str) -> Iterator[RobustnessRow]:
    """Yield a row for each axis of numbers and each arm that lies along it; see _along."""
    paired = paired.assign(trained=above_chance(study))
    for axis in study.grid_keys:
        values = paired[axis].dropna().unique()
        if len(values) < 2 or not all(map(is_number, values)):
            continue
        others = [key for key in study.grid_keys if key != axis]
        frame = paired.assign(at=paired[axis].astype(float), others=point_numbers(paired, others))
        frame = frame[_along(frame, axis)]
        rows = [
            _robustness_row(axis, arm, frame[frame["finished"] & (frame["arm"] == arm)], baseline, metric, study)
            for arm in study.arms
            if arm in set(frame["arm"])
        ]
        base = next((row.width for row in rows if row.arm == baseline), None)
        for row in rows:
            yield replace(row, width_ratio=row.width / base if row.arm != baseline and row.width and base else None)


def _along(paired: pd.DataFrame, axis: str) -> NDArray[np.bool_]:
    """Tell which trials lie along an axis: the arms tried the same values, at the same points of all other settings.

    These points are those with the most values that every arm tried there; points with fewer, and values that weren't
    tried at all of them, are left out. So are arms that tried only one value. Settings that only change together (in
    zip, or from run to run) have no axis: no trial lies along it. A trial on which the setting has no effect doesn't
    lie along it, either.

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
    """Mark the trials that completed with an accuracy clearly above chance."""
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
    stretches = (~usable).cumsum()[usable]  # equal along a stretch of usable values
    longest = stretches.index[stretches == stretches.mode().min()]  # of equally long ones the first
    low, high = (float(longest[0]), float(longest[-1])) if len(longest) else (None, None)
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
