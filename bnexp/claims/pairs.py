"""From one number per trial to one pair per seed, in the direction of the claim."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bnexp.analysis.pairing import FINISHED, measured
from bnexp.analysis.stats import UNBOUNDED, Bounds, differences, first_reached
from bnexp.analysis.study import METRICS, Study, bounds, lower_is_better
from bnexp.analysis.sweeps import above_chance
from bnexp.claims.catalogue import MeasureSettings

Table = pd.DataFrame
"""`value` and `bound` by trial number; a trial without a row, or with NaN, was not measured."""


def trial_values(study: Study, measure: MeasureSettings) -> Table:
    """Return `value` and `bound` of every trial of a study, in the order of its trials.

    A time to a threshold that was never reached, or by a trial that diverged, is the budget, the longest at the same
    grid point, and a bound. How a trial that has diverged learned is not measured: it stands still.
    """
    found = VALUES.get(measure.value, _result)(study, measure)
    table = found.reindex(study.trials["trial"])
    value = table["value"].astype(float)
    return pd.DataFrame({"value": value.abs() if measure.absolute else value, "bound": table["bound"].eq(True)})


def limits(measure: MeasureSettings) -> Bounds:
    """Return the smallest and the largest value that a trial can have."""
    if measure.value in METRICS:
        return bounds(measure.value)
    if measure.value == "diverged":
        return 0.0, 1.0
    if measure.value in ("gap", "gap_at_loss"):
        return (0.0 if measure.absolute else -1.0), 1.0
    return UNBOUNDED


def _result(study: Study, measure: MeasureSettings) -> Table:
    values = study.trials.set_index("trial")[measure.value]
    if lower_is_better(measure.value):  # a blank loss is one that is not finite
        values = values.fillna(np.inf)
    return _unbounded(values)


def _unbounded(values: pd.Series) -> Table:
    return pd.DataFrame({"value": values, "bound": False})


def _steps_to(study: Study, measure: MeasureSettings) -> Table:
    return _time_to(study, measure, "step")


def _seconds_to(study: Study, measure: MeasureSettings) -> Table:
    return _time_to(study, measure, "seconds")


def _time_to(study: Study, measure: MeasureSettings, unit: str) -> Table:
    trials = study.trials.set_index("trial")
    there = first_reached(study.curves, measure.accuracy, measure.threshold)[unit].reindex(trials.index)
    there = there.mask(trials["outcome"] == "diverged")
    spent = study.curves.groupby("trial")[unit].max().reindex(trials.index)
    # A diverged trial may have been stopped early: it would not have got there in the time that the others had.
    # Seconds are budgeted arm by arm, since what one costs isn't what the other may spend.
    cell = [trials[key].astype(str) for key in study.grid_keys] + ([trials["arm"]] if unit == "seconds" else [])
    budget = spent.groupby(cell).transform("max") if cell else pd.Series(spent.max(), trials.index)
    return pd.DataFrame({"value": there.fillna(budget), "bound": there.isna()})


def _seconds_per_step(study: Study, measure: MeasureSettings) -> Table:
    last = study.curves.sort_values("step", kind="stable").groupby("trial").last()
    return _unbounded((last["seconds"] / last["step"]).where(last["step"] > 0))


def _roughness(study: Study, measure: MeasureSettings) -> Table:
    curves = study.curves.sort_values(["trial", "step"], kind="stable")
    half = curves.groupby("trial")["step"].transform("max") / 2
    late = curves[curves["step"] >= half]
    changes = late.groupby("trial")[measure.accuracy].diff()
    return _unless_diverged(study, changes.groupby(late["trial"]).std())


def _gap(study: Study, measure: MeasureSettings) -> Table:
    measures = measured(study.trials, study.curves, "final_test_accuracy", measure.threshold)
    return _unless_diverged(study, measures["gap"].set_axis(study.trials["trial"]))


def _gap_at_loss(study: Study, measure: MeasureSettings) -> Table:
    curves = study.curves.assign(gap=study.curves["train_accuracy"] - study.curves["test_accuracy"])
    found = {
        trial: _when_down_to(measure.loss, curve["train_loss"].to_numpy(), curve["gap"].to_numpy())
        for trial, curve in curves.sort_values("step", kind="stable").groupby("trial")
    }
    return _unless_diverged(study, pd.Series(found, dtype=float))


def _unless_diverged(study: Study, values: pd.Series) -> Table:
    trials = study.trials.set_index("trial")
    return _unbounded(values.reindex(trials.index).mask(trials["outcome"] == "diverged"))


def _when_down_to(loss: float, losses: np.ndarray, values: np.ndarray) -> float:
    """Return the value at which a loss is first reached, on the line between two records; NaN where it isn't."""
    there = np.flatnonzero(losses <= loss)
    if not there.size:
        return np.nan
    end = int(there[0])
    if end == 0:
        return float(values[0])
    share = (losses[end - 1] - loss) / (losses[end - 1] - losses[end])
    share = share if np.isfinite(share) else 1.0
    return float(values[end - 1] + share * (values[end] - values[end - 1]))


