"""Running out of memory: the group is cut and carries on, and only a trial alone that doesn't fit has failed."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import torch

from bnexp.engines.devices import out_of_memory
from bnexp.engines.local import execute
from bnexp.engines.messages import Event, Job
from bnexp.plan import TrialGroup
from bnexp.records import Snapshot
from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import train
from tests.helpers import (
    TOGETHER_FLOAT64,
    assert_close,
    crossed,
    curve,
    experiment,
    finished,
    made_up_data,
    only_group,
    rates_group,
)

Limit = Callable[[int], None]


def group(trials: int = 6, seeds: int = 1, **train: Any) -> TrialGroup:
    own = {"epochs": 3, "precision": "fp64", "momentum": 0.9}
    return rates_group(trials, {"dropout": 0.2}, seeds, **own | train)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let updates of more than some number of trials run out of memory, from some step on."""
    update = GroupTrainState.update

    def limit(trials: int, from_step: int = 1, error: type[Exception] = torch.OutOfMemoryError) -> None:
        def limited(self: GroupTrainState, batch_SB: torch.Tensor, rate_K1: torch.Tensor, step: torch.Tensor) -> None:
            if len(self.group.trials) > trials and step >= from_step:
                raise error("CUDA out of memory. Tried to allocate 2.00 GiB.")
            update(self, batch_SB, rate_K1, step)

        monkeypatch.setattr(GroupTrainState, "update", limited)

    return limit


def events(some: TrialGroup, latest: Callable[[int], Snapshot | None] = lambda number: None) -> list[Event]:
    datasets = type("Same", (dict,), {"__missing__": lambda self, key: made_up_data(some)})()
    return list(execute([Job.new(some)], datasets, latest))


@pytest.mark.parametrize(
    ("seeds", "most", "error"), crossed([1, 2, 3], [1, 2, 3, 4], [torch.OutOfMemoryError, MemoryError], fast=6)
)
def test_the_trials_go_on_in_parts_and_equal_those_trained_together(
    memory: Callable[..., None], most: int, seeds: int, error: type[Exception]
) -> None:
    some = group(seeds=seeds)
    whole = [each.record for each in finished(some)]
    memory(most, error=error)
    seen = events(some)
    sizes = [len(part.group.trials) for event in seen for part in event.parts]
    assert sizes
    assert not any(event.failure for event in seen)
    for number in some.numbers:
        # Records of the group that ran out are made again by its parts.
        (last,) = (event.job for event in seen if event.progress and number in event.progress.ended)
        records = [event.progress.record for event in seen if event.progress and event.job is last]
        assert len(last.group.trials) <= most
        assert_close(curve(records, number), curve(whole, number), TOGETHER_FLOAT64)


def test_parts_of_a_convolutional_group_equal_those_trained_together(memory: Callable[..., None]) -> None:
    some = only_group(
        experiment(
            model={"family": "resnet", "depth": 8, "width": 4, "dropout": 0.2, "norm": "noisy_batch"},
            train={"epochs": 2, "batch_size": 32, "augment": "flip_crop", "precision": "fp64"},
            grid={"train.lr": [0.1, 0.01]},
            seeds=2,
        )
    )
    whole = [each.record for each in finished(some)]
    memory(1, from_step=4)
    seen = events(some)
    assert not any(event.failure for event in seen)
    for number in some.numbers:
        (last,) = (event.job for event in seen if event.progress and number in event.progress.ended)
        records = [event.progress.record for event in seen if event.progress and event.job is last]
        assert len(last.group.trials) == 1
        assert_close(curve(records, number), curve(whole, number), TOGETHER_FLOAT64)


def test_parts_go_on_from_the_newest_snapshot(memory: Callable[..., None]) -> None:
    some = group()
    snapshots: dict[int, Snapshot] = {}
    whole = []
    with closing(train(some, made_up_data(some))) as records:
        for progress in records:
            whole.append(progress.record)
            if progress.record.epoch == 2:
                snapshots[0] = progress.snapshot()
    memory(3, from_step=14)
    seen = events(some, snapshots.get)
    (cut,) = (event for event in seen if event.parts)
    assert [part.resume and part.resume.step for part in cut.parts] == [12, 12]
    for part in cut.parts:
        (record,) = (event.progress.record for event in seen if event.progress and event.job is part)
        for number in part.group.numbers:
            assert_close(curve([record], number), curve(whole[-1:], number), TOGETHER_FLOAT64)


def test_trials_that_have_left_the_group_do_not_come_back(memory: Callable[..., None]) -> None:
    some = only_group(
        experiment(
            model={"depth": 2, "width": 8, "activation": "relu"},
            arms=["none"],
            train={"epochs": 3, "batch_size": 16, "stop_diverged": True},
            grid={"train.lr": [1e30, 0.1, 0.2, 0.3]},
        )
    )
    memory(2, from_step=8)
    seen = events(some)
    (cut,) = (event for event in seen if event.parts)
    assert sorted(number for part in cut.parts for number in part.group.numbers) == [1, 2, 3]
    ended = [number for event in seen if event.progress for number in event.progress.ended]
    assert sorted(ended) == [0, 1, 2, 3]


def test_one_trial_alone_that_does_not_fit_has_failed_and_the_setting_to_lower_is_named(
    memory: Callable[..., None],
) -> None:
    memory(0)
    failures = [event.failure for event in events(group(2)) if event.failure]
    assert len(failures) == 2
    assert {failure.splitlines()[-1] for failure in failures} == {
        "one trial alone is too large for the memory; lower train.batch_size, model.width or model.depth"
    }
    assert "OutOfMemoryError: CUDA out of memory" in failures[0]


def test_the_cpus_own_error_counts_as_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    update = GroupTrainState.update

    def greedy(self: GroupTrainState, *args: torch.Tensor) -> None:
        if len(self.group.trials) > 3:
            torch.empty(2**60)
        update(self, *args)

    monkeypatch.setattr(GroupTrainState, "update", greedy)
    seen = events(group())
    assert [len(part.group.trials) for event in seen for part in event.parts] == [3, 3]
    assert not any(event.failure for event in seen)


@pytest.mark.parametrize(
    ("error", "cut"),
    [
        ("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported", True),
        ("CUDA driver error: out of memory", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", True),
        ("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`", True),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", False),
    ],
)
def test_libraries_say_in_their_own_words_that_memory_ran_out(error: str, cut: bool) -> None:
    assert out_of_memory(RuntimeError(error)) == cut
    assert not out_of_memory(ValueError(error))


def test_out_of_memory_is_seen_behind_the_error_that_it_caused(monkeypatch: pytest.MonkeyPatch) -> None:
    update = GroupTrainState.update

    def hidden(self: GroupTrainState, *args: torch.Tensor) -> None:
        if len(self.group.trials) > 3:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            finally:
                raise RuntimeError("the capture was invalidated")
        update(self, *args)

    monkeypatch.setattr(GroupTrainState, "update", hidden)
    assert [len(part.group.trials) for event in events(group()) for part in event.parts] == [3, 3]


def test_another_error_is_a_failure_however_many_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: GroupTrainState, *args: torch.Tensor) -> None:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(GroupTrainState, "update", broken)
    seen = events(group())
    assert [event.failure.splitlines()[-1] for event in seen if event.failure] == ["RuntimeError: the device is gone"]
    assert not any(event.parts for event in seen)
