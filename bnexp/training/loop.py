"""The training loop: a generator that yields a record whenever one is due, and neither prints nor writes."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import overload

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from bnexp.config.probes import ProbeSettings
from bnexp.data.batches import batch_orders
from bnexp.data.dataset import Dataset
from bnexp.plan import TrialGroup
from bnexp.probes.prober import Prober
from bnexp.records import MEASURES, PREDICTIONS, EpochRecord, Heartbeat, ProbeRecord, Snapshot
from bnexp.training.graphs import evaluator, updater
from bnexp.training.group_state import GroupTrainState
from bnexp.training.numerics import dtype_of, full_precision, numerics, threads, wait
from bnexp.training.schedules import Clock, rates
from bnexp.training.work import record_steps, total_steps, updates_per_epoch

REMEMBERED = "probe."
"""Prefix of what probes remember in a state."""


@dataclass(frozen=True)
class Progress:
    """A record, which trials it is the last of, and the way to their state at that moment."""

    record: EpochRecord
    ended: tuple[int, ...]
    """Trials that will not be trained further."""
    snapshot: Callable[[], Snapshot]
    """Copies the state to the host; call it before asking for the next record."""
    probes: tuple[ProbeRecord, ...]
    """What was measured inside the networks since the last record."""
    probing: float
    """Seconds that such measurements have taken so far, of all trials together."""
    resumable: bool
    """Whether training can go on from the snapshot: random streams start over at every epoch, not within one."""
    lasting: bool = False
    """Whether the state stays where it is, so that a snapshot can be had after the next record, too."""
    notes: tuple[str, ...] = ()
    """What people should know of how these trials train; each is said once."""
    paused: bool = False
    """Whether training stops here, at the epoch that was asked for, although trials are left."""


Found = Progress | Heartbeat
"""What a training yields."""


@overload
def train(
    group: TrialGroup,
    data: Dataset,
    resume: Snapshot | None = None,
    probes: Sequence[ProbeSettings] = (),
    until: int | None = None,
) -> Generator[Progress, None, None]: ...


@overload
def train(
    group: TrialGroup,
    data: Dataset,
    resume: Snapshot | None = None,
    probes: Sequence[ProbeSettings] = (),
    until: int | None = None,
    *,
    heartbeat: float,
) -> Generator[Found, None, None]: ...


def train(
    group: TrialGroup,
    data: Dataset,
    resume: Snapshot | None = None,
    probes: Sequence[ProbeSettings] = (),
    until: int | None = None,
    *,
    heartbeat: float = inf,
) -> Generator[Found, None, None]:
    """Train a group and yield its records: before training, whenever `record_at` says, and after the last step.

    Args:
        group: trials that train at once.
        data: their images, on the device to train on.
        resume: where these trials go on; its own moment is not recorded again.
        probes: what to measure inside the networks on the way.
        until: the epoch after which to pause; None: train to the end.
        heartbeat: seconds without a record after which a Heartbeat is yielded, again and again.
    """
    device = data.train.labels_N.device
    with numerics(group.settings.train, device):
        run = _Run(group, data, resume, probes, until, heartbeat)
        try:
            with threads(run.train_state.macs, device):
                yield from run.records()
        finally:
            run.release()


class _Run:
    """One pass through a group's training, from its start or from a snapshot."""

    def __init__(
        self,
        group: TrialGroup,
        data: Dataset,
        resume: Snapshot | None,
        probes: Sequence[ProbeSettings],
        until: int | None,
        heartbeat: float,
    ):
        self._train, self._data, self._probes = group.settings.train, data, probes
        self._device = data.train.labels_N.device
        self._batching = self._train.batch_size, self._train.sampling, self._train.drop_last
        self._labels_N = data.train.labels_N.cpu() if self._train.sampling == "by_class" else None
        self._per_epoch = updates_per_epoch(group, data.shape)
        self._total = total_steps(group, data.shape)
        self._last = min(self._total, until * self._per_epoch) if until else self._total
        self._frozen_from = group.settings.model.norm.frozen_from
        self._epoch = self._step = 0
        self._seconds = self._probing = 0.0
        self._found: list[ProbeRecord] = []
        self._noted = set[str]()
        self._heartbeat, self._heard = heartbeat, time.perf_counter()
        self._resumed = resume is not None
        if resume:
            self._epoch, self._step, self._seconds = resume.epoch, resume.step, resume.seconds
        self._set_up(group, resume)

    def _set_up(self, group: TrialGroup, snapshot: Snapshot | None) -> None:
        """Build all that trains a group, as at its start or from a snapshot."""
        self.train_state = GroupTrainState(group, self._data)
        network, shards = self.train_state.network, self.train_state.shards
        self._prober = Prober(group, network, shards, self._data, self._probes)
        if snapshot:
            state = {name: torch.from_numpy(array) for name, array in snapshot.arrays.items()}
            self.train_state.load_state_dict(state)
            remembered = {name: tensor for name, tensor in state.items() if name.startswith(REMEMBERED)}
            self._prober.load({name.removeprefix(REMEMBERED): tensor for name, tensor in remembered.items()})
        if self._frozen_from and self._step >= self._frozen_from:
            self._freeze()
        self._update, self._evaluate = updater(self.train_state), evaluator(self.train_state)

    def _freeze(self) -> None:
        self.train_state.freeze()
        self._prober.freeze()

    def release(self) -> None:
        """Let go of all that lies on the device: whoever keeps a record of this run keeps the run, but no memory."""
        for name in ("train_state", "_prober", "_update", "_evaluate"):
            vars(self).pop(name, None)

    def records(self) -> Iterator[Found]:
        """Train to the end, to where it pauses, or until no trial is left."""
        recorded = {*record_steps(self._train, self._per_epoch), self._last}
        if not self._resumed:
            lr_SK = self._rates()
            self._measure(self._on_device(lr_SK)[0], recorded=True)
            yield self._progress(lr_SK[0])
        while self._step < self._last:
            self._epoch += 1
            ended: tuple[int, ...] = ()
            started = self._clock()
            steps = torch.arange(self._step, self._step + self._per_epoch, device=self._device) + 1
            lr_SK = self._rates()
            for batch_SB, lr_K, rate_K, step in zip(
                self._batches(), lr_SK, self._on_device(lr_SK), steps, strict=False
            ):
                self._step += 1
                if self._step == self._frozen_from:
                    self._freeze()
                    del self._update  # what a graph of it holds goes before the next one is captured
                    self._update = updater(self.train_state)
                due = self._step in recorded
                if probes := self._prober.due(self._step, due):
                    with self._timed():
                        self._prober.before_update(probes)
                self._update(batch_SB, rate_K[:, None], step)
                self._measure(rate_K, batch_SB, recorded=due)
                if due:
                    self._stop_clock(started)
                    progress = self._progress(lr_K)
                    ended = progress.ended
                    yield progress
                    started, self._heard = self._clock(), time.perf_counter()
                elif time.perf_counter() - self._heard >= self._heartbeat:
                    self._heard = time.perf_counter()
                    yield Heartbeat(self._step)
                if self._step == self._last:
                    return
            self._stop_clock(started)
            if ended and not self._drop(ended):
                return

    def _batches(self) -> Sequence[Int[Tensor, "S B"]]:
        """Begin the epoch's random streams; return its batches of image numbers, a row for each distinct seed."""
        self.train_state.streams.start_epoch(self._epoch)
        seeds = self.train_state.group.shared_seeds
        order_SN = batch_orders(seeds, self._epoch, len(self._data.train), *self._batching, self._labels_N)
        batches: tuple[Tensor, ...] = order_SN.to(self._device).split(self._train.batch_size, dim=1)
        return batches

    def _rates(self) -> Float64[np.ndarray, "steps K"]:
        """Return the learning rates of an epoch from the current step on, with all their digits."""
        steps = range(self._step, min(self._step + self._per_epoch, self._total))
        clocks = [Clock(step, self._total, self._per_epoch) for step in steps]
        return rates([trial.settings.train for trial in self.train_state.group.trials], clocks)

    def _on_device(self, lr_SK: Float64[np.ndarray, "steps K"]) -> Float[Tensor, "steps K"]:
        """Return learning rates where they are trained with, in the precision of the training."""
        return torch.from_numpy(lr_SK).to(self._device, dtype_of(self._train.precision))

    def _measure(
        self, rate_K: Float[Tensor, " K"], batch_SB: Int[Tensor, "S B"] | None = None, *, recorded: bool
    ) -> None:
        """Take the probes that are due after the last update, made from this batch."""
        if due := self._prober.due(self._step, recorded):
            with self._timed(), numerics(full_precision(self._train), self._device):
                self._found.append(self._prober.measure(due, self._epoch, self._step, rate_K, batch_SB))

    def _drop(self, ended: Sequence[int]) -> bool:
        """Go on without some trials; return whether any is left."""
        group = self.train_state.group
        left = group.only(set(group.numbers) - set(ended))
        if left.trials:
            snapshot = self._snapshot().only(left.numbers)
            self.release()  # the larger group and its graph go before the smaller one is built
            self._set_up(left, snapshot)
        return bool(left.trials)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the time as that of probes."""
        wait(self._device)
        started = time.perf_counter()
        yield
        wait(self._device)
        self._probing += time.perf_counter() - started

    def _clock(self) -> float:
        """Seconds that run on while a step is made, but not while probes are taken."""
        return time.perf_counter() - self._probing

    def _stop_clock(self, started: float) -> None:
        wait(self._device)
        # Shares, so that they still add up to the group's time after trials were dropped.
        self._seconds += (self._clock() - started) / len(self.train_state.group.trials)

    def _progress(self, lr_K: Float64[np.ndarray, " K"]) -> Progress:
        trials = self.train_state.group.numbers
        # The one moment at which the host reads the device.
        diverged, lost, highest, highest_at, *rows = self._evaluate(self._step).tolist()
        splits = {"train": self._data.train, "val": self._data.val, "test": self._data.test}
        names = [name for name in MEASURES if len(splits[name.split("_")[0]])]
        record = EpochRecord(
            trials,
            self._epoch,
            self._step,
            {name: tuple(row) for name, row in zip(names, rows, strict=True)},
            tuple(lr_K.tolist()),
            self._seconds,
            # A fault that is there before training counts from the first step on.
            tuple(int(step) if 0 < step <= self._step else None for step in diverged),
            tuple(loss if step else None for loss, step in zip(highest, highest_at, strict=True)),
            tuple(int(step) or None for step in highest_at),
        )
        whole = self._step % self._per_epoch == 0
        found, self._found = tuple(self._found), []
        notes = tuple(dict.fromkeys(note for note in self.train_state.notes if note not in self._noted))
        self._noted.update(notes)
        ended = self._ended(record, lost)
        snapshot = partial(self._snapshot, predictions=bool(ended))
        return Progress(
            record,
            ended,
            snapshot,
            found,
            self._probing,
            whole,
            notes=notes,
            paused=self._step == self._last < self._total,
        )

    def _ended(self, record: EpochRecord, lost: Sequence[float]) -> tuple[int, ...]:
        """Return which trials are not trained further: all after the last step, those that `stop_diverged` stops."""
        if self._step == self._total:
            return record.trials
        if self._step % self._per_epoch or not self._train.stop_diverged:
            return ()
        first = self._step - self._per_epoch + 1
        found = zip(record.trials, record.diverged_step, lost, strict=True)
        return tuple(trial for trial, step, for_good in found if step and (for_good or step <= first))

    def _snapshot(self, *, predictions: bool = False) -> Snapshot:
        remembered = {REMEMBERED + name: tensor for name, tensor in self._prober.state().items()}
        state = self.train_state.state_dict() | remembered
        if predictions and self.train_state.predicted_KN.numel():
            state[PREDICTIONS] = self.train_state.predicted_KN
        arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in state.items()}
        return Snapshot(self.train_state.group.numbers, self._epoch, self._step, self._seconds, arrays)
