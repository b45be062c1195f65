"""What training a group will take: memory by counting, seconds by timing a few steps on made-up images."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch

from bnexp.data.catalog import DataShape, steps_per_epoch
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import fit
from bnexp.nn.table import layer_table
from bnexp.plan import TrialGroup
from bnexp.training.graphs import updater
from bnexp.training.loop import moments
from bnexp.training.numerics import dtype_of, numerics, threads
from bnexp.training.trainee import Trainee

TIMED_TRIALS = 8
"""Trials that are timed at most; more are taken to need time in proportion."""
TIMED_STEPS = 5
MATRICES = {"sgd": 3, "adam": 6, "adamw": 6, "nadam": 7, "rmsprop": 6}
"""Matrices (K, P) alive in an update, state and temporaries included: parameters, gradients (twice), moments."""


@dataclass(frozen=True)
class Estimate:
    """What a group will take."""

    seconds: float
    """Training and evaluation, measured on the device and scaled up."""
    bytes: int
    """Parameters, optimiser and activations; the images come on top."""


def estimate(group: TrialGroup, shape: DataShape, device: torch.device) -> Estimate:
    """Return what a group will take on a device, without its data.

    Raises:
        ConfigError: batches don't fit the data.
    """
    return Estimate(_seconds(group, shape, device), memory(group, shape))


def memory(group: TrialGroup, shape: DataShape) -> int:
    """Return the bytes that a group needs at the height of a step."""
    settings, features = group.settings, prod(shape.image)
    layers = layer_table(settings.model, features, shape.classes)
    parameters = sum(layer.parameters for layer in layers)
    # Every layer's output is kept for the backward pass, and its gradient beside it in turn.
    activations = settings.train.batch_size * (features + 2 * sum(layer.output for layer in layers))
    numbers = parameters * MATRICES[settings.train.optimizer] + activations
    return int(len(group.trials) * numbers * dtype_of(settings.train.precision).itemsize)


def _seconds(group: TrialGroup, shape: DataShape, device: torch.device) -> float:
    train = group.settings.train
    per_epoch = steps_per_epoch(shape.train, train.batch_size, train.sampling, train.drop_last)
    few = TrialGroup(group.trials[:TIMED_TRIALS])
    data = _noise(few, shape, device)
    with numerics(train, device):
        trainee = Trainee(few, data)
        numbers = trainee.parameters * train.batch_size * len(group.trials)
        batch_SB = torch.randint(len(data.train), (len(few.shared_seeds), train.batch_size), device=device)
        rate_K1 = torch.zeros(len(few.trials), 1, device=device, dtype=dtype_of(train.precision))
        first = torch.ones((), dtype=torch.int64, device=device)
        with threads(numbers, device):
            update = updater(trainee)
            step = _time(lambda: update(batch_SB, rate_K1, first), device)
            image = _time(lambda: trainee.evaluate(1).tolist(), device) / len(data.train)
    images = shape.train + shape.val + shape.test
    spent = step * train.total_steps(per_epoch) + image * images * (1 + len(moments(train, per_epoch)))
    return spent * len(group.trials) / len(few.trials)


def _time(act: Callable[[], object], device: torch.device) -> float:
    act()  # warm up
    _wait(device)
    started = time.perf_counter()
    for _ in range(TIMED_STEPS):
        act()
    _wait(device)
    return (time.perf_counter() - started) / TIMED_STEPS


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _noise(group: TrialGroup, shape: DataShape, device: torch.device) -> Dataset:
    settings = group.settings
    count = max(2 * settings.train.batch_size, 256)
    images = torch.randint(256, (count, *shape.image), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    dtype = dtype_of(settings.train.precision)
    normalization = fit(images, settings.data.normalize, settings.data.feature_scale, device, dtype)
    split = Split(images.flatten(1).to(device), torch.zeros(count, dtype=torch.int64, device=device))
    none = Split(split.images_NP[:0], split.labels_N[:0])
    return Dataset(shape, split, none, none, normalization)
