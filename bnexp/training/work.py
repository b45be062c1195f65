"""How much there is to do in a training: its updates, the steps of its records, and its multiply-accumulates (MACs)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from bnexp.config.model import ModelSettings
from bnexp.config.train import TrainSettings
from bnexp.data.catalog import DataShape, steps_per_epoch
from bnexp.nn.own.networks import arm_chain
from bnexp.nn.table import layer_table
from bnexp.plan import TrialGroup, parts


def trials_at_once(model: ModelSettings, shape: DataShape, device: torch.device) -> int | None:
    """Return the most trials whose networks compute in one pass on a device; None for all.

    The numbers are the same either way, up to rounding. A fully connected layer is one batched product for all trials,
    and a recurrent one is two such products a step: the more trials, the better. A convolution of K trials is a grouped
    one, which libraries take less care of, and its activations leave the caches: on two CPU cores 16 trials at once run
    at 0.63 to 0.65 times the speed of one after the other (`python -m benchmarks convolutions`; torch 2.15.0, small
    VGG, batch 128). So convolutional trials take turns, and the memory that one leaves serves the next. GPUs follow the
    same rule, which wasn't measured there; the same command prints the times of 2, 4 and 8 at once.

    Users' own networks take turns as well, except for chains of fully connected layers (`bnexp/nn/own/at_once.py`). On
    one CPU thread such chains ran at 1.6 times the speed of one trial after the other with 2 trials of 3×100 units, at
    3 and 4 times with 16 and 64, and still at 1.1 times with 16 trials of 3×1000 units and batches of 512 (`python -m
    benchmarks own`), so all of them compute at once.
    """
    chain = model.spec.own and arm_chain(model, shape.image, shape.classes)
    return None if model.spec.units or chain else 1


BRANCHES = 4
"""Shards that compute side by side on a GPU: a guess, since none was available."""


def branches(model: ModelSettings, shape: DataShape, device: torch.device) -> int:
    """Return how many shards of a group compute side by side on a device."""
    return BRANCHES if device.type == "cuda" and trials_at_once(model, shape, device) is not None else 1


def shard_sizes(group: TrialGroup, shape: DataShape, device: torch.device) -> Sequence[int]:
    """Return how many neighbouring trials of a group compute at once: whole seeds, or some trials of one seed."""
    most = trials_at_once(group.settings.model, shape, device) or len(group.trials)
    return [len(part.trials) for part in parts(group, most)]


SHORTEST_ROW = 8
"""The fewest numbers in a row of the buffer, since every row also needs rates of its own."""


def one_buffer(model: ModelSettings, shape: DataShape, device: torch.device, row: int) -> bool:
    """Tell whether the parameters of a group lie in one buffer, so that an update is a few operations over all of them.

    GPUs take about as long for a small operation as for calling it; where trials take turns, these are few beside the
    rest. On a CPU one operation a tensor keeps its rows long and needs no copy of the gradient.

    Args:
        model, shape, device: of the group.
        row: numbers of the longest rows that all tensors can be cut into.
    """
    return device.type == "cuda" and trials_at_once(model, shape, device) is None and row >= SHORTEST_ROW


FUSED_KERNELS = False
"""Whether a GPU uses the kernels of `bnexp/nn/fused.py`: off until a GPU has shown that they are faster."""


def fused_kernels(train: TrainSettings, device: torch.device) -> bool:
    """Tell whether bias, batch norm and activation are one kernel in an update on a device; never in bfloat16."""
    return FUSED_KERNELS and device.type == "cuda" and train.precision != "bf16"


LAYER_MACS = 4e6
"""The overhead of calling a layer forward and backward in an update, in MACs."""
CORE_SPEED = 3e10
"""MACs in a second of one core. Both figures are rough: they predict one thread's CPU time within some 20 % for
quickstart with 1 and 3 trials at once and init_scale with 1, 4 and 16 (torch 2.15.0, AMD EPYC, float32)."""
UPDATE_PASSES = 3
"""MACs of an update, relative to a forward pass: the gradients of weights and of inputs take as many each."""


def record_steps(settings: TrainSettings, per_epoch: int) -> list[int]:
    """Return the steps after which a record is due, the last step always among them."""
    total = settings.total_steps(per_epoch)
    due = range(per_epoch, total, per_epoch) if settings.record_at == "epoch" else settings.record_at
    return [*(step for step in due if step < total), total]


def updates_per_epoch(group: TrialGroup, shape: DataShape) -> int:
    """Return the updates of an epoch."""
    train = group.settings.train
    return steps_per_epoch(shape.train, train.batch_size, train.sampling, train.drop_last)


def total_steps(group: TrialGroup, shape: DataShape) -> int:
    """Return the updates that each trial of a group makes."""
    return group.settings.train.total_steps(updates_per_epoch(group, shape))


def between_records(group: TrialGroup, shape: DataShape) -> int:
    """Return the most updates that a group makes from one record to the next."""
    records = record_steps(group.settings.train, updates_per_epoch(group, shape))
    return max(later - earlier for earlier, later in pairwise([0, *records]))


MOST_PREDICTED = 100_000
"""The most test images whose predicted classes are kept; for larger sets, none are."""


def kept_predictions(shape: DataShape) -> tuple[int, torch.dtype]:
    """Return how many test images' predicted classes are kept of each trial, and the smallest type that holds one."""
    dtypes = (torch.uint8, torch.int16, torch.int32)
    dtype = next(each for each in dtypes if shape.classes - 1 <= torch.iinfo(each).max)
    return shape.test if shape.test <= MOST_PREDICTED else 0, dtype


@dataclass(frozen=True)
class Demand:
    """Bytes or seconds that a group takes."""

    shared: int | float
    """The constant part, however few the trials are."""
    per_trial: int | float

    def of(self, trials: int) -> int | float:
        """Return what so many trials of the group take."""
        return self.shared + trials * self.per_trial


def training_cost(group: TrialGroup, shape: DataShape, device: torch.device) -> Demand:
    """Estimate the seconds that training a group takes on one core: trials that compute at once share calls of layers.

    The MACs are those of the updates, and of every record with all images.
    """
    model, train = group.settings.model, group.settings.train
    layers, steps = layer_table(model, shape.image, shape.classes), total_steps(group, shape)
    time_steps = shape.image[1] if model.spec.recurrent else 1
    calls = LAYER_MACS * len(layers) * time_steps * steps * train.accumulate / CORE_SPEED
    records = 1 + len(record_steps(train, updates_per_epoch(group, shape)))
    images = UPDATE_PASSES * train.batch_size * steps + records * (shape.train + shape.val + shape.test)
    macs = sum(layer.macs for layer in layers) * images / CORE_SPEED
    return Demand(calls, macs) if trials_at_once(model, shape, device) is None else Demand(0.0, calls + macs)
