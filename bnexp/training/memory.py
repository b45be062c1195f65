"""The memory that training a group takes, by counting what is alive at the height of a step."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from bnexp.config.probes import ProbeSettings
from bnexp.data.catalog import DataShape
from bnexp.data.whitening import WHITENINGS
from bnexp.draws import SeedDraws, SeedStreams
from bnexp.nn.table import layer_table
from bnexp.plan import TrialGroup
from bnexp.probes.registry import hessian_batches, kept_passes
from bnexp.training.measure import CHUNK_NUMBERS
from bnexp.training.numerics import dtype_of
from bnexp.training.trial_axis import trials_at_once

STATE = {"sgd": 1, "adam": 2, "adamw": 2, "nadam": 2, "rmsprop": 2}
"""Numbers per parameter that an optimiser keeps from step to step at most."""
UPDATE = {"sgd": 2, "adam": 4, "adamw": 3, "nadam": 4, "rmsprop": 4}
"""Numbers per parameter alive in an update besides: the gradient with and without the penalty, roots, directions."""
TWICE = ("dropout", "noise", "Whiten")
"""Kinds of layers that keep more than their output until the step ends: what they drew, or the centred input."""
PROBED = 4
"""Numbers per parameter alive while a probe is taken: the gradient, another, the parameters elsewhere and before."""
HESSIAN = 12
"""Numbers per output of a layer while a gradient is derived once more: it keeps up to three, and deriving it takes as
many again, all in float64."""
HOST_COPIES = 3
"""Copies of the state that saving it takes on the host: the snapshot, and two while the file is put together."""
CHUNK_TENSORS = 4
"""Tensors of a chunk's size that are alive while a split is measured."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a group takes besides the images."""

    per_trial: int
    """Parameters, optimiser and, where all trials compute at once, the activations of a batch."""
    shared: int
    """What measuring takes, and the activations of trials that compute one after the other."""

    def of(self, trials: int) -> int:
        """Bytes of a group of so many trials."""
        return self.shared + trials * self.per_trial

    def most(self, room: int) -> int:
        """Trials that fit; 0 where not even one does."""
        return max(0, (room - self.shared) // self.per_trial)


def image_bytes(group: TrialGroup, shape: DataShape) -> int:
    """Count what the images of a group take, of which a process keeps one copy: bytes, or floats where whitened."""
    size = dtype_of(group.settings.train.precision).itemsize if group.settings.data.normalize in WHITENINGS else 1
    return (shape.train + shape.val + shape.test) * prod(shape.image) * size


def footprint(
    group: TrialGroup, shape: DataShape, device: torch.device, probes: Sequence[ProbeSettings] = ()
) -> Footprint:
    """Count what a group takes on a device, with the probes that are taken of it."""
    settings, features = group.settings, prod(shape.image)
    draws = SeedDraws(SeedStreams([0], torch.device("cpu")), [0])
    layers = layer_table(settings.model, shape.image, shape.classes, draws)
    parameters = sum(layer.parameters for layer in layers)
    largest = max(layer.output for layer in layers)
    kept = sum(layer.output * (2 if layer.kind in TWICE else 1) for layer in layers)
    # The backward pass needs every layer's output, and has the gradients of two of them in hand.
    # A probe keeps them, and the gradients that fall on them.
    batches = 1 + 2 * kept_passes(probes)
    activations = settings.train.batch_size * (features + batches * kept + 2 * largest)
    optimizer = settings.train.optimizer
    state = (1 + STATE[optimizer]) * parameters
    at_once = trials_at_once(settings.model, device)
    backward = (PROBED if probes else 1) * parameters + (activations if at_once is None else 0)
    saving = HOST_COPIES * state if device.type == "cpu" else 0
    numbers = state + max(backward, UPDATE[optimizer] * parameters, saving)
    shared = CHUNK_TENSORS * CHUNK_NUMBERS[device.type] + (at_once or 0) * activations
    shared += HESSIAN * hessian_batches(probes) * settings.train.batch_size * kept
    size = dtype_of(settings.train.precision).itemsize
    return Footprint(numbers * size, shared * size)
