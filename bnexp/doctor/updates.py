"""Whole updates of a small group on a device: repeated, they are equal, and a graph repeats what was launched."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from bnexp.config.load import resolve
from bnexp.config.train import TrainSettings
from bnexp.data.catalog import DataShape
from bnexp.doctor.operations import Deviation, worst
from bnexp.doctor.rounding import PRECISIONS
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training import graphs
from bnexp.training.estimate import made_up
from bnexp.training.group_state import GroupTrainState

UPDATES = 3
SHAPE = DataShape(image=(1, 4, 4), classes=3, train=256, val=0, test=0)

Updater = Callable[[GroupTrainState], graphs.Update]
"""Makes the function that updates a group."""


def repeats(device: torch.device, train: TrainSettings) -> Iterator[Deviation]:
    """Check that updates from one start, on the same images, end in the same bits, as do their measures."""
    yield from _compared(device, train, graphs.updater, rounding=0.0)


def graph(device: torch.device, train: TrainSettings) -> Iterator[Deviation]:
    """Check that a graph does what its updates do when they are launched one by one; nothing if there is no graph.

    A library may choose other kernels in a graph, so half the digits have to agree: a graph that reads a wrong batch or
    rate changes the first digits.
    """
    if graphs.graphed(_group(train).settings.model, device):
        rounding = PRECISIONS[train.precision].results ** 0.5
        yield from _compared(device, train, lambda train_state: train_state.update, rounding)


def _compared(device: torch.device, train: TrainSettings, other: Updater, rounding: float) -> Iterator[Deviation]:
    one, two = (_updated(_group(train), device, make) for make in (graphs.updater, other))
    for name, tensor in one.items():
        exact = two[name].double().numpy()
        yield worst(name, tensor, exact, rounding * np.abs(exact).max(keepdims=True))


def _group(train: TrainSettings) -> TrialGroup:
    raw = {
        "name": "doctor",
        "model": {"depth": 3, "width": 16, "activation": "tanh", "dropout": 0.3},
        "arms": ["before"],
        "train": {"batch_size": 32, "momentum": 0.9, "precision": train.precision},
        "grid": {"train.lr": [0.1, 0.01]},
        "seeds": 1,
    }
    return groups(trials(resolve(raw, "doctor")))[0]


def _updated(group: TrialGroup, device: torch.device, make: Updater) -> dict[str, Tensor]:
    """Return the state of a group after some updates on made-up images, and what it measures of them."""
    train_state, batch_SB, rate_K = made_up(group, SHAPE, device)
    update = make(train_state)
    train_state.streams.start_epoch(1)
    for step in range(1, UPDATES + 1):
        update(batch_SB, rate_K[:, None], torch.full((), step, dtype=torch.int64, device=device))
    measured = {"loss and accuracy": train_state.evaluate(UPDATES)}
    return {name: tensor.cpu() for name, tensor in (train_state.state_dict() | measured).items()}
