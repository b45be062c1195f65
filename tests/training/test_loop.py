"""The training loop: when it records, what the records say, how divergence shows, and that it keeps to itself."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.plan import TrialGroup
from bnexp.records import MEASURES, Heartbeat
from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import Progress, train
from tests.helpers import (
    EXACT_FLOAT64,
    FLOAT32,
    assert_close,
    curve,
    experiment,
    finished,
    made_up_data,
    only_group,
    small_group,
)

BLOWS_UP = 1e30
"""A learning rate whose first update ruins the network."""


def group(rates: Sequence[float] = (0.1,), model: dict[str, Any] | None = None, **train: Any) -> TrialGroup:
    return small_group(rates, {"activation": "relu", "norm": "none"} | (model or {}), **train)


def places(progress: list[Progress]) -> list[tuple[int, int]]:
    return [(each.record.epoch, each.record.step) for each in progress]


# When it records


@pytest.mark.parametrize(
    ("record_at", "expected"),
    [
        ("epoch", [(0, 0), (1, 6), (2, 12)]),
        ([1, 4, 9], [(0, 0), (1, 1), (1, 4), (2, 9), (2, 12)]),
        ([12], [(0, 0), (2, 12)]),
        ([6, 7], [(0, 0), (1, 6), (2, 7), (2, 12)]),
        ([5000], [(0, 0), (2, 12)]),
        ({"range": [2, 12, 5]}, [(0, 0), (1, 2), (2, 7), (2, 12)]),
    ],
)
def test_steps_are_recorded_with_the_epoch_that_each_lies_in_and_all_trials_end_with_the_last(
    record_at: object, expected: list[tuple[int, int]]
) -> None:
    progress = finished(group((0.1, 0.2), record_at=record_at))
    assert places(progress) == expected
    # Random streams start afresh in every epoch, so training can only continue from the end of one.
    assert [each.resumable for each in progress] == [each.record.step % 6 == 0 for each in progress]
    assert [each.ended for each in progress] == [()] * (len(progress) - 1) + [(0, 1)]


def test_without_a_record_for_a_while_it_says_how_far_it_is_and_changes_nothing() -> None:
    some = group((0.1, 0.2), record_at=[4, 9])
    found = list(train(some, made_up_data(some), heartbeat=0.0))
    steps = [each.step if isinstance(each, Heartbeat) else (each.record.step,) for each in found]
    assert steps == [(0,), 1, 2, 3, (4,), 5, 6, 7, 8, (9,), 10, 11, (12,)]
    records = [each.record.measures for each in found if isinstance(each, Progress)]
    assert records == [each.record.measures for each in finished(some)]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [(0, 0), (1, 1)]), (6, [(0, 0), (1, 6)]), (8, [(0, 0), (1, 6), (2, 8)]), (12, [(0, 0), (1, 6), (2, 12)])],
)
def test_training_ends_at_its_last_step_also_within_an_epoch(steps: int, expected: list[tuple[int, int]]) -> None:
    assert places(finished(group(steps=steps))) == expected


def test_a_smaller_last_batch_counts_as_a_step() -> None:
    assert places(finished(group(batch_size=40, drop_last=False))) == [(0, 0), (1, 3), (2, 6)]
    assert places(finished(group(batch_size=40, drop_last=True))) == [(0, 0), (1, 2), (2, 4)]


# What the records say


def test_what_has_no_images_is_not_measured() -> None:
    some = group()
    with_val = finished(some, made_up_data(some, val=8))
    without = finished(some, made_up_data(some, val=0, test=0))
    assert tuple(with_val[0].record.measures) == MEASURES
    assert tuple(without[0].record.measures) == ("train_loss", "train_accuracy")
    assert next(without[0].record.rows())["val_loss"] is None


def test_measures_are_those_of_the_trained_networks() -> None:
    some = group((0.1, 0.2))
    data, (*_, last) = made_up_data(some), finished(some)
    network = GroupTrainState(some, data).network
    state = last.snapshot().arrays
    network.load_state_dict({name: torch.from_numpy(state[f"network.{name}"]) for name in network.state_dict()})
    logits_KBC = network.eval()(data.inputs(data.test.images_NP)[None])
    for k in range(2):
        loss = torch.nn.functional.cross_entropy(logits_KBC[k], data.test.labels_N).item()
        correct = (logits_KBC[k].argmax(-1) == data.test.labels_N).double().mean().item()
        assert_close(last.record.measures["test_loss"][k], loss, FLOAT32)
        assert last.record.measures["test_accuracy"][k] == correct


def test_the_rate_of_a_record_is_that_of_the_last_update_or_before_training_of_the_first() -> None:
    some = group((0.1, 0.4), schedule="cosine", precision="fp64", record_at=[1, 7])
    expected = [[lr * (1 + math.cos(math.pi * step / 12)) / 2 for lr in (0.1, 0.4)] for step in (0, 0, 6, 11)]
    assert_close([each.record.lr for each in finished(some)], expected, EXACT_FLOAT64)


@pytest.mark.parametrize("model", [{"dropout": 0.3}, {"norm": {"statistics": "population"}}])
def test_recording_more_often_changes_no_bit_of_the_training(model: dict[str, Any]) -> None:
    arms = {"only": {}}
    raw = {"model": {"depth": 2, "width": 8, "dropout": 0.1} | model, "arms": arms}
    seldom = only_group(experiment(**raw, train={"batch_size": 16, "epochs": 2}))
    often = only_group(experiment(**raw, train={"batch_size": 16, "epochs": 2, "record_at": {"range": [1, 12, 1]}}))
    by_step = {each.record.step: each.record for each in finished(often)}
    assert len(by_step) == 13
    for each in finished(seldom):
        assert by_step[each.record.step].measures == each.record.measures


@pytest.mark.parametrize(("schedule", "warmup"), [("warmup_cosine", 0.9), ("one_cycle", 0.9), ("warmup_cosine", 0.0)])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_training_shorter_than_an_epoch_finds_its_rates(schedule: str, warmup: float, steps: int) -> None:
    some = group(steps=steps, schedule=schedule, schedule_options={"warmup": warmup})
    assert places(finished(some)) == [(0, 0), (1, steps)]


class Clock:
    """A clock that moves only when told to, in place of the loop's."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """An update takes a second and an evaluation a thousand."""
    clock, update, evaluate = Clock(), GroupTrainState.update, GroupTrainState.evaluate

    def slow_update(self: GroupTrainState, *args: Any) -> None:
        clock.now += 1
        update(self, *args)

    def slow_evaluate(self: GroupTrainState, *args: Any) -> torch.Tensor:
        clock.now += 1000
        return evaluate(self, *args)

    monkeypatch.setattr("bnexp.training.loop.time", clock)
    monkeypatch.setattr(GroupTrainState, "update", slow_update)
    monkeypatch.setattr(GroupTrainState, "evaluate", slow_evaluate)
    return clock


