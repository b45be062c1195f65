"""From one number per trial to one pair per seed, in the direction of the claim."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bnexp.analysis.compare import above_chance
from bnexp.analysis.pairing import FINISHED, measured
from bnexp.analysis.stats import differences, first_reached
from bnexp.analysis.study import METRICS, Study, bounds, lower_is_better, units
from bnexp.claims.catalogue import MeasureSettings, OverSettings
from bnexp.config.text import listed

TIMES = {"steps_to": "step", "seconds_to": "seconds", "steps_to_loss": "step"}
"""Times to an accuracy or a training loss: the column of curves.csv that counts them."""
CLOCKED = ("seconds_to", "seconds_per_step")
"""Timings: trials of a group share one clock, so seeds are not independent measurements."""
UNTRAINED = ("probe", "diverged")
"""Values that mean something even for networks that have learned nothing."""
OF_ALL = ("probe", "diverged", "seconds_per_step")
"""Values that diverged trials have just as others do."""


def trial_values(study: Study, measure: MeasureSettings) -> pd.DataFrame:
    """Return `value` and `bound` of every trial, by its number; the value is NaN where nothing was measured.

    Diverged trials have NaN, too, unless the measure counts them. If a trial never reached the threshold or diverged,
    its time is a bound: the budget, which is the longest time at the same grid point.
    """
    trials = study.trials.set_index("trial")
    if measure.value in TIMES:
        return _time_to(study, measure)
    value = VALUES.get(measure.value, _result)(study, measure).reindex(trials.index).astype(float)
    value = value.mask(_is_left_out(trials, measure))
    return pd.DataFrame({"value": value.abs() if measure.absolute else value, "bound": False})


def _is_left_out(trials: pd.DataFrame, measure: MeasureSettings) -> "pd.Series[bool]":
    """Mark the trials whose value is left out because they diverged."""
    concerned = measure.diverged == "left_out" and measure.value not in (*OF_ALL, *TIMES)
    return (trials["outcome"] == "diverged") & concerned


def _time_to(study: Study, measure: MeasureSettings) -> pd.DataFrame:
    unit, trials = TIMES[measure.value], study.trials.set_index("trial")
    if measure.value == "steps_to_loss":
        first = first_reached(study.curves.assign(depth=-study.curves["train_loss"]), "depth", -measure.loss)
    else:
        first = first_reached(study.curves, measure.accuracy, measure.threshold)
    reached = first[unit].reindex(trials.index)
    reached = reached.mask(trials["outcome"] == "diverged")
    spent = study.curves.groupby("trial")[unit].max().reindex(trials.index)
    # A diverged trial may have been stopped early. It would not have reached the threshold in the time of the others.
    # Each arm has its own budget of seconds, since a step of one may cost more than a step of the other.
    cell = [trials[key].astype(str) for key in study.grid_keys] + ([trials["arm"]] if unit == "seconds" else [])
    budget = spent.groupby(cell).transform("max") if cell else pd.Series(spent.max(), trials.index)
    return pd.DataFrame({"value": reached.fillna(budget).astype(float), "bound": reached.isna()})


def _result(study: Study, measure: MeasureSettings) -> pd.Series:
    values = study.trials.set_index("trial")[measure.value]
    return values.fillna(np.inf) if lower_is_better(measure.value) else values  # a blank loss is not finite


def _roughness(study: Study, measure: MeasureSettings) -> pd.Series:
    curves = study.curves.sort_values(["trial", "step"], kind="stable")
    late = curves[curves["step"] >= curves.groupby("trial")["step"].transform("max") / 2]
    deviation: pd.Series = late.groupby("trial")[measure.accuracy].diff().groupby(late["trial"]).std()
    return deviation


def _measured(study: Study, measure: MeasureSettings) -> pd.Series:
    found = measured(study.trials, study.curves, "final_test_accuracy", measure.threshold)
    return found[measure.value].set_axis(study.trials["trial"])


def _gap_at_loss(study: Study, measure: MeasureSettings) -> pd.Series:
    curves = study.curves.assign(gap=study.curves["train_accuracy"] - study.curves["test_accuracy"])
    by_trial = curves.sort_values("step", kind="stable").groupby("trial")
    return pd.Series({trial: _gap_when(measure.loss, curve) for trial, curve in by_trial}, dtype=float)


def _gap_when(loss: float, curve: pd.DataFrame) -> float:
    """Return the gap at the moment that a loss is first reached, interpolated between records; NaN if it never is."""
    loss_at, gap_at = (curve[name].to_numpy() for name in ("train_loss", "gap"))
    reached = np.flatnonzero(loss_at <= loss)
    if not reached.size or reached[0] == 0:
        return float(gap_at[0]) if reached.size else np.nan
    end = int(reached[0])
    share = (loss_at[end - 1] - loss) / (loss_at[end - 1] - loss_at[end])
    share = share if np.isfinite(share) else 1.0
    return float(gap_at[end - 1] + share * (gap_at[end] - gap_at[end - 1]))


def _probe(study: Study, measure: MeasureSettings) -> pd.Series:
    if study.probes is None:
        return pd.Series(dtype=float)
    rows = study.probes
    if measure.layer is not None:
        rows = rows[rows["layer"] == measure.layer]
    if measure.steps is not None:
        rows = rows[rows["step"].between(*measure.steps)]
    mean_of = {str(name): each.groupby("trial")["value"].mean() for name, each in rows.groupby("probe")}
    nothing = pd.Series(dtype=float)
    means = mean_of.get(measure.probe or "", nothing)
    return means - mean_of.get(measure.minus, nothing) if measure.minus else means


VALUES: dict[str, Callable[[Study, MeasureSettings], pd.Series]] = {
    "seconds_per_step": _measured,
    "roughness": _roughness,
    "gap": _measured,
    "gap_at_loss": _gap_at_loss,
    "probe": _probe,
    "diverged": lambda study, _: study.trials.set_index("trial")["outcome"] == "diverged",
}
"""Values other than columns of trials.csv and times, by their names in a claim."""


@dataclass(frozen=True)
class Pairs:
    """One value of each arm per seed or tuning study, and the difference in the direction of the claim."""

    seeds: tuple[int, ...]
    """Their numbers; where the tuning was repeated, those of the studies."""
    baseline: Float[np.ndarray, " n"]
    treated: Float[np.ndarray, " n"]
    change: Float[np.ndarray, " n"]
    """Positive agrees with the claim."""
    bound: Bool[np.ndarray, " n"]
    """True where a value is only a bound: the training, or the grid, ended too early."""
    void: str = ""
    """The reason if there is nothing to compare."""
    notes: tuple[str, ...] = ()
    """Grid points and seeds that were left out."""
    most: float = inf
    """The largest change that is possible."""
    one: Literal["seed", "tuning", "round"] = "seed"
    """One pair belongs to one of these."""


def pairs_of(study: Study, measure: MeasureSettings) -> Pairs:
    """Return the pairs of a measure: one for each seed with which both arms have finished and were measured.

    If the measure has `over`, an axis first becomes one number for each arm and seed. Then arms are compared at each
    grid point. A seed's change is the mean over the grid points; with `change` it is how much larger the difference is
    at one value of a setting than at another. Two bounds count as no difference. A grid point that was not measured
    with every seed, because a trial diverged there, is left out for all seeds, so that all are means over the same
    points. If tuning was repeated, a pair is a tuning study: the mean over its seeds. So the spread of pairs includes
    the luck of the tuning.
    """
    table = _table(study, measure)
    keys = [key for key in study.grid_keys if key not in measure.at]
    if measure.over:
        keys = [key for key in keys if key != measure.over.key]
        table = _over(table, keys, measure)
    kept, notes = _without_diverged(table, keys)
    joined = _whole(_side_by_side(kept, keys, measure), keys, measure)
    both_bounds = joined["bound_treated"] & joined["bound_baseline"]
    joined["change"] = np.where(both_bounds, 0.0, _change(joined, measure))
    joined["bound"] = joined["bound_treated"] | joined["bound_baseline"]
    notes += _left_out(kept, joined, keys)
    joined["seed"] = units(study, joined["seed"])
    return _pairs(
        _by_seed(joined, measure),
        void=_void(table, measure, only_bounds=len(joined) > 0 and bool(both_bounds.all())),
        notes=tuple(notes),
        most=_most(measure),
        one="tuning" if study.tunings else "seed",
    )


def pairs_of_rounds(baseline: Sequence[float], treated: Sequence[float], measure: MeasureSettings) -> Pairs:
    """Return the pairs of values that were measured side by side: one pair per round."""
    joined = pd.DataFrame({"baseline": baseline, "treated": treated, "bound": False})
    return _pairs(joined.assign(change=_change(joined, measure)), one="round")


def _pairs(by_seed: pd.DataFrame, **about: Any) -> Pairs:
    baseline, treated, change = (by_seed[name].to_numpy(dtype=float) for name in ("baseline", "treated", "change"))
    bound = by_seed["bound"].to_numpy(dtype=bool)
    return Pairs(tuple(map(int, by_seed.index)), baseline, treated, change, bound, **about)


def _change(joined: pd.DataFrame, measure: MeasureSettings) -> Float[np.ndarray, " n"]:
    """Return by how much the arm differs from the baseline in the direction of the claim."""
    treated, baseline = (joined[name].to_numpy(dtype=float) for name in ("treated", "baseline"))
    if measure.as_ratio:  # a slope is already computed from logarithms
        with np.errstate(divide="ignore", invalid="ignore"):
            treated, baseline = np.log(treated), np.log(baseline)
    return differences(treated, baseline) * (1 if measure.better == "higher" else -1)


def _most(measure: MeasureSettings) -> float:
    """Return the largest possible change of a measure; infinity if it has no bound."""
    low, high = -inf, inf
    if measure.of_logarithms or measure.is_slope:
        return inf
    if measure.value in METRICS:
        low, high = bounds(measure.value)
    elif measure.value in ("diverged", "gap", "gap_at_loss"):
        low, high = (0.0 if measure.value == "diverged" or measure.absolute else -1.0), 1.0
    return (high - low) * (2 if measure.change else 1)


def _void(table: pd.DataFrame, measure: MeasureSettings, *, only_bounds: bool) -> str:
    """Return the reason why nothing can be concluded; empty without one."""
    if len(table) and table["value"].isna().all() and not table["lost"].all():
        parts = [measure.probe or measure.value, measure.layer, measure.steps and "at these steps"]
        return f"nothing was measured: no trial has {' '.join(filter(None, parts))}"
    if len(table) and not table["learned"].any() and measure.value not in UNTRAINED:
        return "no trial of either arm learned anything"
    if measure.value in CLOCKED:
        return "seeds train together: that is one measurement of the time, not one for each"
    return "neither arm got there in any pair" if only_bounds else ""


def _without_diverged(table: pd.DataFrame, keys: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of pairs that lost no trial to divergence, and a line about the other pairs."""
    pair = table.groupby([*keys, "seed"], dropna=False).ngroup()
    lost = table["lost"].groupby(pair).transform("any")
    if not lost.any():
        return table, []
    arms = listed(f"{count} of {arm}" for arm, count in table.loc[table["lost"], "arm"].value_counts().items())
    return table[~lost], [f"{pair[lost].nunique()} of {pair.nunique()} pairs left out, as trials diverged: {arms}"]