def _probe(study: Study, measure: MeasureSettings) -> Table:
    if study.probes is None:
        return _unbounded(pd.Series(dtype=float))
    rows = study.probes[study.probes["probe"] == measure.probe]
    if measure.layer is not None:
        rows = rows[rows["layer"] == measure.layer]
    if measure.steps is not None:
        rows = rows[rows["step"].between(*measure.steps)]
    return _unbounded(rows.groupby("trial")["value"].mean())


def _diverged(study: Study, measure: MeasureSettings) -> Table:
    return _unbounded((study.trials.set_index("trial")["outcome"] == "diverged").astype(float))


VALUES: dict[str, Callable[[Study, MeasureSettings], Table]] = {
    "steps_to": _steps_to,
    "seconds_to": _seconds_to,
    "seconds_per_step": _seconds_per_step,
    "roughness": _roughness,
    "gap": _gap,
    "gap_at_loss": _gap_at_loss,
    "probe": _probe,
    "diverged": _diverged,
}
"""Values that are no column of trials.csv, by their name in a claim."""


CLOCKED = ("seconds_to", "seconds_per_step")
"""Values that all trials of a group share: what the seeds' differences say nothing about."""
UNTRAINED = ("probe", "diverged")
"""Values that mean something of networks that have learned nothing, too."""


@dataclass(frozen=True)
class Pairs:
    """One value of each arm per seed, and by how much they differ in the direction of the claim."""

    seeds: tuple[int, ...]
    baseline: Float[np.ndarray, " n"]
    treated: Float[np.ndarray, " n"]
    change: Float[np.ndarray, " n"]
    """Positive agrees with the claim."""
    bound: Bool[np.ndarray, " n"]
    """Where a value is a bound only: training ended before it got there, or the grid did."""
    void: str = ""
    """Why there is nothing to compare, if so."""
    notes: tuple[str, ...] = ()
    """What was left out."""
    most: float = inf
    """The largest change that is possible."""


def pairs_of(study: Study, measure: MeasureSettings) -> Pairs:
    """Return the pairs of a measure: seeds of which both arms have finished and were measured.

    Where the measure has `over`, an axis becomes one number of each arm and seed before arms are compared. Then arms
    are compared grid point by grid point; a seed's change is the mean over these, or with `change` how much larger it
    is at one value of a setting than at another. Two bounds are no difference. What was not measured with every seed,
    as a probe of a network that has diverged, is left out for all of them: all seeds are means over the same.
    """
    table = _table(study, measure)
    keys = [key for key in study.grid_keys if key not in measure.at]
    if measure.over:
        table, keys = _over(table, keys, measure), [key for key in keys if key != measure.over.key]
    measured = _side_by_side(table, keys, measure)
    joined = _whole(measured, keys, measure)
    change = differences(_scaled(joined["treated"], measure), _scaled(joined["baseline"], measure))
    joined["change"] = np.where(joined["bound_treated"] & joined["bound_baseline"], 0.0, change)
    joined["change"] *= 1 if measure.better == "higher" else -1
    joined["bound"] = joined["bound_treated"] | joined["bound_baseline"]
    by_seed = _by_seed(joined, measure)
    return Pairs(
        seeds=tuple(int(seed) for seed in by_seed.index),
        baseline=by_seed["baseline"].to_numpy(dtype=float),
        treated=by_seed["treated"].to_numpy(dtype=float),
        change=by_seed["change"].to_numpy(dtype=float),
        bound=by_seed["bound"].to_numpy(dtype=bool),
        void=_void(table, joined, measure),
        notes=tuple(_left_out(table, joined, keys)),
        most=_most(measure),
    )


