"""Runs small enough to be worked out by hand: as studies of made-up frames, and as folders."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bnexp.analysis.study import Chance, Study
from bnexp.plan import Trial, run_name, trials
from bnexp.records import MEASURES, EpochRecord, Outcome
from bnexp.store.reader import RunRecord
from bnexp.store.tables import EARLY_STOP_COLUMNS
from bnexp.store.writer import RunWriter
from tests.helpers import experiment, no_batches

MakeFolder = Callable[..., RunRecord]


def a_study(
    rows: Iterable[Mapping[str, Any]], arms: Sequence[str] = ("none", "before"), chance: float | None = None
) -> Study:
    """A study from one mapping per trial; keys with a dot are grid keys.

    A trial gives arm, seed, its grid values and `accuracy`; where they matter also how it ended and got there.
    `outcome`, `loss`, `val` and `train` are final values (the training accuracy is `accuracy` by default), `curve`
    the accuracies from before training on, an epoch apart, `losses` those of training at the same moments (1), and
    `pace` the seconds that an epoch of ten steps took.
    """
    trials, curves = [], []
    for trial, given in enumerate(rows):
        row = {"outcome": "completed", "loss": 0.5, "val": np.nan, "pace": 0.5, **given}
        accuracy = row.pop("accuracy", np.nan)
        curve, pace = row.pop("curve", [0.1, accuracy]), row.pop("pace")
        train, val = row.pop("train", accuracy), row.pop("val")
        losses = row.pop("losses", [1.0] * len(curve))
        results = {
            "final_train_accuracy": train,
            "final_test_accuracy": accuracy,
            "final_train_loss": row.pop("loss"),
            "final_val_accuracy": val,
            "best_val_accuracy": val,
            "test_accuracy_at_best_val": np.nan if np.isnan(val) else accuracy,
        }
        trials.append({"trial": trial, **row, **results})
        curves += [
            {
                "trial": trial,
                "epoch": epoch,
                "step": 10 * epoch,
                "seconds": epoch * pace,
                "train_loss": losses[epoch],
                "train_accuracy": value + np.nan_to_num(train - accuracy),
                "val_accuracy": np.nan,
                "test_accuracy": value,
            }
            for epoch, value in enumerate(curve)
        ]
    return study_of_frames(pd.DataFrame(trials), pd.DataFrame(curves), arms, chance)


def study_of_frames(
    trials: pd.DataFrame, curves: pd.DataFrame, arms: Sequence[str], chance: float | None = None
) -> Study:
    """A study of two tables; columns with a dot are grid keys."""
    return Study(
        name="made-up",
        question="",
        runs=("made-up",),
        trials=trials.assign(**dict.fromkeys(EARLY_STOP_COLUMNS, np.nan)),
        curves=curves,
        grid_keys=tuple(str(key) for key in trials if "." in str(key)),
        arms=tuple(arms),
        settings={},
        chance=None if chance is None else Chance(chance),
        environments={},
    )


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Return a function from an experiment's keywords to its run folder, as a reader finds it.

    Every trial has records at epochs 0, 1 and 2 and has completed, unless `outcomes` says otherwise (None: not
    ended). `accuracy` and `loss` are functions of the trial, `measures` the names of what was measured, `among` the
    folder's folder.
    """

    def make(
        *,
        outcomes: Mapping[int, str | None] | None = None,
        accuracy: Callable[[Trial], float] = lambda trial: 0.5,
        loss: Callable[[Trial], float] = lambda trial: 0.3,
        measures: Iterable[str] = MEASURES,
        environment: Mapping[str, Any] | None = None,
        among: str = "runs",
        **raw: Any,
    ) -> RunRecord:
        config = experiment(**{"arms": ["none", "before"], "data": {"name": "digits"}} | raw)
        planned = trials(config)
        writer = RunWriter.create(tmp_path / among / run_name(config), config, planned, environment or {})
        for epoch in range(3):
            writer.append(_record(epoch, planned, {name: loss if "loss" in name else accuracy for name in measures}))
        ended = {trial.number: "completed" for trial in planned} | dict(outcomes or {})
        writer.end(Outcome(number, kind) for number, kind in ended.items() if kind)
        writer.close()
        return RunRecord(writer.path)

    return make


def _record(epoch: int, planned: tuple[Trial, ...], values: Mapping[str, Callable[[Trial], float]]) -> EpochRecord:
    numbers = tuple(trial.number for trial in planned)
    measured = {
        name: tuple(0.1 if epoch == 0 and "accuracy" in name else value(trial) for trial in planned)
        for name, value in values.items()
    }
    return EpochRecord(
        numbers, epoch, 20 * epoch, measured, (0.1,) * len(numbers), epoch / 2, *no_batches(len(numbers))
    )
