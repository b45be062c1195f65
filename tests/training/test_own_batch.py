"""Batch norm whose batch isn't the optimiser's, against programs in plain PyTorch: slices, micro-batches, frozen."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config.norm import NORMS
from bnexp.nn.build import skeleton
from bnexp.nn.norm import RunningNorm, freeze_statistics, train_mode
from bnexp.plan import TrialGroup, groups, trials
from bnexp.streams import stream_seed
from bnexp.training.group_state import GroupTrainState
from tests.helpers import (
    PLAIN_FLOAT64,
    TOGETHER_FLOAT64,
    assert_close,
    crossed,
    curve,
    experiment,
    finished,
    made_up_data,
    noise,
)
from tests.nn.own import user_networks
from tests.nn.plain import PLAIN_NORMS, has_bias, plain, take_over, takes, with_numbers

IMAGES, BATCH, MICRO, RATE, STEPS = 48, 16, 4, 0.1, 5
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

    limit = 1e9
    """Largest norm of a gradient."""

    def __init__(self, group: TrialGroup):
        self.group, side = group, 6 if group.settings.model.family in ("vgg", "resnet") else 4
        self.data = made_up_data(group, IMAGES, side=side, channels=1)
        self.x_BCHW = self.data.inputs(self.data.train.images_NP).view(-1, *self.data.shape.image)
        started = GroupTrainState(group, self.data).network
        self.network = plain(group.settings.model.model_dump(), self.data.shape.image)
        take_over(self.network, started, 0)
        for layer, ours in zip(with_numbers(self.network), with_numbers(started), strict=True):
            if isinstance(layer, nn.Linear | nn.Conv2d) and not has_bias(ours):
                layer.bias.requires_grad_(False)  # type: ignore[union-attr]

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

    def accumulate(self, optimizer: torch.optim.Optimizer, batch: Tensor) -> None:
        """Make one update from the gradients of micro-batches, which take their memory one after the other."""
        for micro in batch.split(MICRO):
            (self.loss(micro) * len(micro) / len(batch)).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.limit)
        optimizer.step()

    def on_devices(self, optimizer: torch.optim.Optimizer, batch: Tensor) -> None:
        """Make one update from the mean gradient of copies of the network, each with its part of the batch."""
        copies = [copy.deepcopy(self.network) for _ in batch.split(MICRO)]
        whole = self.network
        for self.network, part in zip(copies, batch.split(MICRO), strict=True):
            self.loss(part).backward()
        self.network = whole
        for theta, *replicas in zip(whole.parameters(), *(each.parameters() for each in copies), strict=True):
            gradients = [replica.grad for replica in replicas if replica.grad is not None]
            theta.grad = torch.stack(gradients).mean(0) if gradients else None
        for mine, first in zip(whole.buffers(), copies[0].buffers(), strict=True):
            mine.copy_(first)  # those that DistributedDataParallel hands to all
        optimizer.step()

    def train(self, frozen_from: int = 10**9, how: str = "step") -> nn.Module:
        optimizer = torch.optim.SGD(self.network.parameters(), lr=RATE)
        for number, batch in zip(range(1, STEPS + 1), self.batches(), strict=False):
            self.network.train()
            for norm in self.norms if number >= frozen_from else ():
                norm.eval()
            optimizer.zero_grad()
            getattr(self, how)(optimizer, batch)
        return self.network.eval()

    def assert_same(self, *, kept: bool = True) -> None:
        """Compare what both have learned, and also the running statistics."""
        arrays = finished(self.group, self.data)[-1].snapshot().arrays
        network = GroupTrainState(self.group, self.data).network
        network.load_state_dict({key: torch.from_numpy(arrays[f"network.{key}"]) for key in network.state_dict()})
        learned = plain(self.group.settings.model.model_dump(), self.data.shape.image)
        take_over(learned, network, 0)
        for key, tensor in learned.state_dict().items():
            if "num_batches" not in key and (kept or "running" not in key):
                assert_close(tensor, self.network.state_dict()[key], PLAIN_FLOAT64)


@pytest.mark.parametrize("family", ["mlp", "vgg", "resnet"])
def test_frozen_statistics_are_those_of_a_program_that_puts_its_norm_layers_into_evaluation_mode(family: str) -> None:
    (group,) = grouped(FAMILIES[family] | {"bias": True, "norm": {"freeze_at": FROZEN}})
    by_hand = ByHand(group)
    by_hand.train(FROZEN)
    by_hand.assert_same()


@pytest.mark.parametrize("family", ["mlp", "vgg", "resnet"])
def test_slices_of_a_batch_are_the_micro_batches_of_accumulated_gradients(family: str) -> None:
    (group,) = grouped(FAMILIES[family] | {"norm": {"over": MICRO}})
    by_hand = ByHand(group)
    by_hand.train(how="accumulate")
    by_hand.assert_same()


@pytest.mark.parametrize("clip", [{}, {"norm_global": 0.3}])
@pytest.mark.parametrize("family", ["mlp", "vgg", "resnet"])
def test_micro_batches_are_those_of_a_program_that_accumulates_gradients(family: str, clip: dict[str, float]) -> None:
    (group,) = grouped(FAMILIES[family], accumulate=BATCH // MICRO, clip=clip)
    by_hand = ByHand(group)
    by_hand.limit = clip.get("norm_global", by_hand.limit)
    by_hand.train(how="accumulate")
    by_hand.assert_same()


FAMILIES_AND_TOKENS = FAMILIES | {
    "tokens": {"family": "module", "source": f"{user_networks.__file__}:rows_of_tokens"},
}


@pytest.mark.parametrize(("family", "kind"), crossed(list(FAMILIES_AND_TOKENS), ["batch", "whiten", "renorm"], fast=3))
def test_slices_and_micro_batches_are_one_arithmetic_everywhere(family: str, kind: str) -> None:
    if family == "rnn" and not NORMS[kind].in_rnn:
        pytest.skip("has no such norm")
    norm = {"kind": kind, "group_size": 2, "eps": 0.1}
    parts = ({"model.norm.over": MICRO}, {"train.accumulate": BATCH // MICRO})
    snapshots = []
    for changes in parts:
        (group,) = grouped(FAMILIES_AND_TOKENS[family] | {"norm": norm}, {"only": changes})
        data = made_up_data(group, side=8 if family == "resnet" else 4)
        snapshots.append(finished(group, data)[-1].snapshot().arrays)
    for name, array in snapshots[0].items():
        assert_close(array, snapshots[1][name], TOGETHER_FLOAT64)


@pytest.mark.parametrize(("name", "norm"), [("Small", {}), ("perceptron", {}), ("rows_of_tokens", {"kind": "batch"})])
def test_slices_in_a_module_are_of_whole_images(name: str, norm: dict[str, str]) -> None:
    raw = {"family": "module", "source": f"{user_networks.__file__}:{name}"}
    models = [grouped(raw | {"norm": norm | {"over": over}})[0].settings.model for over in (MICRO, None)]
    sliced, whole = (skeleton([model], (1, 4, 4), 3, dtype=torch.float64).train() for model in models)
    x_SBP = noise(1, BATCH, 16)
    by_hand = torch.cat([whole(part) for part in x_SBP.split(MICRO, 1)], 1)
    assert_close(sliced(x_SBP).detach(), by_hand.detach(), PLAIN_FLOAT64)
    for key, tensor in sliced.state_dict().items():
        if "running" in key:
            assert_close(tensor, whole.state_dict()[key], PLAIN_FLOAT64)


@pytest.mark.parametrize("family", ["mlp", "vgg"])
def test_they_are_the_devices_of_one_batch_whose_statistics_are_not_synchronised(family: str) -> None:
    (group,) = grouped(FAMILIES[family] | {"norm": {"over": MICRO}})
    by_hand = ByHand(group)
    by_hand.train(how="on_devices")
    by_hand.assert_same(kept=False)


@pytest.mark.parametrize(
    ("family", "kind"), crossed(list(FAMILIES), [kind for kind in NORMS if NORMS[kind].batch_statistics], fast=2)
)
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


@pytest.mark.parametrize("changes", [{"model.norm.freeze_at": FROZEN}, {"model.norm.over": MICRO}])
def test_a_module_as_it_is_written_does_what_the_same_network_of_bnexp_does(changes: dict[str, int]) -> None:
    def trained(family: str) -> np.ndarray:
        (group,) = grouped(FAMILIES[family], {"only": changes}, record_at=[FROZEN, STEPS])
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