def _most(measure: MeasureSettings) -> float:
    """Return the largest possible change of a measure; infinity for what has no bounds."""
    if measure.of_logarithms or (measure.over and measure.over.by == "slope"):
        return inf
    low, high = limits(measure)
    return (high - low) * (2 if measure.change else 1)


def _void(table: pd.DataFrame, joined: pd.DataFrame, measure: MeasureSettings) -> str:
    if len(table) and table["value"].isna().all():
        what = " ".join(
            filter(None, [measure.probe or measure.value, measure.layer, measure.steps and "at these steps"])
        )
        return f"nothing was measured: no trial has {what}"
    if len(table) and not table["learned"].any() and measure.value not in UNTRAINED:
        return "no trial of either arm learned anything"
    if measure.value in CLOCKED:
        return "seeds train together: that is one measurement of the time, not one for each"
    if len(joined) and (joined["bound_treated"] & joined["bound_baseline"]).all():
        return "neither arm got there in any pair"
    return ""


def _left_out(table: pd.DataFrame, joined: pd.DataFrame, keys: Sequence[str]) -> Iterator[str]:
    for what, columns in (("grid point", list(keys)), ("seed", ["seed"])):
        if not columns:
            continue
        there, kept = (len(each[columns].drop_duplicates()) for each in (table, joined))
        if kept < there:
            yield f"{there - kept} of {there} {what}s left out: not measured in every trial"


def pairs_of_rounds(baseline: Sequence[float], treated: Sequence[float], measure: MeasureSettings) -> Pairs:
    """Return the pairs of what was measured side by side, a pair a round."""
    joined = pd.DataFrame({"baseline": baseline, "treated": treated})
    change = differences(_scaled(joined["treated"], measure), _scaled(joined["baseline"], measure))
    return Pairs(
        seeds=tuple(range(len(joined))),
        baseline=joined["baseline"].to_numpy(dtype=float),
        treated=joined["treated"].to_numpy(dtype=float),
        change=change * (1 if measure.better == "higher" else -1),
        bound=np.zeros(len(joined), dtype=bool),
    )


def _table(study: Study, measure: MeasureSettings) -> pd.DataFrame:
    """Return the finished trials of both arms at the grid points that count, with value, bound and learned."""
    trials = study.trials.assign(learned=above_chance(study.trials, study.curves, study.chance))
    trials[["value", "bound"]] = trial_values(study, measure).to_numpy()
    wanted = trials["arm"].isin([measure.arm, measure.baseline]) & trials["outcome"].isin(FINISHED)
    for key, value in measure.at.items():
        wanted &= trials[key].isna() if value is None else trials[key] == value
    return trials[wanted].astype({"value": float, "bound": bool})


def _over(table: pd.DataFrame, keys: Sequence[str], measure: MeasureSettings) -> pd.DataFrame:
    """Return one row for each arm, seed and grid point of the other keys: the axis is one number there."""
    assert measure.over
    axis, reduce = measure.over.key, REDUCTIONS[measure.over.by]
    cells = table.sort_values(axis, kind="stable").groupby(
        ["arm", "seed", *(key for key in keys if key != axis)], dropna=False, sort=False
    )
    length = table[axis].nunique()
    rows = [
        dict(zip(cells.keys, name, strict=True))
        | dict(zip(("value", "bound"), reduce(cell, axis, measure), strict=True))
        | {"learned": cell["learned"].any()}
        | ({} if _measured_along(cell, length, measure) else {"value": np.nan})
        for name, cell in cells
    ]
    return pd.DataFrame(rows, columns=[*cells.keys, "value", "bound", "learned"])


