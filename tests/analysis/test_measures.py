"""What a trial contributes, from a curve worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from bnexp.analysis.pairing import MEASURES, measured


@pytest.fixture
def trials() -> pd.DataFrame:
    """Three trials, not in the order of their numbers; the last one has no record."""
    blank = dict.fromkeys(["final_val_accuracy", "best_val_accuracy", "test_accuracy_at_best_val"], np.nan)
    rows = {
        "trial": [7, 3, 5],
        "final_train_accuracy": [0.95, 0.6, np.nan],
        "final_test_accuracy": [0.9, 0.7, np.nan],
        "final_train_loss": [0.1, 1.0, np.nan],
    }
    return pd.DataFrame(rows).assign(**blank)


@pytest.fixture
def curves() -> pd.DataFrame:
    rows = [
        (3, 0, 0, 0.0, 0.1),
        (7, 0, 0, 0.0, 0.1),
        (7, 2, 20, 3.0, 0.9),
        (7, 1, 10, 1.0, 0.8),
        (3, 2, 20, 5.0, 0.7),
    ]
    return pd.DataFrame(rows, columns=["trial", "epoch", "step", "seconds", "test_accuracy"])


def test_every_measure(trials: pd.DataFrame, curves: pd.DataFrame) -> None:
    frame = measured(trials, curves, "final_test_accuracy", 0.8)
    assert tuple(frame) == MEASURES
    expected = {
        "value": [0.9, 0.7, np.nan],
        "gap": [0.05, -0.1, np.nan],
        "epoch": [1, np.nan, np.nan],
        "there": [1.0, np.nan, np.nan],
        "seconds": [3.0, 5.0, np.nan],
        "seconds_per_epoch": [1.5, 2.5, np.nan],
        "seconds_per_step": [0.15, 0.25, np.nan],
        "epochs": [2, 2, np.nan],
        "validation": [np.nan, np.nan, np.nan],
    }
    pd.testing.assert_frame_equal(frame, pd.DataFrame(expected))


def test_the_gap_is_to_validation_where_nothing_was_tested(trials: pd.DataFrame, curves: pd.DataFrame) -> None:
    untested = trials.assign(final_test_accuracy=np.nan, final_val_accuracy=[0.5, 0.5, np.nan])
    curves = curves.assign(train_accuracy=curves["test_accuracy"])
    gap = measured(untested, curves, "final_train_accuracy", 0.8)["gap"]
    assert gap.tolist()[:2] == pytest.approx([0.45, 0.1])


def test_a_trial_that_was_only_measured_before_training_has_no_pace(trials: pd.DataFrame, curves: pd.DataFrame) -> None:
    frame = measured(trials, curves[curves["step"] == 0], "final_test_accuracy", 0.8)
    assert frame[["seconds_per_epoch", "seconds_per_step"]].isna().all(axis=None)
    assert frame["epochs"].tolist()[:2] == [0, 0]
