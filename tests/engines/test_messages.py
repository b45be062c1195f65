"""The worker's side: what a training yields becomes messages, none of it lost, and few enough."""

import dataclasses
import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from bnexp.engines import messages as passing
from bnexp.engines import throttle
from bnexp.engines.devices import out_of_memory
from bnexp.engines.messages import (
    INTERVAL,
    Failed,
    Finished,
    Job,
    Message,
    ProgressBatch,
    ProgressItem,
    Working,
    messages,
)
from bnexp.records import EpochRecord, Heartbeat, ProbeRecord, Snapshot
from bnexp.training.loop import Progress, train
from tests.helpers import experiment, finished, made_up_data, no_batches, only_group, rates_group
from tests.test_architecture import Imports, loaded_with


def said(training: Callable[[Job], Any], trials: int = 2, **options: float) -> list[Message]:
    return list(messages(Job.new(rates_group(trials)), training, out_of_memory, **options))


def moments(heard: Sequence[Message]) -> list[ProgressItem]:
    return [moment for message in heard if isinstance(message, ProgressBatch) for moment in message.items]


def states(heard: Sequence[Message]) -> list[int]:
    """The steps of the states that came."""
    return [moment.state.step for moment in moments(heard) if moment.state]


# Real trainings


def test_what_is_said_of_a_training_is_what_it_yields() -> None:
    group = only_group(
        experiment(
            model={"depth": 2, "width": 8, "activation": "relu"},
            arms=["none"],
            train={"epochs": 3, "batch_size": 16, "stop_diverged": True, "record_at": [2, 6, 9]},
            grid={"train.lr": [1e30, 0.1, 0.2]},
        )
    )
    *heard, last = pickle.loads(pickle.dumps(said(lambda job: train(group, made_up_data(group)))))
    expected = finished(group)
    assert last == Finished()
    for moment, each in zip(moments(heard), expected, strict=True):
        assert repr(dataclasses.replace(moment.record, seconds=0)) == repr(dataclasses.replace(each.record, seconds=0))
        assert (moment.ended, moment.probes, moment.resumable) == (each.ended, each.probes, each.resumable)
    assert [moment.ended for moment in moments(heard)] == [(), (), (0,), (), (1, 2)]
    for name, array in expected[-1].snapshot().arrays.items():
        np.testing.assert_array_equal(moments(heard)[-1].snapshot().arrays[name], array)


# Made-up ones


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still unless a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(passing.time, "monotonic", lambda: now[0])
    return now


def progress(step: int, *, ended: tuple[int, ...] = (), resumable: bool = True, trials: int = 2) -> Progress:
    numbers = tuple(range(trials))
    record = EpochRecord(numbers, step, step, {}, (0.1,) * trials, float(step), *no_batches(trials))
    probes = (ProbeRecord(numbers, step, step, {("fc1", "mean"): (0.5,) * trials}),)
    return Progress(record, ended, lambda: Snapshot(numbers, step, step, 0.0, {}), probes, step / 8, resumable)


def every(
    clock: list[float], seconds: float, yielded: Sequence[Progress | Heartbeat]
) -> Callable[[Job], Iterator[Any]]:
    """A training that takes so long from one record to the next."""

    def training(job: Job) -> Iterator[Progress | Heartbeat]:
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


def test_how_far_it_is_between_two_records_is_said_at_once(clock: list[float]) -> None:
    heard = said(every(clock, 10, [progress(0), Heartbeat(3), Heartbeat(5), progress(6)]))
    assert [message for message in heard if not isinstance(message, ProgressBatch)] == [
        Working(3),
        Working(5),
        Finished(),
    ]
    assert [moment.record.step for moment in moments(heard)] == [0, 6]


@pytest.mark.parametrize(
    ("seconds", "ends_at", "expected"),
    [
        # Messages wait for the interval, and the last one for nothing.
        (0.125, None, [(0, [0]), (0.25, [1, 2]), (0.5, [3, 4]), (0.75, [5])]),
        (1.0, None, [(step, [step]) for step in range(6)]),
        # The end of a trial is said at once, with all that waited; the next message waits from then on.
        (0.0625, 2, [(0, [0]), (0.125, [1, 2]), (0.375, [3, 4, 5])]),
    ],
)
def test_messages_wait_for_the_interval(
    clock: list[float], seconds: float, ends_at: int | None, expected: list[tuple[float, list[int]]]
) -> None:
    assert INTERVAL == 0.25
    start, heard = clock[0], []
    training = every(clock, seconds, [progress(step, ended=(0,) if step == ends_at else ()) for step in range(6)])
    for message in messages(Job.new(rates_group(2)), training, out_of_memory):
        if isinstance(message, ProgressBatch):
            heard.append((clock[0] - start, [moment.record.step for moment in message.items]))
    assert heard == expected


