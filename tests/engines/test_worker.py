"""The worker's side: what a training yields becomes messages, none of it lost, and few enough."""

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from bnexp.engines import throttle, worker
from bnexp.engines.devices import out_of_memory
from bnexp.engines.messages import Failed, Finished, Job, Message, ProgressBatch, ProgressItem
from bnexp.engines.worker import INTERVAL, messages
from bnexp.records import EpochRecord, ProbeRecord, Snapshot
from bnexp.training.loop import Progress, train
from tests.helpers import experiment, finished, made_up_data, no_batches, only_group, rates_group
from tests.test_architecture import loaded_with


def said(
    training: Callable[[Job], Generator[Progress, None, None]], trials: int = 2, **options: float
) -> list[Message]:
    return list(messages(Job.new(rates_group(trials)), training, out_of_memory, **options))


def moments(heard: Sequence[Message]) -> list[ProgressItem]:
    return [moment for message in heard if isinstance(message, ProgressBatch) for moment in message.items]


# A real training


def whole(record: EpochRecord) -> EpochRecord:
    """A record without what the clock decides."""
    return dataclasses.replace(record, seconds=0.0)


def test_what_is_said_of_a_training_is_what_it_yields() -> None:
    group = rates_group(3, {"activation": "relu"}, epochs=3, record_at=[2, 6, 9])
    *heard, last = list(messages(Job.new(group), lambda job: train(job.group, made_up_data(job.group)), out_of_memory))
    expected = finished(group)
    assert last == Finished()
    assert [whole(each.record) for each in moments(heard)] == [whole(each.record) for each in expected]
    for name in ("ended", "probes", "resumable"):
        assert [getattr(each, name) for each in moments(heard)] == [getattr(each, name) for each in expected]
    first, *_, ending = moments(heard)
    assert first.state
    assert first.state.step == 0
    assert ending.state
    assert ending.state.trials == group.numbers
    for name, array in expected[-1].snapshot().arrays.items():
        np.testing.assert_array_equal(ending.state.arrays[name], array)


def test_trials_that_diverge_leave_their_state_as_they_end() -> None:
    group = only_group(
        experiment(
            model={"depth": 2, "width": 8, "activation": "relu"},
            arms=["none"],
            train={"epochs": 3, "batch_size": 16, "stop_diverged": True},
            grid={"train.lr": [1e30, 0.1, 0.2]},
        )
    )
    *heard, last = said(lambda job: train(group, made_up_data(group)))
    ends = [moment for moment in moments(heard) if moment.ended]
    assert last == Finished()
    assert [(moment.record.step, moment.ended) for moment in ends] == [(6, (0,)), (18, (1, 2))]
    assert [moment.state and moment.state.trials for moment in ends] == [(0, 1, 2), (1, 2)]


# Made-up ones


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still unless a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    return now


def progress(step: int, *, ended: tuple[int, ...] = (), resumable: bool = True, trials: int = 2) -> Progress:
    numbers = tuple(range(trials))
    record = EpochRecord(numbers, step, step, {}, (0.1,) * trials, float(step), *no_batches(trials))
    probes = (ProbeRecord(numbers, step, step, {("fc1", "mean"): (0.5,) * trials}),)
    return Progress(record, ended, lambda: Snapshot(numbers, step, step, 0.0, {}), probes, step / 8, resumable)


def every(clock: list[float], seconds: float, yielded: Sequence[Progress]) -> Callable[[Job], Iterator[Any]]:
    """A training that takes so long from one record to the next."""

    def training(job: Job) -> Iterator[Progress]:
        for each in yielded:
            yield each
            clock[0] += seconds

    return training


def test_all_that_the_loop_says_arrives_in_order_and_once(clock: list[float]) -> None:
    yielded = [progress(step, resumable=step % 3 == 0) for step in range(40)]
    *heard, last = said(every(clock, 0.1, yielded))
    assert last == Finished()
    assert [(each.record, each.ended, each.probes, each.probing, each.resumable) for each in moments(heard)] == [
        (each.record, each.ended, each.probes, each.probing, each.resumable) for each in yielded
    ]
    assert all(message.items for message in heard if isinstance(message, ProgressBatch))


def heard_at(clock: list[float], training: Callable[[Job], Iterator[Any]]) -> list[tuple[float, list[int]]]:
    """When messages come, and the steps that they tell of."""
    start = clock[0]
    return [
        (clock[0] - start, [moment.record.step for moment in message.items])
        for message in messages(Job.new(rates_group(2)), training, out_of_memory)
        if isinstance(message, ProgressBatch)
    ]


def test_messages_wait_for_the_interval_and_the_last_one_for_nothing(clock: list[float]) -> None:
    assert INTERVAL == 0.25
    heard = heard_at(clock, every(clock, 0.125, [progress(step) for step in range(6)]))
    assert heard == [(0, [0]), (0.25, [1, 2]), (0.5, [3, 4]), (0.75, [5])]


def test_records_that_come_seldom_do_not_wait(clock: list[float]) -> None:
    heard = heard_at(clock, every(clock, 1.0, [progress(step) for step in range(3)]))
    assert heard == [(0, [0]), (1, [1]), (2, [2])]


def test_the_end_of_a_trial_is_said_at_once_with_all_that_waited(clock: list[float]) -> None:
    yielded = [progress(step, ended=(0,) if step == 2 else ()) for step in range(6)]
    heard = heard_at(clock, every(clock, 0.0625, yielded))
    # And the next message waits for the interval from then on.
    assert heard == [(0, [0]), (0.125, [1, 2]), (0.375, [3, 4, 5])]


