"""What one trial contributes to a comparison: its value, its gap, and how long it took to get somewhere."""

import numpy as np
import pandas as pd

from bnexp.analysis.metrics import METRICS, chosen_by
from bnexp.analysis.thresholds import first_reached

MEASURES = (
    "value",
    "gap",
    "epoch",
    "there",
    "seconds",
    "seconds_per_epoch",
    "seconds_per_step",
    "epochs",
    "validation",
)
"""Columns of `measured`."""


def measured(trials: pd.DataFrame, curves: pd.DataFrame, metric: str, threshold: float) -> pd.DataFrame:
    """Return MEASURES of every trial, in the order of `trials`; NaN is what was not measured.

    `value` is the metric; `gap` the final training accuracy minus that on test images, or validation images where
    nothing was tested; `epoch` and `there` the epoch and the seconds at the first record that reaches the threshold;
    `seconds` those of all steps, `epochs` how many were recorded; `validation` what chooses a grid point for the
    metric, infinite where a loss isn't finite.
    """
    numbers = trials["trial"]
    reached = first_reached(curves, METRICS[metric], threshold).reindex(numbers)
    last = curves.sort_values("step", kind="stable").drop_duplicates("trial", keep="last").set_index("trial")
    last = last.reindex(numbers)
    with np.errstate(divide="ignore", invalid="ignore"):
        return pd.DataFrame(
            {
                "value": trials[metric].to_numpy(dtype=float),
                "gap": (trials["final_train_accuracy"] - _unseen(trials)).to_numpy(dtype=float),
                "epoch": reached["epoch"].to_numpy(dtype=float),
                "there": reached["seconds"].to_numpy(dtype=float),
                "seconds": last["seconds"].to_numpy(dtype=float),
                "seconds_per_epoch": _ratio(last["seconds"], last["epoch"]),
                "seconds_per_step": _ratio(last["seconds"], last["step"]),
                "epochs": last["epoch"].to_numpy(dtype=float),
                "validation": _validation(trials, last, chosen_by(metric)),
            }
        )


def _validation(trials: pd.DataFrame, last: pd.DataFrame, column: str | None) -> np.ndarray:
    if column in trials:
        return trials[column].to_numpy(dtype=float)
    if column != "final_val_loss" or "val_loss" not in last:
        return np.full(len(trials), np.nan)
    # Where there are validation images, a blank loss is one that is not finite.
    loss, measured = last["val_loss"].to_numpy(dtype=float), trials["final_val_accuracy"].notna().to_numpy()
    return np.where(measured & np.isnan(loss), np.inf, loss)


def _unseen(trials: pd.DataFrame) -> pd.Series:
    tested = trials["final_test_accuracy"]
    return tested if tested.notna().any() else trials["final_val_accuracy"]


def _ratio(seconds: pd.Series, count: pd.Series) -> np.ndarray:
    return np.where(count > 0, seconds.to_numpy(dtype=float) / count.to_numpy(dtype=float), np.nan)
