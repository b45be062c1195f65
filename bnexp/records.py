"""What training reports: a record per trial group and moment, and how each trial ended."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

PREDICTIONS = "predictions"
"""Name of the array in a snapshot with the classes that trials which end there predict for the test images."""

OutcomeKind = Literal["completed", "diverged", "failed", "stopped"]
"""stopped: successive halving trained it no further."""

MEASURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy")
"""What is measured at every record, in evaluation mode; accuracies are fractions in [0, 1]."""

DIVERGED_FACTOR = 1000
"""A trial is diverged while its batch losses lie above this many times that of its first batch, or that of guessing
(the logarithm of the number of classes) where the first was lower; and for good once a loss, a parameter, a running
statistic or a number of the optimiser is not finite."""

CURVE_COLUMNS = ("trial", "epoch", "step", *MEASURES, "lr", "seconds")
"""Columns of curves.csv."""

PROBE_COLUMNS = ("trial", "epoch", "step", "layer", "probe", "value")
"""Columns of probes.csv."""


@dataclass(frozen=True)
class EpochRecord:
    """One moment of a trial group; every tuple has one entry per trial, in the order of `trials`."""

    trials: tuple[int, ...]
    """Numbers of the trials, as in trials.csv."""
    epoch: int
    """The epoch that `step` lies in, counted from 1; 0 is before training."""
    step: int
    """Updates made so far."""
    measures: dict[str, tuple[float, ...]]
    """Values by the names in MEASURES; a name is missing where its split has no images."""
    lr: tuple[float, ...]
    """Learning rate of the last update made (before training: of the first one to come)."""
    seconds: float
    """Each trial's share of the time trained so far: the group's seconds over its trials, evaluation left out."""
    diverged_step: tuple[int | None, ...]
    """The step since which each trial is diverged; None where it is not, or no longer; see DIVERGED_FACTOR."""
    highest_batch_loss: tuple[float | None, ...]
    """The highest finite batch loss of each trial so far; None where there was none."""
    highest_batch_loss_step: tuple[int | None, ...]
    """The step of that batch."""

    def rows(self) -> Iterator[dict[str, float | int | None]]:
        """Yield one row of curves.csv per trial."""
        for k, trial in enumerate(self.trials):
            measures = {name: self.measures[name][k] if name in self.measures else None for name in MEASURES}
            place = {"trial": trial, "epoch": self.epoch, "step": self.step}
            yield {**place, **measures, "lr": self.lr[k], "seconds": self.seconds}

    def outcomes(self, trials: Iterable[int]) -> Iterator["Outcome"]:
        """Yield how some of the trials ended, if this is their last record."""
        for trial in trials:
            k = self.trials.index(trial)
            kind: OutcomeKind = "diverged" if self.diverged_step[k] else "completed"
            highest = self.highest_batch_loss[k], self.highest_batch_loss_step[k]
            yield Outcome(trial, kind, self.diverged_step[k], *highest)


@dataclass(frozen=True)
class ProbeRecord:
    """What the probes found at one moment of a trial group."""

    trials: tuple[int, ...]
    """Numbers of the trials, as in trials.csv."""
    epoch: int
    """The epoch that `step` lies in, counted from 1; 0 is before training."""
    step: int
    """Updates made so far."""
    values: dict[tuple[str, str], tuple[float, ...]]
    """A value per trial, by layer (empty: the whole network) and what is measured."""

    def rows(self) -> Iterator[dict[str, float | int | str]]:
        """Yield the rows of probes.csv, trial by trial."""
        for k, trial in enumerate(self.trials):
            for (layer, probe), row in self.values.items():
                place = {"trial": trial, "epoch": self.epoch, "step": self.step}
                yield {**place, "layer": layer, "probe": probe, "value": row[k]}


@dataclass(frozen=True)
class Heartbeat:
    """How far a trial group is between two records."""

    step: int
    """Updates made so far; a GPU may be a little behind."""


@dataclass(frozen=True)
class Outcome:
    """How one trial ended."""

    trial: int
    kind: OutcomeKind
    diverged_step: int | None = None
    """The step since which the trial is diverged (kind diverged)."""
    highest_batch_loss: float | None = None
    """The highest finite batch loss, None where there was none or the trial failed."""
    highest_batch_loss_step: int | None = None
    """The step of that batch."""
    reason: str = ""
    """What broke (kind failed)."""


@dataclass(frozen=True)
class Snapshot:
    """A trial group between two epochs, on the host: what continues it, or what it ended with."""

    trials: tuple[int, ...]
    """Numbers of the trials, in the order of every array's first axis."""
    epoch: int
    step: int
    seconds: float
    """Each trial's share of the time trained so far."""
    arrays: dict[str, np.ndarray]
    """The state by name: `network.…` are the weights and running statistics, PREDICTIONS the predicted classes, and the
    rest is the training's own."""

    def only(self, trials: Iterable[int]) -> "Snapshot":
        """Return the snapshot of some of the trials, in the same order."""
        wanted = set(trials)
        if wanted.issuperset(self.trials):
            return self
        kept = [k for k, number in enumerate(self.trials) if number in wanted]
        numbers = tuple(self.trials[k] for k in kept)
        arrays = {name: array[kept] for name, array in self.arrays.items()}
        return Snapshot(numbers, self.epoch, self.step, self.seconds, arrays)
