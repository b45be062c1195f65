"""A search that halves: who is stopped trains no further, and an interruption changes no decision."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bnexp.analysis.choices import choose, tuning_caveat
from bnexp.config.experiment import ExperimentConfig, final_config, searches
from bnexp.engines.local import Local
from bnexp.engines.messages import Event
from bnexp.runner.dry_run import overview
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.store.reader import RunRecord
from tests.helpers import experiment, leave_out_report

pytestmark = pytest.mark.usefixtures("without_report")
EPOCHS, TRIED = 4, 8
AT, KEEP = (1, 2), (4, 2)


def config(**raw: Any) -> ExperimentConfig:
    tune = {"sample": {"train.lr": {"loguniform": [1e-4, 10]}}, "trials": TRIED, "halve": 2, "seeds": 2}
    return experiment(
        **{
            "data": {"name": "digits", "train_size": 200, "val_size": 100, "test_size": 50},
            "model": {"depth": 1, "width": 8, "activation": "relu"},
            "arms": ["none", "before"],
            "train": {"epochs": EPOCHS, "batch_size": 50, "checkpoint_every": 0.001},
            "tune": tune,
            "seeds": 2,
        }
        | raw
    )


def table(record: RunRecord) -> pd.DataFrame:
    return record.trials.drop(columns="seconds")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunRecord]:
    """An undisturbed search."""
    with pytest.MonkeyPatch.context() as patch:
        leave_out_report(patch)
        (search,) = searches(config())
        yield run(prepare(search, tmp_path_factory.mktemp("runs"), "cpu"))


def test_every_arm_trains_the_same_number_of_epochs(whole: RunRecord) -> None:
    epochs = whole.curves.groupby("trial")["epoch"].max()
    trials = whole.trials.set_index("trial")
    for arm in ("none", "before"):
        mine = epochs[trials["arm"] == arm]
        assert mine.value_counts().to_dict() == {1: 2 * (TRIED - 4), 2: 2 * (4 - 2), EPOCHS: 2 * 2}
    assert (trials["outcome"] == "stopped").equals(epochs < EPOCHS)


def test_the_best_after_each_comparison_go_on(whole: RunRecord) -> None:
    curves = whole.curves.merge(whole.trials[["trial", "arm", "train.lr"]], on="trial")
    for epoch, keep in zip(AT, KEEP, strict=True):
        for _, mine in curves.groupby("arm"):
            means = mine[mine["epoch"] == epoch].groupby("train.lr")["val_accuracy"].mean()
            assert {*mine[mine["epoch"] > epoch]["train.lr"]} <= {*means[means >= means.nlargest(keep).min()].index}


def test_of_those_that_were_never_stopped_one_is_chosen_and_what_that_took_is_said(whole: RunRecord) -> None:
    found = choose(config(), whole)
    spent = 2 * (TRIED * 1 + 4 * 1 + 2 * 2)
    assert [(each.tried, each.stopped, each.left_out, each.epochs) for each in found] == [(2, 6, 0, spent)] * 2
    said = tuning_caveat(final_config(config(), found), {"none": "plain", "before": "BN"})
    assert f"(plain: in {spent} epochs, 6 of 8 values were stopped early, " in said


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interruption_at_any_record_changes_nothing(whole: RunRecord, tmp_path: Path, workers: int) -> None:
    (search,) = searches(config())
    left = count(1)

    def interrupt(event: Event) -> None:
        if event.step is None and next(left) % 4 == 0:
            raise KeyboardInterrupt

    for _ in range(30):
        plan = prepare(search, tmp_path, Local.on("cpu", workers))
        try:
            done = run(plan, interrupt)
            break
        except KeyboardInterrupt:
            pass
    pd.testing.assert_frame_equal(table(done), table(whole))
    order = ["trial", "step"]
    mine, theirs = (each.curves.drop(columns="seconds").sort_values(order, ignore_index=True) for each in (done, whole))
    pd.testing.assert_frame_equal(mine, theirs)


def test_an_overview_says_what_each_arm_trains() -> None:
    assert (
        "  Each arm trains 32 of 64 epochs for its choice. Of its 8 draws 4 go on after epoch 1, 2 go on after epoch 2 "
        "(tune.halve).\n"
    ) in overview(config(), Local.on("cpu")).summary()