def test_the_time_that_the_driver_takes_is_no_time_between_messages(clock: list[float]) -> None:
    some = messages(Job.new(rates_group(2)), every(clock, 0.125, [progress(step) for step in range(3)]), bool)
    next(some)
    clock[0] += 10
    assert isinstance(message := next(some), ProgressBatch)
    assert [moment.record.step for moment in message.items] == [1, 2]


def states(heard: Sequence[Message]) -> list[int]:
    return [moment.state.step for moment in moments(heard) if moment.state]


def test_the_first_moment_that_can_be_gone_on_from_has_a_state(clock: list[float]) -> None:
    yielded = [progress(step, resumable=step >= 2) for step in range(4)]
    first = next(moment for moment in moments(said(every(clock, 1.0, yielded))) if moment.state)
    assert (first.record.step, first.state and first.state.step) == (2, 2)


def costly(clock: list[float], some: Progress, seconds: float = 1.0, numbers: int = 0) -> Progress:
    """The same with a state that takes so long to copy, and has so many numbers."""

    def snapshot() -> Snapshot:
        clock[0] += seconds
        return dataclasses.replace(some.snapshot(), arrays={"network.weight": np.zeros(numbers, np.float32)})

    return dataclasses.replace(some, snapshot=snapshot)


def test_further_states_take_no_more_than_their_share_of_the_time(clock: list[float]) -> None:
    heard = said(every(clock, 50.0, [costly(clock, progress(step)) for step in range(13)]))
    # One second in two hundred, from the end of the copy on.
    assert throttle.HELD_SHARE == 1 / 200
    assert states(heard) == [0, 4, 8, 12]


def test_the_way_of_a_state_to_the_driver_counts_too(clock: list[float]) -> None:
    yielded = [costly(clock, progress(step), seconds=0.0, numbers=250) for step in range(13)]
    assert states(said(every(clock, 50.0, yielded), bandwidth=1000.0)) == [0, 4, 8, 12]


def test_states_that_cost_nothing_come_with_every_moment_that_can_be_gone_on_from(clock: list[float]) -> None:
    heard = said(every(clock, 1.0, [progress(step, resumable=step % 3 == 0) for step in range(9)]))
    assert states(heard) == [0, 3, 6]


def test_of_the_states_in_a_message_only_the_newest_travels(clock: list[float]) -> None:
    first, *heard, _ = said(every(clock, 0.0, [progress(step, resumable=step != 6) for step in range(7)]))
    (message,) = heard
    assert [states([each]) for each in (first, message)] == [[0], [5]]
    assert [moment.record.step for moment in moments([message])] == [1, 2, 3, 4, 5, 6]


def test_a_state_comes_whenever_trials_end(clock: list[float]) -> None:
    yielded = [progress(0), progress(1, ended=(0,)), progress(2), progress(3, ended=(1,), resumable=False)]
    heard = said(every(clock, 1.0, [costly(clock, each) for each in yielded]))
    assert states(heard) == [0, 1, 3]


def test_states_are_copied_before_the_training_goes_on(clock: list[float]) -> None:
    at = [0]

    def training(job: Job) -> Generator[Progress, None, None]:
        for step in range(3):
            at[0] = step
            made = progress(step)
            clock[0] += 1.0
            yield dataclasses.replace(made, snapshot=lambda: Snapshot((0, 1), at[0], at[0], 0.0, {}))

    assert states(said(training)) == [0, 1, 2]


# What breaks


def breaking(error: Exception, after: int) -> Callable[[Job], Generator[Progress, None, None]]:
    def training(job: Job) -> Generator[Progress, None, None]:
        for step in range(after):
            yield progress(step)
        raise error

    return training


@pytest.mark.parametrize("after", [0, 1, 5])
@pytest.mark.parametrize(
    ("error", "full"), [(RuntimeError("the device is gone"), False), (MemoryError("no room"), True)]
)
def test_what_breaks_a_training_is_said_after_all_that_it_yielded(
    clock: list[float], error: Exception, full: bool, after: int
) -> None:
    *heard, last = said(breaking(error, after))
    assert [moment.record.step for moment in moments(heard)] == list(range(after))
    assert isinstance(last, Failed)
    assert last.out_of_memory == full
    lines = last.failure.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == f"{type(error).__name__}: {error}"


def test_a_training_that_can_not_begin_is_said_to_be_broken() -> None:
    def training(job: Job) -> Generator[Progress, None, None]:
        raise RuntimeError("mnist did not reach node-3")

    (only,) = said(training)
    assert isinstance(only, Failed)
    assert only.failure.endswith("RuntimeError: mnist did not reach node-3\n")


@pytest.mark.parametrize("taken", [1, 2])
def test_a_training_that_nobody_listens_to_any_more_is_closed(clock: list[float], taken: int) -> None:
    ends = []

    def training(job: Job) -> Generator[Progress, None, None]:
        try:
            for step in range(100):
                yield progress(step)
                clock[0] += 1.0
        finally:
            ends.append(step)

    some = messages(Job.new(rates_group(2)), training, out_of_memory)
    for _ in range(taken):
        next(some)
    assert ends == []
    some.close()  # type: ignore[attr-defined]
    assert ends == [taken - 1]


@pytest.mark.parametrize("module", ["messages", "worker"])
def test_messages_need_no_torch_and_no_ray(module: str) -> None:
    assert not {"torch", "ray"} & loaded_with(f"bnexp.engines.{module}")