def _left_out(table: pd.DataFrame, joined: pd.DataFrame, keys: Sequence[str]) -> Iterator[str]:
    for what, columns in (("grid point", list(keys)), ("seed", ["seed"])):
        measured, kept = (len(each[columns].drop_duplicates()) if columns else 0 for each in (table, joined))
        if kept < measured:
            yield f"{measured - kept} of {measured} {what}s left out: not measured in every trial"


def _table(study: Study, measure: MeasureSettings) -> pd.DataFrame:
    """Return the finished trials of both arms at the grid points that count, with value, bound, learned and lost.

    A lost value is left out because its trial diverged.
    """
    found = trial_values(study, measure)
    trials = study.trials.assign(
        value=found["value"].to_numpy(),
        bound=found["bound"].to_numpy(),
        learned=above_chance(study),
        lost=_is_left_out(study.trials, measure),
    )
    wanted = trials["arm"].isin([measure.arm, measure.baseline]) & trials["outcome"].isin(FINISHED)
    for key, value in measure.at.items():
        wanted &= trials[key].isna() if value is None else trials[key] == value
    return trials[wanted]


def _over(table: pd.DataFrame, keys: Sequence[str], measure: MeasureSettings) -> pd.DataFrame:
    """Return one row for each arm, seed and grid point of the other keys: the axis becomes one number.

    That is NaN if the axis has gaps, and lost if one of its trials diverged. The best value is the best of the other
    trials. Whether a setting is usable is known for diverged trials, too.
    """
    assert measure.over
    axis, columns, rows = measure.over.key, ["arm", "seed", *keys], []
    length = table[axis].nunique()
    for place, cell in table.sort_values(axis, kind="stable").groupby(columns, dropna=False, sort=False):
        value, bound = _largest(cell, measure.over) if measure.over.by == "largest" else _reduced(cell, axis, measure)
        value, lost = value if len(cell) == length else np.nan, cell["lost"].any() and np.isnan(value)
        rows.append((*place, value, bound, cell["learned"].any(), lost))
    return pd.DataFrame(rows, columns=[*columns, "value", "bound", "learned", "lost"])