def _measured_along(cell: pd.DataFrame, length: int, measure: MeasureSettings) -> bool:
    """Tell whether there is a value at every place of the axis; what is usable is known of every trial there is."""
    assert measure.over
    return len(cell) == length and (measure.over.by == "largest" or bool(cell["value"].notna().all()))


Reduced = tuple[float, bool]
"""A value, and whether it is a bound only."""


def _worst(cell: pd.DataFrame, axis: str, measure: MeasureSettings) -> Reduced:
    values = cell["value"]
    return (values.min() if measure.better == "higher" else values.max()), bool(cell["bound"].any())


def _best(cell: pd.DataFrame, axis: str, measure: MeasureSettings) -> Reduced:
    values = cell["value"]
    return (values.max() if measure.better == "higher" else values.min()), bool(cell["bound"].any())


def _spread(cell: pd.DataFrame, axis: str, measure: MeasureSettings) -> Reduced:
    return cell["value"].max() - cell["value"].min(), bool(cell["bound"].any())


def _largest(cell: pd.DataFrame, axis: str, measure: MeasureSettings) -> Reduced:
    """The largest setting at which the trial learned; at the end of the axis, or below its beginning, a bound."""
    settings, usable = cell[axis].to_numpy(dtype=float), cell["learned"].to_numpy(dtype=bool)
    return (settings[usable].max(), bool(usable[-1])) if usable.any() else (settings.min(), True)


def _slope(cell: pd.DataFrame, axis: str, measure: MeasureSettings) -> Reduced:
    settings = np.log(cell[axis].to_numpy(dtype=float))
    values = cell["value"].to_numpy(dtype=float)
    centred = settings - settings.mean()
    return float(centred @ (np.log(values) if measure.log else values) / (centred @ centred)), False


REDUCTIONS: dict[str, Callable[[pd.DataFrame, str, MeasureSettings], Reduced]] = {
    "worst": _worst,
    "best": _best,
    "spread": _spread,
    "largest": _largest,
    "slope": _slope,
}
"""How an axis becomes one number, by its name in a claim; the cell is sorted along the axis."""


def _side_by_side(table: pd.DataFrame, keys: Sequence[str], measure: MeasureSettings) -> pd.DataFrame:
    """Return the rows of both arms that agree in seed and grid point, where both were measured."""
    arms = [
        table[table["arm"] == arm][["seed", *keys, "value", "bound"]].rename(
            columns={"value": name, "bound": f"bound_{name}"}
        )
        for arm, name in ((measure.arm, "treated"), (measure.baseline, "baseline"))
    ]
    joined: pd.DataFrame = arms[0].merge(arms[1], on=["seed", *keys])
    return joined.dropna(subset=["treated", "baseline"]).reset_index(drop=True)


def _whole(measured: pd.DataFrame, keys: Sequence[str], measure: MeasureSettings) -> pd.DataFrame:
    """Return the grid points that were measured with every seed; where too few are, the seeds with all grid points."""
    if not keys:
        return measured
    cells = measured.groupby(list(keys), dropna=False)["seed"]
    whole = measured[cells.transform("nunique") == measured["seed"].nunique()]
    ends = [(key, end) for key, both in measure.change.items() for end in both]
    if len(whole) and all((whole[key] == end).any() for key, end in ends):
        return whole
    return measured[measured.groupby("seed")["seed"].transform("size") == cells.ngroups]


def _scaled(values: pd.Series, measure: MeasureSettings) -> np.ndarray:
    numbers = values.to_numpy(dtype=float)
    slope = measure.over is not None and measure.over.by == "slope"  # of logarithms already
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(numbers) if measure.of_logarithms and not slope else numbers


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
