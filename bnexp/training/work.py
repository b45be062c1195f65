"""How much there is to do in a training: its updates, the steps of its records, and its multiply-accumulates (MACs)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bnexp.config.model import ModelSettings
from bnexp.config.train import TrainSettings
from bnexp.data.catalog import DataShape, steps_per_epoch
from bnexp.nn.table import LayerRow, layer_table
from bnexp.plan import TrialGroup, parts


def trials_at_once(model: ModelSettings, device: torch.device) -> int | None:
    """Return the most trials whose networks compute in one pass on a device; None for all.

    The numbers are the same either way, up to rounding. A fully connected layer is one batched product for all trials,
    and a recurrent one is two such products a step: the more trials, the better. A convolution of K trials is a grouped
    one, which libraries take less care of, and its activations leave the caches: on two CPU cores 16 trials at once
    run at 0.63 to 0.65 times the speed of one after the other (`python -m benchmarks convolutions`; torch 2.15.0, small
    VGG, batch 128). So convolutional trials take turns, and the memory that one leaves serves the next. GPUs do as CPUs
    do, unmeasured; the same command prints what 2, 4 and 8 at once make of it.
    """
    return None if model.spec.units else 1


def shard_sizes(group: TrialGroup, device: torch.device) -> Sequence[int]:
    """Return how many neighbouring trials of a group compute at once: whole seeds, or some trials of one seed."""
    most = trials_at_once(group.settings.model, device) or len(group.trials)
    return [len(part.trials) for part in parts(group, most)]


LAYER_MACS = 4e6
"""What calling a layer forward and backward takes in an update besides its MACs, in MACs."""
CORE_SPEED = 3e10
"""MACs in a second of one core. Both figures are rough: they predict one thread's CPU time within some 20 % for
quickstart with 1 and 3 trials at once and init_scale with 1, 4 and 16 (torch 2.15.0, AMD EPYC, float32)."""
UPDATE_PASSES = 3
"""MACs of an update, in those of a forward pass: the gradients of weights and of inputs take as many each."""


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


def macs_per_batch(group: TrialGroup, layers: Sequence[LayerRow], device: torch.device) -> int:
    """Return the MACs of a forward pass of one batch, over the trials that compute at once.

    Args:
        group: the trials.
        layers: of one trial's network.
        device: which decides how many compute at once.
    """
    at_once = max(shard_sizes(group, device))
    return sum(layer.macs for layer in layers) * group.settings.train.batch_size * at_once


@dataclass(frozen=True)
class Cost:
    """The seconds that training a group takes on one core."""

    fixed: float
    """Seconds that it takes however few its trials are."""
    per_trial: float

    def of(self, trials: int) -> float:
        """Return the seconds of so many trials of the group."""
        return self.fixed + trials * self.per_trial


def training_cost(group: TrialGroup, shape: DataShape, device: torch.device) -> Cost:
    """Estimate what training a group takes: trials that compute at once share the calls of layers."""
    model = group.settings.model
    time_steps = shape.image[1] if model.spec.recurrent else 1
    layers = layer_table(model, shape.image, shape.classes)
    calls = LAYER_MACS * len(layers) * time_steps * total_steps(group, shape) / CORE_SPEED
    macs = total_macs(group, shape) / len(group.trials) / CORE_SPEED
    shared = trials_at_once(model, device) is None
    return Cost(calls, macs) if shared else Cost(0.0, calls + macs)


def total_macs(group: TrialGroup, shape: DataShape) -> int:
    """Return the MACs of the whole training of a group, records included."""
    train = group.settings.train
    each = sum(layer.macs for layer in layer_table(group.settings.model, shape.image, shape.classes))
    records = 1 + len(record_steps(train, updates_per_epoch(group, shape)))
    images = UPDATE_PASSES * train.batch_size * total_steps(group, shape)
    images += records * (shape.train + shape.val + shape.test)
    return each * images * len(group.trials)