def _reduced(cell: pd.DataFrame, axis: str, measure: MeasureSettings) -> tuple[float, bool]:
    """Return the worst or best value along an axis, their spread or slope, and whether it is only a bound."""
    assert measure.over
    if measure.over.by == "best" and not cell["lost"].all():
        cell = cell[~cell["lost"]]
    values, is_bound = cell["value"].to_numpy(dtype=float), cell["bound"].to_numpy(dtype=bool)
    low, high = (int(find(values)) for find in (np.argmin, np.argmax))  # NaN comes first for both
    if measure.over.by in ("worst", "best"):
        place = high if (measure.over.by == "best") == (measure.better == "higher") else low
        return float(values[place]), bool(is_bound[place])
    if measure.over.by == "spread":
        return float(values[high] - values[low]), bool(is_bound.any())
    settings = np.log(cell[axis].to_numpy(dtype=float))
    centred = settings - settings.mean()
    return float(centred @ (np.log(values) if measure.log else values) / (centred @ centred)), False


def _largest(cell: pd.DataFrame, over: OverSettings) -> tuple[float, bool]:
    """Return the largest usable setting, and whether it is a bound: the end of the axis, or below its beginning."""
    settings, usable = cell[over.key].to_numpy(dtype=float), cell["learned"].to_numpy(dtype=bool)
    values = cell["value"].to_numpy(dtype=float)  # NaN is never usable
    if over.least is not None:
        usable = usable & (values >= over.least)
    if over.short_by is not None:
        usable = usable & (values >= np.fmax.reduce(values) - over.short_by)
    return (settings[usable].max(), bool(usable[-1])) if usable.any() else (settings.min(), True)


