"""Chains of layers with a trial axis compute all trials at once, and give what they give in turn."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.config.norm import NORMS
from bnexp.nn.build import skeleton
from bnexp.nn.own import networks
from bnexp.nn.own.networks import arm_chain
from bnexp.plan import TrialGroup, groups, trials
from bnexp.probes.prober import Prober
from bnexp.records import ProbeRecord
from bnexp.streams import SeedGenerators, TrialRandom
from bnexp.training import work
from bnexp.training.group_state import GroupTrainState
from tests.helpers import TOGETHER_FLOAT64, assert_close, curve, finished, made_up_data, only_group, randomized
from tests.nn.own.test_own_networks import CLASSES, IMAGE, experiment

KINDS = [kind for kind in NORMS if kind != "none" and not NORMS[kind].over_places]


@contextmanager
def in_turn() -> Iterator[None]:
    """Let no network be a chain."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (networks, work):
            patch.setattr(module, "arm_chain", lambda *_: ())
        yield


def two_rates(name: str, arm: dict[str, Any], **train: Any) -> TrialGroup:
    """Two seeds with two learning rates each."""
    norm = {"groups": 2, "group_size": 2}
    raw = {"model": {"norm": norm}, "grid": {"train.lr": [0.1, 0.03]}, "seeds": 2}
    return only_group(experiment(name, arms={"only": arm}, train={"epochs": None, "steps": 3} | train, **raw))


@pytest.mark.parametrize("placement", ["as_written", "before"])
@pytest.mark.parametrize("kind", KINDS)
def test_trials_at_once_equal_trials_in_turn_and_alone(kind: str, placement: str) -> None:
    clip = {"norm_global": 0.5}
    arm = {"model.norm.kind": kind, "model.norm.placement": placement}
    group = two_rates("Perceptron", arm, momentum=0.9, clip=clip)
    data = made_up_data(group)
    assert len(GroupTrainState(group, data).shards) == 1
    together = [each.record for each in finished(group, data)]
    alone = [each.record for each in finished(group.only([2]), data)]
    with in_turn():
        assert len(GroupTrainState(group, data).shards) == len(group.trials)
        separate = [each.record for each in finished(group, data)]
    for number in group.numbers:
        assert_close(curve(together, number), curve(separate, number), TOGETHER_FLOAT64)
    assert_close(curve(alone, 2), curve(together, 2), TOGETHER_FLOAT64)
