"""A group's memory is free before the next one is built: on a GPU each plan counts on that."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.engines.messages import Event
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.training import loop
from bnexp.training.graphs import GraphedUpdate, cuda_graph
from bnexp.training.group_state import GroupTrainState
from tests.gpu.pretended_cuda import PretendedCuda
from tests.helpers import experiment, leave_out_report

Births = list[tuple[int, int]]


@pytest.fixture
def births(monkeypatch: pytest.MonkeyPatch, pretended_cuda: PretendedCuda) -> Iterator[Births]:
    """For every state that is built, its trials, and how many states and graphs there are at that moment."""
    found: Births = []
    alive: list[weakref.ref[object]] = []
    build = GroupTrainState.__init__

    def built(self: GroupTrainState, *args: Any) -> None:
        build(self, *args)
        found.append((len(self.group.trials), sum(each() is not None for each in alive)))
        alive.append(weakref.ref(self))

    def graphed(train_state: GroupTrainState) -> GraphedUpdate:
        update = GraphedUpdate(train_state, cuda_graph)
        alive.append(weakref.ref(update))
        return update

    monkeypatch.setattr(GroupTrainState, "__init__", built)
    monkeypatch.setattr(loop, "updater", graphed)
    leave_out_report(monkeypatch)
    gc.disable()
    yield found
    gc.enable()


def trained(folder: Path, **raw: Any) -> None:
    """Run an experiment as users do, watched by someone who keeps what happened last."""
    config = experiment(
        data={"name": "digits", "train_size": 96, "val_size": 16, "test_size": 16},
        train={"epochs": 2, "batch_size": 32} | raw.pop("train", {}),
        **{"model": {"depth": 1, "width": 8, "activation": "relu"}, "probes": ["drift"]} | raw,
    )
    seen: list[Event] = []
    run(prepare(config, folder, "cpu"), lambda event: seen.__setitem__(slice(None), [event]))


def test_when_the_next_group_is_built(births: Births, tmp_path: Path) -> None:
    trained(tmp_path, arms=["none", "before"])
    assert births == [(1, 0), (1, 0)]


def test_when_a_group_goes_on_without_trials_that_ended(births: Births, tmp_path: Path) -> None:
    rates = {"train.lr": [0.1, 1e30, 0.2]}
    trained(tmp_path, arms=["none"], train={"stop_diverged": True, "lr": 0.1, "epochs": 4}, grid=rates)
    assert births == [(3, 0), (2, 0)]


@pytest.mark.parametrize("step", [1, 5])
def test_when_a_group_is_cut(births: Births, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    call = GraphedUpdate.__call__

    def limited(self: GraphedUpdate, batch_SB: torch.Tensor, rate_K1: torch.Tensor, number: torch.Tensor) -> None:
        if len(rate_K1) > 2 and number >= step:
            raise torch.OutOfMemoryError("CUDA out of memory")
        call(self, batch_SB, rate_K1, number)

    monkeypatch.setattr(GraphedUpdate, "__call__", limited)
    trained(tmp_path, arms=["none"], grid={"train.lr": [0.1, 0.2, 0.3, 0.4]})
    assert births == [(4, 0), (2, 0), (2, 0)]