def _side_by_side(table: pd.DataFrame, keys: Sequence[str], measure: MeasureSettings) -> pd.DataFrame:
    """Return the rows of both arms side by side, for each seed and grid point at which both were measured."""
    treated, baseline = (
        table.loc[table["arm"] == arm, ["seed", *keys, "value", "bound"]].rename(columns={"value": name})
        for arm, name in ((measure.arm, "treated"), (measure.baseline, "baseline"))
    )
    joined: pd.DataFrame = treated.merge(baseline, on=["seed", *keys], suffixes=("_treated", "_baseline"))
    return joined.dropna(subset=["treated", "baseline"]).reset_index(drop=True)


def _whole(measured: pd.DataFrame, keys: Sequence[str], measure: MeasureSettings) -> pd.DataFrame:
    """Return the grid points that were measured with every seed; if these are too few, the seeds with all points."""
    if not keys:
        return measured
    cells = measured.groupby(list(keys), dropna=False)["seed"]
    whole = measured[cells.transform("nunique") == measured["seed"].nunique()].copy()
    ends = [(key, end) for key, both in measure.change.items() for end in both]
    if len(whole) and all((whole[key] == end).any() for key, end in ends):
        return whole
    return measured[measured.groupby("seed")["seed"].transform("size") == cells.ngroups].copy()


def _by_seed(joined: pd.DataFrame, measure: MeasureSettings) -> pd.DataFrame:
    numbers = joined[["seed", "baseline", "treated", "change", "bound"]]
    if not measure.change:
        whole: pd.DataFrame = numbers.groupby("seed").mean()
        return whole
    ((key, ends),) = measure.change.items()
    first, last = (numbers[joined[key] == end].groupby("seed").mean() for end in ends)
    both = first.index.intersection(last.index)
    moved: pd.DataFrame = last.loc[both] - first.loc[both]
    return moved.assign(bound=(first.loc[both, "bound"] > 0) | (last.loc[both, "bound"] > 0))
