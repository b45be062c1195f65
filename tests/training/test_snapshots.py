"""Continuing from a snapshot gives what would have come anyway, to the bit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bnexp.plan import TrialGroup
from bnexp.records import Snapshot
from bnexp.training.loop import Progress, train
from tests.helpers import TOGETHER_FLOAT64, assert_close, curve, experiment, finished, made_up_data, only_group

EXPERIMENTS: dict[str, dict[str, Any]] = {
    "sgd with momentum": {"train": {"momentum": 0.9, "schedule": "one_cycle"}, "grid": {"train.lr": [0.05, 0.2]}},
    "adam with dropout": {
        "model": {"dropout": 0.3},
        "train": {"optimizer": "adam", "lr": 0.01},
        "grid": {"model.dropout": [0.1, 0.5]},
        "seeds": 2,
    },
    "nadam": {"train": {"optimizer": "nadam", "lr": 0.01, "weight_decay": 0.01}, "seeds": [4, 1]},
    "rmsprop and population statistics": {
        "model": {"norm": {"statistics": "population"}},
        "train": {"optimizer": "rmsprop", "momentum": 0.5, "lr": 0.01},
    },
    "rmsprop that overshoots": {
        "model": {"width": 32, "activation": "leaky_relu"},
        "arms": ["none"],
        "train": {"optimizer": "rmsprop"},
        "grid": {"train.lr": [0.5, 1.0]},
    },
    "replacement and a few steps more": {"train": {"sampling": "replacement", "epochs": None, "steps": 21}},
    "records within epochs": {"train": {"record_at": [3, 6, 10, 12, 20]}},
    "frozen within an epoch": {
        "model": {"dropout": 0.3, "norm": {"freeze_at": 9}},
        "train": {"momentum": 0.9},
        "seeds": 2,
    },
    "limits that grow within an epoch": {
        "model": {"norm": {"kind": "renorm", "relax_at": [3, 12, 14]}},
        "train": {"momentum": 0.9},
    },
    "vgg with dropout, noise and augmentation": {
        "model": {"family": "vgg", "depth": 5, "width": 4, "dropout": 0.3, "norm": "noisy_batch"},
        "train": {"augment": "flip_crop_cutout", "momentum": 0.9, "batch_size": 32},
        "seeds": [4, 1],
    },
    "whitened resnet": {
        "model": {"family": "resnet", "depth": 8, "width": 4, "norm": {"kind": "whiten", "group_size": 2}},
        "train": {"optimizer": "adam", "lr": 0.01, "batch_size": 32},
    },
    "fixup": {
        "model": {"family": "resnet", "depth": 8, "width": 4, "init": "fixup", "norm": "none", "dropout": 0.2},
        "arms": {"fixup": {}},
        "train": {"augment": "flip_crop", "batch_size": 32},
        "seeds": 2,
    },
}


def group_of(name: str) -> TrialGroup:
    raw = EXPERIMENTS[name]
    return only_group(
        experiment(
            **raw
            | {"model": {"depth": 2, "width": 8} | raw.get("model", {})}
            | {"train": {"epochs": 3, "batch_size": 16} | raw["train"]}
        )
    )


def followed(group: TrialGroup) -> tuple[list[Progress], dict[int, Snapshot]]:
    """All records of a training, and the snapshots of every moment that can be continued."""
    progress = finished(group)
    return progress, {each.record.step: each.snapshot() for each in progress if each.resumable}


def shown(progress: Progress) -> tuple[object, ...]:
    """All of a record but its seconds."""
    return repr(replace(progress.record, seconds=0)), progress.ended  # as text, so that NaN equals NaN


SLOW = ("whitened resnet", "fixup", "nadam", "rmsprop that overshoots")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in EXPERIMENTS]
)
def test_continuing_from_any_epoch_gives_the_same_records_and_the_same_final_state(name: str) -> None:
    group = group_of(name)
    progress, snapshots = followed(group)
    final = progress[-1].snapshot()
    assert len(snapshots) >= 4
    for step, snapshot in snapshots.items():
        later = [each for each in progress if each.record.step > step]
        continued = finished(group, None, snapshot)
        assert [shown(each) for each in continued] == [shown(each) for each in later]
        arrays = (continued or progress)[-1].snapshot().arrays
        assert {name: array.tobytes() for name, array in arrays.items()} == {
            name: array.tobytes() for name, array in final.arrays.items()
        }


def test_seconds_go_on_from_the_snapshot() -> None:
    group = group_of("nadam")
    progress, snapshots = followed(group)
    continued = list(train(group, made_up_data(group), snapshots[12]))
    assert snapshots[12].seconds > 0
    assert continued[0].record.seconds > progress[2].record.seconds


def test_a_snapshot_says_where_it_was_taken_and_stays_as_it_was_when_training_goes_on() -> None:
    group = group_of("nadam")
    running = train(group, made_up_data(group))
    next(running)
    snapshot = next(running).snapshot()
    before = {name: array.copy() for name, array in snapshot.arrays.items()}
    list(running)
    assert (snapshot.trials, snapshot.epoch, snapshot.step) == (group.numbers, 1, 6)
    assert all(np.array_equal(array, before[name]) for name, array in snapshot.arrays.items())


def test_every_array_of_a_snapshot_has_the_trials_in_front_and_some_of_them_can_be_taken() -> None:
    group = group_of("adam with dropout")
    snapshot = followed(group)[1][6]
    assert {len(array) for array in snapshot.arrays.values()} == {4}
    numbers = group.numbers[1], group.numbers[3]
    part = snapshot.only(reversed(numbers))
    assert part.trials == numbers
    assert all(np.array_equal(array, snapshot.arrays[name][[1, 3]]) for name, array in part.arrays.items())


def test_some_trials_can_be_continued_without_the_others() -> None:
    raw = {"model": {"depth": 2, "width": 8, "dropout": 0.2}, "grid": {"train.lr": [0.05, 0.1, 0.2]}, "seeds": 2}
    group = only_group(experiment(**raw, train={"epochs": 3, "batch_size": 16, "momentum": 0.9, "precision": "fp64"}))
    progress, snapshots = followed(group)
    left = group.only([0, 3, 4])
    continued = [each.record for each in train(left, made_up_data(left), snapshots[6].only(left.numbers))]
    later = [each.record for each in progress if each.record.step > 6]
    for number in left.numbers:
        assert_close(curve(continued, number), curve(later, number), TOGETHER_FLOAT64)
