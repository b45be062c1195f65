"""Batch norm whose batch isn't the optimiser's, against programs in plain PyTorch: frozen statistics."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config.norm import NORMS
from bnexp.nn.norm import RunningNorm, freeze_statistics, train_mode
from bnexp.plan import TrialGroup, groups, trials
from bnexp.streams import stream_seed
from bnexp.training.group_state import GroupTrainState
from tests.helpers import (
    PLAIN_FLOAT64,
    TOGETHER_FLOAT64,
    assert_close,
    curve,
    experiment,
    finished,
    made_up_data,
    noise,
)
from tests.nn.own import user_networks
from tests.nn.plain import PLAIN_NORMS, plain, take_over, takes

IMAGES, BATCH, RATE, STEPS = 48, 16, 0.1, 5
FAMILIES: dict[str, dict[str, Any]] = {
    "mlp": {"depth": 2, "width": 8},
    "vgg": {"family": "vgg", "depth": 5, "width": 4, "activation": "relu"},
    "resnet": {"family": "resnet", "depth": 8, "width": 4, "activation": "relu"},
    "rnn": {"family": "rnn", "depth": 1, "width": 6, "activation": "tanh"},
    "module": {"family": "module", "source": f"{user_networks.__file__}:perceptron"},
}
FROZEN = 3
"""The update from which on statistics are frozen: the last of the first epoch."""


def grouped(model: dict[str, Any], arms: Any = None, seeds: int = 1, **train: Any) -> list[TrialGroup]:
    """The groups of an experiment in float64."""
    train = {"steps": STEPS, "batch_size": BATCH, "lr": RATE, "precision": "fp64"} | train
    config = experiment(model={"init": "he"} | model, arms=arms or {"only": {}}, train=train, seeds=seeds)
    return list(groups(trials(config)))


class ByHand:
    """One trial in plain PyTorch, with batches from the documented stream."""

    def __init__(self, group: TrialGroup):
        self.group, side = group, 6 if group.settings.model.family in ("vgg", "resnet") else 4
        self.data = made_up_data(group, IMAGES, side=side, channels=1)
        self.x_BCHW = self.data.inputs(self.data.train.images_NP).view(-1, *self.data.shape.image)
        started = GroupTrainState(group, self.data).network
        self.network = plain(group.settings.model.model_dump(), self.data.shape.image)
        take_over(self.network, started, 0)

    @property
    def norms(self) -> list[nn.Module]:
        return [layer for layer in self.network.modules() if isinstance(layer, PLAIN_NORMS)]

    def batches(self) -> Iterator[Tensor]:
        for epoch in (1, 2):
            seeded = torch.Generator().manual_seed(stream_seed(0, "batches", epoch))
            yield from torch.randperm(IMAGES, generator=seeded).split(BATCH)

    def loss(self, numbers: Tensor) -> Tensor:
        return F.cross_entropy(self.network(self.x_BCHW[numbers]), self.data.train.labels_N[numbers])

    def step(self, optimizer: torch.optim.Optimizer, batch: Tensor) -> None:
        self.loss(batch).backward()
        optimizer.step()

    def train(self, frozen_from: int = 10**9) -> nn.Module:
        optimizer = torch.optim.SGD(self.network.parameters(), lr=RATE)
        for number, batch in zip(range(1, STEPS + 1), self.batches(), strict=False):
            self.network.train()
            for norm in self.norms if number >= frozen_from else ():
                norm.eval()
            optimizer.zero_grad()
            self.step(optimizer, batch)
        return self.network.eval()

    def assert_same(self) -> None:
        """Compare what both have learned, and what both keep."""
        arrays = finished(self.group, self.data)[-1].snapshot().arrays
        network = GroupTrainState(self.group, self.data).network
        network.load_state_dict({key: torch.from_numpy(arrays[f"network.{key}"]) for key in network.state_dict()})
        learned = plain(self.group.settings.model.model_dump(), self.data.shape.image)
        take_over(learned, network, 0)
        for key, tensor in learned.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                assert_close(tensor, self.network.state_dict()[key], PLAIN_FLOAT64)


@pytest.mark.parametrize("family", ["mlp", "vgg", "resnet"])
def test_frozen_statistics_are_those_of_a_program_that_puts_its_norm_layers_into_evaluation_mode(family: str) -> None:
    (group,) = grouped(FAMILIES[family] | {"bias": True, "norm": {"freeze_at": FROZEN}})
    by_hand = ByHand(group)
    by_hand.train(FROZEN)
    by_hand.assert_same()


@pytest.mark.parametrize("kind", [kind for kind, spec in NORMS.items() if spec.batch_statistics])
@pytest.mark.parametrize("family", FAMILIES)
def test_in_every_family_frozen_layers_keep_their_statistics_and_learn(family: str, kind: str) -> None:
    if not takes(FAMILIES[family].get("family", "mlp"), kind):
        pytest.skip("has no such norm")
    norm = {"kind": kind, "freeze_at": FROZEN, "group_size": 2}
    (group,) = grouped(FAMILIES[family] | {"norm": norm}, record_at=[FROZEN - 1, STEPS])
    data = made_up_data(group, side=8 if family == "resnet" else 4)
    _, before, after = (each.snapshot().arrays for each in finished(group, data))
    for name, array in after.items():
        kept = "running" in name
        if kept or name.endswith(("gamma", "beta")):
            assert np.array_equal(array, before[name]) == kept, name


def test_a_module_as_it_is_written_freezes_as_the_same_network_of_bnexp() -> None:
    def trained(family: str) -> np.ndarray:
        (group,) = grouped(FAMILIES[family], {"only": {"model.norm.freeze_at": FROZEN}}, record_at=[FROZEN, STEPS])
        return curve([each.record for each in finished(group)], 0)

    assert_close(trained("module"), trained("mlp"), TOGETHER_FLOAT64)


def test_trials_freeze_together_as_they_do_alone_and_those_of_other_steps_are_another_group() -> None:
    arms = {f"at_{at}": {"model.norm.freeze_at": at} for at in (1, FROZEN, None)}
    found = grouped({"depth": 2, "width": 8, "dropout": 0.3}, arms, seeds=2)
    assert [group.arms for group in found] == [(arm,) for arm in arms]
    together = [[each.record for each in finished(group)] for group in found]
    for group, records in zip(found, together, strict=True):
        last = group.numbers[-1]
        alone = [each.record for each in finished(group.only([last]))]
        assert_close(curve(records, last), curve(alone, last), TOGETHER_FLOAT64)
    losses = {curve(records, group.numbers[0])[-1, 0] for group, records in zip(found, together, strict=True)}
    assert len(losses) == len(arms)


def test_frozen_layers_do_in_training_what_they_do_in_evaluation() -> None:
    norm: Any = NORMS["batch"].load()(2, 3, grouped({})[0].settings.model.norm)
    network, x_KBC = nn.Sequential(norm).double(), noise(2, 5, 3)
    train_mode(network)
    assert norm.training
    freeze_statistics(network)
    train_mode(network)
    assert network.training
    assert not norm.training
    assert isinstance(norm, RunningNorm)
    assert torch.equal(network(x_KBC), network.eval()(x_KBC))
