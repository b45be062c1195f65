"""How many trials of a group compute at once: all of them, or a few and then the next few.

A fully connected layer is one batched product for all trials, the more the better, and a recurrent one is two such
products a step. A convolution of K trials is a grouped one, which libraries take less care of, and its activations
leave the caches. Measured on two CPU cores (`python -m benchmarks convolutions`; torch 2.15.0, small VGG, batch 128,
n = 5): against a plain loop over one network at a time, one trial at once runs at 0.96 to 1.08 times the speed with 1,
4 or 16 trials, 4 at once at 0.93 to 0.96, 16 at once at 0.63 to 0.65. So convolutional trials compute one after the
other, and the memory that one leaves serves the next. Recording, the optimiser and everything else still work on all
trials at once.

No GPU has been measured yet. There, too, one at once is what a network alone would do, all in a single CUDA graph;
the same command prints what 2, 4 and 8 at once make of it.

Up to rounding the numbers are the same either way (tests/training/test_convolutions_together.py).
"""

from collections.abc import Sequence

import torch

from bnexp.config.families import UNITS
from bnexp.config.model import ModelSettings
from bnexp.plan import TrialGroup, parts


def trials_at_once(model: ModelSettings, device: torch.device) -> int | None:
    """Return the most trials whose networks compute in one pass on a device; None for all."""
    return None if model.family in UNITS else 1


def shard_sizes(group: TrialGroup, device: torch.device) -> Sequence[int]:
    """Return how many neighbouring trials of a group compute at once: whole seeds, or some trials of one seed."""
    most = trials_at_once(group.settings.model, device) or len(group.trials)
    return [len(part.trials) for part in parts(group, most)]
