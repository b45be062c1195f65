"""Runs small enough to be worked out by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

Frames = tuple[pd.DataFrame, pd.DataFrame]
MakeRun = Callable[..., Frames]


@pytest.fixture
def make_run() -> MakeRun:
    """Return a function from one mapping per trial to the frames of a run."""
    return _make_run


def _make_run(*rows: Mapping[str, Any]) -> Frames:
    """A trial gives arm, seed, its grid values and `accuracy`; `outcome`, `loss` and `curve` where they matter."""
    trials, curves = [], []
    for trial, given in enumerate(rows):
        row = {"outcome": "completed", "loss": 0.5, **given}
        accuracy, loss = row.pop("accuracy", np.nan), row.pop("loss")
        curve = row.pop("curve", [0.1, accuracy])
        trials.append({"trial": trial, **row, **_results(accuracy, loss)})
        curves += [
            {"trial": trial, "epoch": epoch, "step": 10 * epoch, "seconds": epoch / 2, **_measures(value)}
            for epoch, value in enumerate(curve)
        ]
    return pd.DataFrame(trials), pd.DataFrame(curves)


def _results(accuracy: float, loss: float) -> dict[str, float]:
    measured = {"final_train_accuracy": accuracy, "final_test_accuracy": accuracy, "final_train_loss": loss}
    return {**measured, "final_val_accuracy": np.nan, "best_val_accuracy": np.nan, "test_accuracy_at_best_val": np.nan}


def _measures(accuracy: float) -> dict[str, float]:
    return {"train_accuracy": accuracy, "val_accuracy": np.nan, "test_accuracy": accuracy}
