"""Convolutional networks learn, in short products too, and very deep ones where batch norm or Fixup lets them."""

import math
from typing import Any

import pytest
import torch

from bnexp.data.dataset import load
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import Progress, train
from tests.helpers import crossed, experiment, finished, made_up_data, only_group

LEARNERS: dict[str, dict[str, Any]] = {
    "vgg": {"family": "vgg", "depth": 5},
    "resnet": {"family": "resnet", "depth": 8},
    "noisy resnet": {"family": "resnet", "depth": 8, "norm": "noisy_batch"},
    "whitened vgg": {"family": "vgg", "depth": 5, "norm": {"kind": "whiten", "group_size": 4}},
}


def learner(model: str, precision: str) -> TrialGroup:
    return only_group(
        experiment(
            model={"width": 8, "activation": "relu"} | LEARNERS[model],
            train={"epochs": 10, "batch_size": 16, "lr": 0.05, "precision": precision},
        )
    )


def learned(progress: list[Progress]) -> bool:
    first, last = (each.record.measures["train_loss"][0] for each in (progress[0], progress[-1]))
    return last < 0.7 * first


@pytest.mark.parametrize(("model", "precision"), crossed(list(LEARNERS), ["fp32", "bf16"], fast=4))
def test_networks_learn_with_parameters_in_float32(model: str, precision: str) -> None:
    some = learner(model, precision)
    data = made_up_data(some)
    assert learned(finished(some, data))
    assert {parameter.dtype for parameter in GroupTrainState(some, data).network.parameters()} == {torch.float32}


@pytest.mark.slow
def test_a_resnet_of_110_layers_needs_batch_norm_or_fixup() -> None:
    config = experiment(
        data={"name": "digits", "train_size": 160, "val_size": 0, "test_size": 8},
        model={"family": "resnet", "depth": 110, "width": 4, "activation": "relu", "init": "he"},
        arms={
            "plain": {"model.norm.kind": "none", "train.steps": 5},  # enough to see it fail
            "before": {"model.norm.statistics": "population"},
            "fixup": {"model.norm.kind": "none", "model.init.scheme": "fixup"},
        },
        train={"steps": 40, "batch_size": 32, "lr": 0.05, "momentum": 0.9, "record_at": [5000]},
    )
    last = {}
    for group in groups(trials(config)):
        data = load(group.settings.data, torch.device("cpu"), torch.float32)
        (last[group.arms[0]],) = (each.record for each in train(group, data) if each.record.step)
    # At the same rate: without either the signal grows in every block, and the first update ruins the network.
    assert {arm: record.diverged_step for arm, record in last.items()} == {
        "plain": (2,),
        "before": (None,),
        "fixup": (None,),
    }
    for arm in ("before", "fixup"):
        assert last[arm].measures["train_loss"][0] < 2.2 < math.log(10)
        assert last[arm].measures["train_accuracy"][0] > 0.2
