"""How much there is to do in a training: its updates, the moments of its records, and its multiplications."""

from collections.abc import Sequence

import torch

from bnexp.config.train import TrainSettings
from bnexp.data.catalog import DataShape, steps_per_epoch
from bnexp.nn.table import LayerRow, layer_table
from bnexp.plan import TrialGroup
from bnexp.training.trial_axis import shard_sizes

UPDATE_PASSES = 3
"""Products of an update, in those of a forward pass: the gradients of weights and of inputs take as many each."""


def moments(settings: TrainSettings, per_epoch: int) -> list[int]:
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


def batch_products(group: TrialGroup, layers: Sequence[LayerRow], device: torch.device) -> int:
    """Return the products of weights and activations in a forward pass of one batch, over trials that compute at once.

    Args:
        group: the trials.
        layers: of one trial's network.
        device: which decides how many compute at once.
    """
    at_once = max(shard_sizes(group, device))
    return sum(layer.products for layer in layers) * group.settings.train.batch_size * at_once


def total_products(group: TrialGroup, shape: DataShape) -> int:
    """Return the products of weights and activations in the whole training of a group, records included."""
    train = group.settings.train
    each = sum(layer.products for layer in layer_table(group.settings.model, shape.image, shape.classes))
    records = 1 + len(moments(train, updates_per_epoch(group, shape)))
    images = UPDATE_PASSES * train.batch_size * total_steps(group, shape)
    images += records * (shape.train + shape.val + shape.test)
    return each * images * len(group.trials)