def test_the_time_that_the_driver_takes_is_no_time_between_messages(clock: list[float]) -> None:
    some = messages(Job.new(rates_group(2)), every(clock, 0.125, [progress(step) for step in range(3)]), bool)
    next(some)
    clock[0] += 10
    assert [moment.record.step for moment in moments([next(some)])] == [1, 2]


def costly(clock: list[float], some: Progress, seconds: float = 1.0, numbers: int = 0) -> Progress:
    """The same with a state that takes so long to copy, and has so many numbers."""

    def snapshot() -> Snapshot:
        clock[0] += seconds
        return dataclasses.replace(some.snapshot(), arrays={"network.weight": np.zeros(numbers, np.float32)})

    return dataclasses.replace(some, snapshot=snapshot)


def test_states_take_no_more_than_their_share_of_the_time_their_way_to_the_driver_included(
    clock: list[float],
) -> None:
    # One second in two hundred, from the end of the copy on.
    assert throttle.HELD_SHARE == 1 / 200
    assert states(said(every(clock, 50.0, [costly(clock, progress(step)) for step in range(13)]))) == [0, 4, 8, 12]
    sent = [costly(clock, progress(step), seconds=0.0, numbers=250) for step in range(13)]
    assert states(said(every(clock, 50.0, sent), bandwidth=1000.0)) == [0, 4, 8, 12]


def test_states_that_cost_nothing_come_with_every_moment_that_can_be_gone_on_from(clock: list[float]) -> None:
    heard = said(every(clock, 1.0, [progress(step, resumable=step % 3 == 2) for step in range(9)]))
    assert states(heard) == [2, 5, 8]


def test_of_the_states_in_a_message_only_the_newest_travels(clock: list[float]) -> None:
    first, *heard, _ = said(every(clock, 0.0, [progress(step, resumable=step != 6) for step in range(7)]))
    (message,) = heard
    assert [states([each]) for each in (first, message)] == [[0], [5]]
    assert [moment.record.step for moment in moments([message])] == [1, 2, 3, 4, 5, 6]


def test_a_state_comes_whenever_trials_end(clock: list[float]) -> None:
    yielded = [progress(0), progress(1, ended=(0,)), progress(2), progress(3, ended=(1,), resumable=False)]
    assert states(said(every(clock, 1.0, [costly(clock, each) for each in yielded]))) == [0, 1, 3]


def test_states_are_copied_before_the_training_goes_on(clock: list[float]) -> None:
    at = [0]

    def training(job: Job) -> Generator[Progress, None, None]:
        for step in range(3):
            at[0] = step
            clock[0] += 1.0
            yield dataclasses.replace(progress(step), snapshot=lambda: Snapshot((0, 1), at[0], at[0], 0.0, {}))

    assert states(said(training)) == [0, 1, 2]


# What breaks


@pytest.mark.parametrize(
    ("error", "full", "after"), [(RuntimeError("the device is gone"), False, 0), (MemoryError("no room"), True, 5)]
)
def test_what_breaks_a_training_is_said_after_all_that_it_yielded(
    clock: list[float], error: Exception, full: bool, after: int
) -> None:
    def training(job: Job) -> Generator[Progress, None, None]:
        yield from map(progress, range(after))
        raise error

    *heard, last = said(training)
    assert [moment.record.step for moment in moments(heard)] == list(range(after))
    assert isinstance(last, Failed)
    assert last.out_of_memory == full
    lines = last.failure.splitlines()
    assert (lines[0], lines[-1]) == ("Traceback (most recent call last):", f"{type(error).__name__}: {error}")


def test_a_training_that_nobody_listens_to_any_more_is_closed(clock: list[float]) -> None:
    ends = []

    def training(job: Job) -> Generator[Progress, None, None]:
        try:
            for step in range(100):
                yield progress(step)
                clock[0] += 1.0
        finally:
            ends.append(step)

    some = messages(Job.new(rates_group(2)), training, out_of_memory)
    next(some)
    next(some)
    assert ends == []
    some.close()  # type: ignore[attr-defined]
    assert ends == [1]


def test_messages_need_no_torch_and_no_ray() -> None:
    assert not {"torch", "ray"} & loaded_with("bnexp.engines.messages", Imports())
