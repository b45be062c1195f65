"""What batch norm costs of a step's time, measured in turn, so that what else the machine does falls on all alike."""

from collections.abc import Iterator
from itertools import count
from math import prod
from statistics import median

import torch

from bnexp.claims.checks.networks import CPU, noise
from bnexp.claims.results import Finding, Measured
from bnexp.config.load import resolve
from bnexp.config.text import counted
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import fit
from bnexp.deploy.timing import Act, in_turn
from bnexp.nn.norm import BatchNorm
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training.graphs import updater
from bnexp.training.group_state import GroupTrainState
from bnexp.training.numerics import numerics, threads

IMAGE, CLASSES = (1, 28, 28), 10
IMAGES = 2_048


def step_times(rounds: int = 20, steps: int = 30) -> Iterator[Finding | Measured]:
    """Yield the seconds per step without batch norm and with it, and where the time goes.

    Args:
        rounds: in each of which every network trains for a while.
        steps: that it then makes.
    """
    data, none, before = _made_up(), _group("none"), _group("before")
    train_states = GroupTrainState(none, data), GroupTrainState(before, data)
    norms = sum(isinstance(module, BatchNorm) for module in train_states[1].network.modules())
    with numerics(none.settings.train, CPU), threads(train_states[0].macs, CPU):
        acts = [*map(_step, train_states), _layer_alone(before)]
        plain, with_norm, layer = in_turn(acts, rounds, steps)
        used = torch.get_num_threads()
    yield Measured(tuple(plain), tuple(with_norm))
    ratio, added = median(with_norm) / median(plain), median(with_norm) - median(plain)
    yield Finding(
        "a step of a 3x100 ReLU network with a batch of 128 images of 784 pixels",
        f"{1e3 * median(plain):.3f} ms without BN, {1e3 * median(with_norm):.3f} ms with it: {ratio:.2f} times as long "
        f"(medians of {rounds} rounds of {steps} steps, float32, {counted(used, 'thread')})",
    )
    yield Finding(
        "where the time goes",
        f"a step takes {1e3 * added:.3f} ms longer; forward and backward through {norms} BN layers by themselves take "
        f"{1e3 * norms * median(layer):.3f} ms; that hidden biases are left out saves a little",
    )


def _group(arm: str) -> TrialGroup:
    model = {"depth": 3, "width": 100, "activation": "relu"}
    config = resolve({"name": "check", "model": model, "arms": [arm], "seeds": 1}, "check")
    (group,) = groups(trials(config))
    return group


def _made_up() -> Dataset:
    """Return random images of MNIST's size with random labels: the time is the same."""
    generator = torch.Generator().manual_seed(0)
    images_NP = torch.randint(256, (IMAGES, prod(IMAGE)), dtype=torch.uint8, generator=generator)
    split = Split(images_NP, torch.randint(CLASSES, (IMAGES,), generator=generator))
    none = Split(split.images_NP[:0], split.labels_N[:0])
    scaling = fit(images_NP.unflatten(1, IMAGE), "standard", {}, CPU, torch.float32)
    return Dataset(DataShape(IMAGE, CLASSES, IMAGES, 0, 0), split, none, none, scaling)


def _step(train_state: GroupTrainState) -> Act:
    """Return one update as training makes it, on one batch after the other."""
    update, train = updater(train_state), train_state.group.settings.train
    batches = torch.arange(IMAGES)[None].split(train.batch_size, dim=1)
    rate_K1, number = torch.full((1, 1), train.lr), torch.ones((), dtype=torch.int64)
    made = count()

    def step() -> None:
        update(batches[next(made) % len(batches)], rate_K1, number)

    return step


def _layer_alone(group: TrialGroup) -> Act:
    """Return forward and backward through one batch norm layer of the network."""
    model, batch = group.settings.model, group.settings.train.batch_size
    (width, *_), norm = model.widths, BatchNorm(1, model.widths[0], model.norm).float()
    # As a layer with weights hands it on: features first in memory.
    x_KBC, dy_KBC = (noise(1, width, batch, seed=seed).float().mT for seed in (0, 1))
    x_KBC.requires_grad_()
    theta = [x_KBC, norm.gamma, norm.beta]
    return lambda: torch.autograd.grad(norm(x_KBC), theta, dy_KBC)
