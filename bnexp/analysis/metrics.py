"""What arms can be compared by: the columns of trials.csv that hold one result per trial."""

from math import inf

import pandas as pd

from bnexp.analysis.intervals import Bounds
from bnexp.errors import InputError, nearest

METRICS = {
    "final_test_accuracy": "test_accuracy",
    "final_val_accuracy": "val_accuracy",
    "final_train_accuracy": "train_accuracy",
    "best_val_accuracy": "val_accuracy",
    "test_accuracy_at_best_val": "test_accuracy",
    "final_train_loss": "train_accuracy",
}
"""Every metric, with the accuracy in curves.csv that is held against the threshold beside it."""

_DEFAULTS = ("final_test_accuracy", "final_val_accuracy", "final_train_accuracy")


def choose_metric(trials: pd.DataFrame, metric: str | None = None) -> str:
    """Return the metric asked for, or the first of test, validation and training accuracy that was measured.

    Where nothing was measured yet, it is the test accuracy.

    Raises:
        InputError: the metric is unknown, or an accuracy that no trial of this run has.
    """
    measured = [name for name in METRICS if trials[name].notna().any()]
    if metric is None:
        return next((name for name in _DEFAULTS if name in measured), _DEFAULTS[0])
    if metric not in METRICS:
        raise InputError(f"unknown metric {metric!r}{nearest(metric, list(METRICS))}; known: {', '.join(METRICS)}")
    # A blank loss is one that is not finite; a blank accuracy was never measured.
    if measured and metric not in measured and not lower_is_better(metric):
        raise InputError(f"{metric} was not measured in this run; measured: {', '.join(measured)}")
    return metric


_CHOSEN_BY = {
    "final_test_accuracy": "final_val_accuracy",
    "final_train_accuracy": "final_val_accuracy",
    "test_accuracy_at_best_val": "best_val_accuracy",
    "final_train_loss": "final_val_loss",
}


def chosen_by(metric: str) -> str | None:
    """Return what chooses a grid point that is then measured by the metric: of validation images, and of its kind.

    None for a metric of the validation images: what they have chosen, they can't measure.
    """
    return _CHOSEN_BY.get(metric)


def lower_is_better(metric: str) -> bool:
    """Tell whether a smaller value is the better one."""
    return metric.endswith("loss")


def bounds(metric: str) -> Bounds:
    """Return the smallest and the largest value that the metric can have."""
    return (0.0, inf) if lower_is_better(metric) else (0.0, 1.0)


def difference_bounds(metric: str) -> Bounds:
    """Return the smallest and the largest difference of two values of the metric."""
    low, high = bounds(metric)
    return low - high, high - low


def metric_text(metric: str, value: float | None, *, sign: bool = False, blank: str = "-") -> str:
    """Write a value of the metric for people: three decimals of an accuracy, three digits of a loss."""
    if value is None:
        return blank
    return format(value, ("+" if sign else "") + (".3g" if lower_is_better(metric) else ".3f"))
