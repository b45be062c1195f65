"""Trials by hand, with what docs/reproducibility.md says beyond the plainest case: pictures that move, a warm-up,
clipped gradients, population statistics, recurrent dropout, and fixup's scalars."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.data.dataset import Dataset
from bnexp.plan import TrialGroup
from tests.data.test_augment import slowly
from tests.helpers import PLAIN_FLOAT64, assert_close, curve, experiment, finished, made_up_data, only_group
from tests.training.test_by_hand import stream

SEED, BATCH, WIDTH, SIDE, IMAGES = 5, 16, 8, 6, 100
STEPS = IMAGES // BATCH
"""Updates an epoch; four images are left over."""


def planned(model: dict[str, Any], **train: Any) -> tuple[TrialGroup, Dataset]:
    group = only_group(
        experiment(
            model={"width": WIDTH, "activation": "tanh"} | model,
            arms={"only": {}},
            train={"epochs": 3, "batch_size": BATCH, "precision": "fp64"} | train,
            seeds=[SEED],
        )
    )
    return group, made_up_data(group, IMAGES, side=SIDE)


def losses(group: TrialGroup, data: Dataset) -> np.ndarray:
    """Loss and accuracy over the training images at every record."""
    return curve([each.record for each in finished(group, data)], 0)[:, :2]


def drawn(layer: nn.Linear, index: int) -> None:
    """Xavier's weights from the documented stream, a bias of 0."""
    z = torch.randn(layer.weight.shape, dtype=torch.float64, generator=stream(SEED, "weights", index))
    layer.weight.data = z * (2 / sum(layer.weight.shape)) ** 0.5
    if layer.bias is not None:
        layer.bias.data.zero_()


def batches(epoch: int) -> Iterable[Tensor]:
    order = torch.randperm(IMAGES, generator=stream(SEED, "batches", epoch))
    return order[: STEPS * BATCH].split(BATCH)


def measured(network: Callable[[Tensor], Tensor], data: Dataset) -> list[float]:
    """Without label smoothing, whatever the training has."""
    with torch.no_grad():
        logits, labels = network(data.inputs(data.train.images_NP)), data.train.labels_N
        return [F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).double().mean().item()]


def test_moved_pictures_a_warm_up_clipping_and_population_statistics() -> None:
    group, data = planned(
        {"depth": 2, "norm": {"statistics": "population"}},
        augment="flip_crop_cutout",
        label_smoothing=0.1,
        schedule="step",
        lr=0.5,
        schedule_options={"step_at": [2], "factor": 0.5},
        warmup=0.3,
        clip={"value": 0.1, "norm_per_tensor": 0.2, "norm_global": 0.3},
    )
    linears = [nn.Linear(SIDE**2, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, 3)]
    norms = [nn.BatchNorm1d(WIDTH, momentum=None), nn.BatchNorm1d(WIDTH, momentum=None)]  # averages over all batches
    tail = [part for linear, norm in zip(linears, norms, strict=False) for part in (linear, norm, nn.Tanh())]
    network = nn.Sequential(*tail, linears[2]).double()
    for index, linear in enumerate(linears):
        drawn(linear, index)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    warm, expected, step = round(0.3 * 3 * STEPS), [], 0
    for epoch in range(4):
        moves = stream(SEED, "augment", epoch)
        for batch in batches(epoch) if epoch else ():
            uniforms = torch.rand(5, BATCH, generator=moves).mT.tolist()
            images = zip(data.train.images_NP[batch], uniforms, strict=True)
            x = torch.stack([slowly(data, image_P, each, cutout=True) for image_P, each in images])
            optimizer.param_groups[0]["lr"] = 0.5 * min(1, (step + 1) / warm) * (0.5 if step >= 2 * STEPS else 1)
            optimizer.zero_grad()
            F.cross_entropy(network.train()(x), data.train.labels_N[batch], label_smoothing=0.1).backward()
            nn.utils.clip_grad_value_(network.parameters(), 0.1)
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter.grad *= min(1, 0.2 / (float(parameter.grad.norm()) + 1e-6))
            nn.utils.clip_grad_norm_(network.parameters(), 0.3)
            optimizer.step()
            step += 1
        for norm in norms:
            norm.reset_running_stats()
        network.train()
        for first in range(0, STEPS * BATCH, BATCH):  # in file order, without the images that are left over
            network(data.inputs(data.train.images_NP[first : first + BATCH]))
        expected.append(measured(network.eval(), data))
    assert (warm, step) == (5, 18)
    assert_close(losses(group, data), np.array(expected), PLAIN_FLOAT64)


EPS = 0.1
"""Large, so that rounding isn't magnified from step to step where the units of a group are nearly equal."""


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor | None = None) -> Tensor:
    return F.group_norm(x, 2, gamma, beta, EPS)


