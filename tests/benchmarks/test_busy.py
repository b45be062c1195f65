"""The benchmark beside a busy program trains the whole plan, and a group that fails stops it."""

import psutil
import pytest

from benchmarks.busy import busy_program, planned, train
from bnexp.config.experiment import ExperimentConfig
from bnexp.engines import local
from bnexp.engines.processes import ProcessPool
from tests.helpers import experiment

SMALL = {"name": "digits", "train_size": 80, "val_size": 20, "test_size": 20}


def test_the_busy_program_runs_as_long_as_it_is_wanted() -> None:
    others = set(psutil.Process().children())  # which earlier tests have left
    with busy_program():
        (child,) = set(psutil.Process().children()) - others
        assert child.is_running()
    assert set(psutil.Process().children()) <= others


def config() -> ExperimentConfig:
    """Two groups of one trial."""
    arms = ["none", "before"]
    return experiment(data=SMALL, model={"depth": 1, "width": 4}, train={"epochs": 1, "batch_size": 20}, arms=arms)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_plan_is_trained_with_as_many_workers_as_asked_for(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pools, plan = list[int](), planned(config(), workers)
    monkeypatch.setattr(local, "ProcessPool", lambda places, on: pools.append(len(places)) or ProcessPool(places, on))  # type: ignore[func-returns-value]
    train(plan)
    assert pools == ([2] if workers == 2 else [])


def test_a_group_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **named: object) -> None:
        raise ArithmeticError("made to fail")

    plan = planned(config(), 1)
    monkeypatch.setattr("bnexp.engines.local.train", fail)
    with pytest.raises(RuntimeError, match="made to fail"):
        train(plan)
