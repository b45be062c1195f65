"""What trains beside a busy program: the whole plan, nothing recorded, and a group that fails is no time."""

import psutil
import pytest

from benchmarks.busy import busy_program, planned, train
from tests.helpers import experiment

SMALL = {"name": "digits", "train_size": 80, "val_size": 20, "test_size": 20}


def test_the_busy_program_runs_as_long_as_it_is_wanted() -> None:
    with busy_program():
        (child,) = psutil.Process().children()
        assert child.is_running()
    assert not psutil.Process().children()


def test_a_plan_is_trained_with_as_many_workers_as_asked_for() -> None:
    config = experiment(data=SMALL, model={"depth": 1, "width": 4}, train={"epochs": 1, "batch_size": 20}, seeds=2)
    for workers in (1, 2):
        plan = planned(config, workers)
        assert len(plan.groups) == workers
        train(plan)


def test_a_group_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise ArithmeticError("made to fail")

    plan = planned(experiment(data=SMALL, model={"depth": 1, "width": 4}, train={"epochs": 1, "batch_size": 20}), 1)
    monkeypatch.setattr("bnexp.executors.local.train", fail)
    with pytest.raises(RuntimeError, match="made to fail"):
        train(plan)