class PlainRNN(nn.Module):
    """Two recurrent layers with group norm; no bias beside β, and dropout of what a layer hands up."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate, self.uniforms = rate, torch.Generator()
        fans = [SIDE, WIDTH, WIDTH, WIDTH]  # from the row, from the state; from the layer below, from the state
        self.ways = nn.ModuleList(nn.Linear(features, WIDTH, bias=False) for features in fans)
        self.output = nn.Linear(WIDTH, 3)
        self.gammas = nn.ParameterList(torch.ones(WIDTH) for _ in fans)
        self.betas = nn.ParameterList(torch.zeros(WIDTH) for _ in range(2))
        for index, linear in enumerate([*self.ways, self.output]):
            assert isinstance(linear, nn.Linear)
            drawn(linear, index)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        below = x.view(-1, SIDE, SIDE).transpose(0, 1)  # steps in front
        for layer in range(2):
            h, states = x.new_zeros(len(x), WIDTH), []
            for row in below:
                from_input = group_norm(self.ways[2 * layer](row), self.gammas[2 * layer], self.betas[layer])
                from_state = group_norm(self.ways[2 * layer + 1](h), self.gammas[2 * layer + 1])
                h = torch.tanh(from_input + from_state)
                states.append(h)
            below = self.dropped(torch.stack(states) if layer == 0 else h)
        logits: Tensor = self.output(below)
        return logits

    def dropped(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * (torch.rand(x.shape, generator=self.uniforms, dtype=torch.float32) >= self.rate) / (1 - self.rate)


def test_a_recurrent_trial_with_group_norm_and_dropout() -> None:
    settings = {"kind": "group", "groups": 2, "eps": EPS}
    group, data = planned({"family": "rnn", "depth": 2, "dropout": 0.3, "norm": settings}, lr=0.05)
    network = PlainRNN(0.3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    expected = [measured(network.eval(), data)]
    for epoch in (1, 2, 3):
        network.train().uniforms = stream(SEED, "dropout", epoch)
        for batch in batches(epoch):
            optimizer.zero_grad()
            F.cross_entropy(network(data.inputs(data.train.images_NP[batch])), data.train.labels_N[batch]).backward()
            optimizer.step()
        expected.append(measured(network.eval(), data))
    assert_close(losses(group, data), np.array(expected), PLAIN_FLOAT64)


class PlainFixup(nn.Module):
    """A layer and two residual blocks, scalars in place of biases (Zhang et al. 2019, section 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(SIDE**2 if i == 0 else WIDTH, WIDTH, bias=False) for i in range(5))
        self.output = nn.Linear(WIDTH, 3)
        self.biases = nn.Parameter(torch.zeros(10))
        self.factors = nn.Parameter(torch.ones(2))
        for index, linear in enumerate(self.linears):
            assert isinstance(linear, nn.Linear)
            shape = linear.weight.shape
            z = torch.randn(shape, dtype=torch.float64, generator=stream(SEED, "weights", index))
            gain = (1, 2**-0.5, 0, 2**-0.5, 0)[index]
            linear.weight.data = gain * (2 / shape[1]) ** 0.5 * z
        self.output.weight.data.zero_()
        self.output.bias.data.zero_()
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        b = iter(self.biases)
        x = torch.tanh(self.linears[0](x) + next(b))
        for block in range(2):
            y = torch.tanh(self.linears[1 + 2 * block](x + next(b)) + next(b))
            y = self.factors[block] * self.linears[2 + 2 * block](y + next(b))
            x = torch.tanh(x + y + next(b))
        logits: Tensor = self.output(x + next(b))
        return logits


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_fixups_scalars_learn_at_a_tenth_of_the_rate_and_under_adam_at_its_root(name: str) -> None:
    model = {"depth": 5, "residual": True, "init": "fixup", "norm": "none"}
    group, data = planned(model, lr=0.05, optimizer=name, **({"momentum": 0.9} if name == "sgd" else {}))
    network, share = PlainFixup(), 0.1**0.5
    scalars = [network.biases, network.factors]
    weights = [parameter for key, parameter in network.named_parameters() if key not in ("biases", "factors")]
    optimizer: torch.optim.Optimizer
    if name == "sgd":
        groups = [{"params": weights}, {"params": scalars, "lr": 0.05 * 0.1}]
        optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9)
    else:
        groups = [{"params": weights}, {"params": scalars, "lr": 0.05 * share, "eps": 1e-8 / share}]
        optimizer = torch.optim.Adam(groups, lr=0.05)
    expected = [measured(network, data)]
    for epoch in (1, 2, 3):
        for batch in batches(epoch):
            optimizer.zero_grad()
            F.cross_entropy(network(data.inputs(data.train.images_NP[batch])), data.train.labels_N[batch]).backward()
            optimizer.step()
        expected.append(measured(network, data))
    assert_close(losses(group, data), np.array(expected), PLAIN_FLOAT64)
