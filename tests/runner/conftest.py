"""Shared by the tests of runs: a small run with weights and probes, and runs without pictures or waiting."""

import pytest

from bnexp.engines import throttle
from bnexp.runner import run as runner
from bnexp.runner.prepare import prepare
from bnexp.store.reader import RunRecord
from tests.helpers import experiment

ARMS = ["none", "before"]
TAKEN = ["gradient_norm", "variance_shift", "gradient_noise", "effective_smoothness", "sharpness", "mode_gap"]


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A finished run of two arms and two seeds."""
    config = experiment(
        data={"name": "digits", "train_size": 160, "val_size": 0, "test_size": 40},
        model={"depth": 2, "width": 8, "dropout": 0.2},
        arms=ARMS,
        train={"epochs": 1, "batch_size": 32, "schedule": "cosine", "precision": "fp64"},
        probes=TAKEN,
        seeds=2,
    )
    return runner.run(prepare(config, tmp_path_factory.mktemp("runs"), "cpu"))


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every copy and checkpoint that is asked for, whatever share of the time it takes."""
    for share in ("HELD_SHARE", "SAVED_SHARE"):
        monkeypatch.setattr(throttle, share, float("inf"))
