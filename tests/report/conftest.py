"""Comparisons and runs as the report gets them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bnexp.analysis.comparison import ArmRow, Comparison

BASELINE_ROW = ArmRow(
    point={"model.init.scale": 0.0073564}, arm="none", baseline="none", n=3, mean=0.1182, low=0.1001, high=0.1363,
    difference=None, difference_low=None, difference_high=None, deviation=None, effect=None, p=None, pairs=0, better=0,
    trials=3, diverged=1, diverged_low=0.06, diverged_high=0.79, survivors_mean=0.125, failed=0, gap=0.01,
    epochs_to_threshold=None, reached=0, restricted_epochs=20.0, first=0,
    seconds_to_threshold=None, seconds_per_epoch=0.05, step_cost=None,
)  # fmt: skip

BEFORE_ROW = replace(
    BASELINE_ROW, arm="before", mean=1 / 3, low=0.3, high=0.36,
    difference=0.2151, difference_low=0.19, difference_high=0.24, deviation=0.05, effect=4.2, p=0.25, pairs=3, better=3,
    diverged=0, diverged_low=0.0, diverged_high=0.56, survivors_mean=None,
    epochs_to_threshold=3, reached=2, restricted_epochs=9.0, first=2,
    seconds_to_threshold=0.2, seconds_per_epoch=0.07, step_cost=1.4,
)  # fmt: skip


@pytest.fixture
def comparison() -> Comparison:
    """Two arms at one grid point, three seeds."""
    return Comparison(
        metric="final_test_accuracy",
        baseline="none",
        threshold=0.9,
        grid_keys=("model.init.scale",),
        rows=(BASELINE_ROW, BEFORE_ROW),
        finished=6,
        planned=6,
    )


@pytest.fixture
def run_frames():
    """The function run_frames_of."""
    return run_frames_of


def run_frames_of(
    accuracy: np.ndarray, arms: tuple[str, ...] = ("none", "before")
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return trials and curves of a run with these accuracies, of shape (point, arm, seed, epoch).

    NaN is an epoch without a record; arms are named by place, grid values are 1, 2, … under train.lr.
    """
    places = list(np.ndindex(accuracy.shape[:3]))
    trials = pd.DataFrame(
        [
            {"arm": arms[arm], "seed": seed, "train.lr": point + 1.0, "outcome": "completed", "diverged_step": np.nan}
            for point, arm, seed in places
        ]
    )
    trials.insert(0, "trial", range(len(trials)))
    curves = pd.DataFrame(
        [
            {"trial": trial, "epoch": epoch, "step": 10 * epoch, "test_accuracy": value}
            for trial, place in enumerate(places)
            for epoch, value in enumerate(accuracy[place])
        ]
    ).dropna()
    return trials, curves.assign(train_accuracy=0.5, val_accuracy=np.nan)
