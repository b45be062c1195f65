"""Finished trials with their weights, for folding, exporting and late probes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bnexp.config.load import with_sources
from bnexp.config.source import placed_in
from bnexp.data.catalog import DataShape
from bnexp.errors import InputError, refuse_twice
from bnexp.nn.build import skeleton
from bnexp.plan import Trial, TrialGroup, trials
from bnexp.records import Snapshot
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.files import SOURCES
from bnexp.store.reader import RunRecord
from bnexp.streams import TrialRandom
from bnexp.training.numerics import dtype_of


@dataclass(frozen=True)
class TrainedTrial:
    """A trial of a run with its final weights."""

    trial: Trial
    weights: Snapshot
    """Its final weights; every array has an axis of length 1 in front."""

    @property
    def group(self) -> TrialGroup:
        """The trial as a group of its own."""
        return TrialGroup((self.trial,))

    @property
    def finite(self) -> bool:
        """True if all weights and running statistics are finite; those of a diverged trial may not be."""
        return all(torch.from_numpy(array).isfinite().all() for array in self.weights.arrays.values())

    def network(self, shape: DataShape, device: torch.device, draws: TrialRandom | None = None) -> nn.Module:
        """Return its network with the final weights, K = 1, in evaluation mode.

        Args:
            shape: of the data that it was trained on.
            device: where the network will be.
            draws: for dropout and noise; without them the network has neither.
        """
        return networks([self], shape, device, draws)


def networks(
    trained: Sequence[TrainedTrial], shape: DataShape, device: torch.device, draws: TrialRandom | None = None
) -> nn.Module:
    """Return the networks of K trials of one shape as one module with their final weights; see TrainedTrial.network."""
    settings = [each.trial.settings for each in trained]
    models, dtype = [each.network for each in settings], dtype_of(settings[0].train.precision)
    network = skeleton(models, shape.image, shape.classes, draws, dtype)
    names = trained[0].weights.arrays
    arrays = {name: np.concatenate([each.weights.arrays[name] for each in trained]) for name in names}
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return network.to(device).eval()


def trained_trials(run: RunRecord, wanted: Collection[int] | None = None) -> list[TrainedTrial]:
    """Return trials of a run with their final weights, in the order of their numbers.

    Args:
        run: the run folder; it may still be in progress.
        wanted: numbers of the trials; None for all that have weights.

    Raises:
        InputError: the run has no such trial, it is named twice, or it has no weights: it has not ended, has failed,
            or its file is damaged.
    """
    planned = trials(with_sources(run.config, placed_in(run.path / SOURCES)))
    refuse_twice((f"trial {number}", number) for number in wanted or ())
    if unknown := [number for number in wanted or () if not 0 <= number < len(planned)]:
        raise InputError(f"{run.path}: no trial {unknown[0]}; there are 0 to {len(planned) - 1}, see trials.csv")
    kept = {n: snapshot.only([n]) for snapshot in Checkpoints(run.path).kept() for n in snapshot.trials}
    missing = [number for number in wanted or () if number not in kept]
    if missing or not kept:
        which = f"trial {missing[0]} has no" if missing else "no trial has"
        remedy = "bnexp run trains what is left, with --retry-failed also what failed"
        raise InputError(f"{run.path}: {which} weights yet, or they are damaged; {remedy}")
    return [TrainedTrial(planned[number], kept[number]) for number in sorted(kept if wanted is None else wanted)]
