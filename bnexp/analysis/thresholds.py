"""How long training took to get somewhere: time-to-event data, where "never got there" is an answer."""

import numpy as np
import pandas as pd

from bnexp.analysis.intervals import Values


def first_reached(curves: pd.DataFrame, column: str, threshold: float) -> pd.DataFrame:
    """Return `epoch`, `step` and `seconds` of each trial's first record with column >= threshold.

    The index is the trial number. A trial that never got there has no row: it is censored at its
    last record, and `reindex` over all trials turns it into NaN.
    """
    reached = curves[curves[column] >= threshold].sort_values("step", kind="stable")
    return reached.drop_duplicates("trial").set_index("trial")[["epoch", "step", "seconds"]]


def censored_median(times: Values) -> float | None:
    """Return the earliest time by which at least half of the trials are there, or None if fewer ever are.

    NaN is a trial that never got there. It counts as later than all others, which is exact however
    early its record stopped: a diverged trial would not have got there within the budget either.
    """
    sample = np.asarray(times, dtype=float)
    if sample.size == 0:
        return None
    ordered = np.sort(sample)  # NaN last
    median = ordered[(sample.size - 1) // 2]
    return None if np.isnan(median) else float(median)


def restricted_mean(times: Values, budgets: Values) -> float | None:
    """Return the mean of min(time, budget), where NaN, a trial that never got there, takes its whole budget.

    The restricted mean survival time: with one budget for all it is the area under the share of trials that
    are not there yet (Royston & Parmar 2013, doi:10.1186/1471-2288-13-152). None without trials, or where neither
    a time nor a budget is known.
    """
    times, budgets = np.asarray(times, dtype=float), np.asarray(budgets, dtype=float)
    mean = float(np.fmin(times, budgets).mean()) if times.size else np.nan
    return None if np.isnan(mean) else mean