@pytest.mark.usefixtures("clock")
def test_seconds_are_each_trials_share_of_the_updates_without_the_evaluations() -> None:
    progress = finished(group((0.1, 0.2), record_at=[1, 4, 7]))
    assert [each.record.seconds for each in progress] == [0.0, 0.5, 2.0, 3.5, 6.0]


def test_what_the_caller_does_between_records_costs_no_seconds(clock: Clock) -> None:
    some, seconds = group((0.1, 0.2)), []
    for each in train(some, made_up_data(some)):
        clock.now += 50
        seconds.append(each.record.seconds)
    assert seconds == [0.0, 3.0, 6.0]


@pytest.mark.usefixtures("clock")
def test_the_trials_shares_add_up_to_the_groups_time_when_one_is_dropped() -> None:
    progress = finished(group((0.1, BLOWS_UP), epochs=3, stop_diverged=True))
    last = {trial: each.record.seconds for each in progress for trial in each.record.trials}
    assert last == {1: 3.0, 0: 3.0 + 12.0}


# Divergence


def test_stop_diverged_drops_the_trial_at_the_end_of_the_epoch_and_the_others_go_on() -> None:
    some = group((0.1, BLOWS_UP, 0.2), model={"dropout": 0.2}, epochs=3, stop_diverged=True, record_at=[3, 6, 9, 12])
    data = made_up_data(some)
    progress = finished(some, data)
    assert [each.record.trials for each in progress] == [(0, 1, 2)] * 3 + [(0, 2)] * 3
    assert [each.ended for each in progress] == [(), (), (1,), (), (), (0, 2)]
    left = [each.record for each in finished(some.only([0, 2]), data)]
    for number in (0, 2):
        assert_close(curve([each.record for each in progress], number), curve(left, number), FLOAT32)


def test_training_ends_when_no_trial_is_left() -> None:
    progress = finished(group((BLOWS_UP, 2 * BLOWS_UP), epochs=5, stop_diverged=True))
    assert places(progress) == [(0, 0), (1, 6)]
    assert progress[-1].ended == (0, 1)


# Keeping to itself


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_training_neither_prints_nor_writes(empty_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    progress = finished(group((0.1, BLOWS_UP), stop_diverged=True))
    assert len(progress) == 3
    assert capfd.readouterr() == ("", "")
    assert list(empty_folder.iterdir()) == []


def test_training_neither_uses_nor_moves_the_global_random_state() -> None:
    some = group(model={"dropout": 0.3})
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = finished(some)[-1].record.measures
    assert torch.equal(torch.rand(3), expected)
    np.random.seed(5)
    torch.manual_seed(2)
    assert finished(some)[-1].record.measures == first
