"""One number per trial: what a measure looks at, and whether it is a bound only."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from bnexp.analysis.intervals import UNBOUNDED, Bounds
from bnexp.analysis.measures import measured
from bnexp.analysis.metrics import METRICS, bounds, lower_is_better
from bnexp.analysis.study import Study
from bnexp.analysis.thresholds import first_reached
from bnexp.config.claims import MeasureSettings

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
