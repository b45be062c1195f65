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
from bnexp.nn.shards import shards
from bnexp.plan import TrialGroup
from bnexp.streams import SeedGenerators, TrialRandom
from bnexp.training import work
from bnexp.training.group_state import GroupTrainState
from tests.helpers import TOGETHER_FLOAT64, assert_close, curve, finished, made_up_data, only_group, randomized
from tests.nn.own.test_own_networks import CLASSES, IMAGE, experiment

CPU = torch.device("cpu")
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


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as written": ({}, {"momentum": 0.9, "clip": {"norm_global": 0.5, "value": 0.1}}),
    "before": ({"model.norm.placement": "before", "model.norm.kind": "batch"}, {"clip": {"adaptive": 0.1}}),
    "slices": ({"model.norm.over": 8}, {}),
    "frozen": ({"model.norm.freeze_at": 1}, {"optimizer": "adam"}),
    "population": ({"model.norm.statistics": "population"}, {}),
    "norm alone": ({}, {"only": "norm"}),
    "micro-batches": ({"model.norm.kind": "batch"}, {"accumulate": 2}),
    "statistics of images": ({}, {"momentum": 0.9}),
} | {kind: ({"model.norm.kind": kind}, {"momentum": 0.9}) for kind in KINDS}
"""Settings of an arm, and of its training."""
NETWORKS = {"statistics of images": "group_and_rms_norm"}
"""In place of Perceptron."""


@pytest.mark.parametrize("name", CASES)
def test_trials_at_once_equal_trials_in_turn_and_alone(name: str) -> None:
    arm, train = CASES[name]
    group = two_rates(NETWORKS.get(name, "Perceptron"), arm, **train)
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


CHAINS = {
    "perceptron": True,
    "no_norm": True,
    "Perceptron": True,
    "group_and_rms_norm": True,
    "Small": False,  # convolutions, a buffer of its own
    "rows_of_tokens": False,  # linear layers over tokens
    "AddsWhatItNormalises": False,
    "HiddenActivation": False,  # a function that nobody knows
    "Lottery": False,  # random numbers
    "Counts": False,  # another pass, other numbers
    "Reads": False,  # numbers decide
    "Asks": False,  # what comes in decides
    "LargeBatches": False,  # the size of the batch decides
    "Overwrites": False,  # changes its images
    "cumulative": False,  # reads the number of batches
    "hooked": False,  # something behind a layer that nobody knows
    "mixes_images": False,
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_known_layers_computes_at_once_and_nothing_else(name: str) -> None:
    image = (1, 8, 8) if name == "AddsWhatItNormalises" else IMAGE
    classes = 10 if name == "AddsWhatItNormalises" else CLASSES
    settings = experiment(name, arms=["as_written"]).settings("as_written", {})
    assert bool(arm_chain(settings.model, image, classes)) == CHAINS[name]


def test_a_trial_that_diverges_leaves_the_others_as_they_are() -> None:
    raw = {"grid": {"train.lr": [0.1, 1e308, 0.03]}, "train": {"epochs": 2}}
    group = only_group(experiment("Perceptron", arms={"only": {}}, **raw))
    data = made_up_data(group)
    together = [each.record for each in finished(group, data)]
    alone = [each.record for each in finished(group.only([0, 2]), data)]
    assert not np.isfinite(curve(together, 1)).all()
    for number in (0, 2):
        assert_close(curve(together, number), curve(alone, number), TOGETHER_FLOAT64)


def test_probes_see_the_same_at_once_and_in_turn() -> None:
    probes = ["gradient_norm", "drift", "saturation", "variance_shift"]
    raw = {"seeds": 2, "train": {"epochs": None, "steps": 2}, "probes": probes}
    config = experiment("Perceptron", arms={"only": {}}, **raw)
    group = only_group(config)
    data = made_up_data(group)
    (at_once,) = finished(group, data, None, config.probes)[-1].probes
    with in_turn():
        (expected,) = finished(group, data, None, config.probes)[-1].probes
    assert at_once.values.keys() == expected.values.keys()
    for measure in {measure for _, measure in expected.values}:
        found, same = (
            [each.values[key] for key in expected.values if key[1] == measure] for each in (at_once, expected)
        )
        assert_close(found, same, TOGETHER_FLOAT64)


def test_parts_of_a_group_give_what_the_group_gives() -> None:
    group = two_rates("Perceptron", {"model.norm.kind": "renorm"})
    network: Any = randomized(GroupTrainState(group, made_up_data(group)).network).eval()
    x_SBP, draws = torch.rand(1, 5, 16, dtype=torch.float64), TrialRandom(SeedGenerators([0], CPU), [0] * 4)
    logits_KBC = torch.cat([shard.network(x_SBP) for shard in shards(network, draws, [1, 3])])
    assert_close(logits_KBC.detach(), network(x_SBP).detach(), TOGETHER_FLOAT64)


def test_what_is_stored_is_the_same_at_once_and_in_turn() -> None:
    """So that a run can go on either way."""
    group = two_rates("Perceptron", {"model.norm.kind": "renorm"})
    data = made_up_data(group)
    state = GroupTrainState(group, data).state_dict()
    with in_turn():
        expected = GroupTrainState(group, data).state_dict()
    assert {name: each.shape for name, each in state.items()} == {name: each.shape for name, each in expected.items()}


@pytest.mark.parametrize("kind", ["as_written", "renorm"])
def test_the_network_of_a_trial_comes_back_as_a_module_of_its_class(kind: str) -> None:
    model = experiment("Perceptron", arms={"only": {"model.norm.kind": kind}}).settings("only", {}).model
    network: Any = randomized(skeleton([model], IMAGE, CLASSES, dtype=torch.float64)).eval()
    x_SBP = torch.rand(1, 5, 16, dtype=torch.float64)
    plain: Any
    (plain,) = network.to_torch()
    assert_close(plain(x_SBP.view(5, *IMAGE)).detach(), network(x_SBP)[0].detach(), TOGETHER_FLOAT64)
