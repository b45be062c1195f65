"""How much there is to do in a training, worked out beforehand: by hand, and held against what the loop does."""

from typing import Any

import pytest
import torch

from bnexp.data.catalog import DataShape
from bnexp.training.group_state import GroupTrainState
from bnexp.training.work import (
    CORE_SPEED,
    LAYER_MACS,
    record_steps,
    total_steps,
    training_cost,
    updates_per_epoch,
)
from tests.helpers import EXACT_FLOAT64, assert_close, crossed, finished, made_up_data, rates_group

SHAPE, CPU = DataShape(image=(1, 4, 4), classes=3, train=96, val=16, test=32), torch.device("cpu")


@pytest.mark.parametrize(
    ("train", "per_epoch", "total"),
    [
        ({"epochs": 3}, 6, 18),
        ({"epochs": None}, 6, 60),
        ({"steps": 8}, 6, 8),
        ({"batch_size": 40, "drop_last": True}, 2, 4),
        ({"batch_size": 40, "drop_last": False}, 3, 6),
        ({"batch_size": 40, "drop_last": False, "sampling": "replacement"}, 2, 4),
    ],
)
def test_updates_are_counted_from_training_images_and_batches(
    train: dict[str, Any], per_epoch: int, total: int
) -> None:
    assert updates_per_epoch(rates_group(**train), SHAPE) == per_epoch
    assert total_steps(rates_group(**train), SHAPE) == total


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({"epochs": 3}, [6, 12, 18]),
        ({"steps": 8}, [6, 8]),
        ({"steps": 8, "record_at": [3]}, [3, 8]),
        ({"epochs": 2, "record_at": [1, 12, 13, 5000]}, [1, 12]),
        ({"steps": 4}, [4]),
    ],
)
def test_records_are_due_when_asked_for_and_after_the_last_step(train: dict[str, Any], expected: list[int]) -> None:
    assert record_steps(rates_group(**train).settings.train, updates_per_epoch(rates_group(**train), SHAPE)) == expected


@pytest.mark.parametrize("train", [{"epochs": 2}, {"steps": 8}, {"steps": 8, "record_at": [3]}, {"batch_size": 40}])
def test_the_loop_makes_the_updates_and_records_that_were_counted(train: dict[str, Any]) -> None:
    group = rates_group(**train)
    data = made_up_data(group, val=16)
    seen = [each.record.step for each in finished(group, data)]
    assert seen == [0, *record_steps(group.settings.train, updates_per_epoch(group, data.shape))]
    assert seen[-1] == total_steps(group, data.shape)


FAMILIES: dict[str, dict[str, Any]] = {
    "mlp": {},
    "vgg": {"family": "vgg", "depth": 5, "width": 4},
    "rnn": {"family": "rnn", "depth": 1},
}


@pytest.mark.parametrize(("family", "trials", "seeds"), crossed(FAMILIES, [1, 3], [1, 2], fast=2))
def test_a_batch_has_the_products_of_the_trials_that_compute_at_once(family: str, trials: int, seeds: int) -> None:
    group = rates_group(trials, FAMILIES[family], seeds=seeds)
    data = made_up_data(group, side=8)
    train_state = GroupTrainState(group, data)
    at_once = 1 if family == "vgg" else trials * seeds
    one = sum(layer.macs for layer in train_state.layers) * 16
    assert train_state.macs == at_once * one


@pytest.mark.parametrize(
    ("train", "steps", "images"),
    [
        # Every update costs three forward passes, every record one of all images: at the start, and at each moment.
        ({"epochs": 2}, 12, 3 * 16 * 12 + 3 * (96 + 16 + 32)),
        ({"steps": 8}, 8, 3 * 16 * 8 + 3 * (96 + 16 + 32)),
        ({"epochs": 2, "record_at": [1, 2, 3]}, 12, 3 * 16 * 12 + 5 * (96 + 16 + 32)),
        ({"epochs": 2, "batch_size": 32}, 6, 3 * 32 * 6 + 3 * (96 + 16 + 32)),
    ],
)
def test_the_cost_of_a_training_is_worked_out_by_hand(train: dict[str, Any], steps: int, images: int) -> None:
    # 16 pixels, one hidden layer of 8 units, 3 classes: 16·8 + 8·3 = 152 products an image.
    group = rates_group(3, {"depth": 1, "norm": "none"}, **train)
    calls, products = 3 * LAYER_MACS * steps / CORE_SPEED, 152 * images / CORE_SPEED
    found = training_cost(group, SHAPE, CPU)
    assert_close([found.shared, found.per_trial, found.of(3)], [calls, products, calls + 3 * products], EXACT_FLOAT64)
    one_by_one = training_cost(rates_group(3, FAMILIES["vgg"], **train), SHAPE, CPU)
    assert one_by_one.shared == 0
