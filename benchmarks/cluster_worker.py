"""A worker of a cluster that only pretends to train: it sleeps, and says made-up numbers; nothing here needs torch."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import ray

from bnexp.engines import messages
from bnexp.engines.messages import Job, Message, Started
from bnexp.records import MEASURES, EpochRecord, ProbeRecord, Snapshot

if TYPE_CHECKING:
    from bnexp.training.loop import Progress


@dataclass(frozen=True)
class Pretence:
    """What a group pretends to do."""

    records: int
    """Before the last one, which ends it."""
    every: float = 0.0
    """Seconds between records."""
    begin: float = 0.0
    """When all groups begin, as time.time() counts; 0: each as soon as it can."""
    others: int = 1
    """Groups at work at once, which record in turn."""
    rest: float = 0.0
    """Seconds before the last record."""
    interval: float = messages.INTERVAL
    """Seconds between messages at least."""
    numbers: int = 1000
    """Size of one trial's state."""

    def training(self, job: Job) -> "Generator[Progress, None, None]":
        """Yield what the training loop would; the seconds of a record say when it was made."""
        rng, begun = np.random.default_rng(job.number), max(self.begin, time.time())
        ahead = self.every * (job.number // len(job.group.trials) % self.others) / self.others
        for step in range(1 + (job.resume.step if job.resume else 0), self.records + 1):
            _sleep_until(begun + ahead + (step - 1) * self.every)
            yield _progress(job, step, rng, self.numbers)
        _sleep_until(begun + self.records * self.every + self.rest)
        yield _progress(job, self.records + 1, rng, self.numbers, job.group.numbers)


def pretend_group(job: Job, pretence: Pretence) -> Iterator[Message]:
    """Do as train_group does, but sleep in place of the training."""
    yield Started(ray.get_runtime_context().get_node_id())
    messages.INTERVAL = pretence.interval  # this process is the benchmark's alone
    yield from messages.messages(job, pretence.training, lambda error: False)


@dataclass(frozen=True)
class _Progress:
    """What looks like training.loop.Progress, which comes with torch."""

    record: EpochRecord
    ended: tuple[int, ...]
    snapshot: Callable[[], Snapshot]
    probes: tuple[ProbeRecord, ...] = ()
    probing: float = 0.0
    resumable: bool = True
    notes: tuple[str, ...] = ()
    paused: bool = False


def _progress(job: Job, step: int, rng: np.random.Generator, numbers: int, ended: tuple[int, ...] = ()) -> "Progress":
    trials = job.group.numbers
    measures, lr = rng.random((len(MEASURES), len(trials))).tolist(), rng.random(len(trials)).tolist()
    made = {name: tuple(row) for name, row in zip(MEASURES, measures, strict=True)}
    nothing = (None,) * len(trials)
    record = EpochRecord(trials, step, step, made, tuple(lr), time.time(), nothing, nothing, nothing)
    return cast("Progress", _Progress(record, ended, partial(_snapshot, trials, step, numbers)))


def _snapshot(trials: tuple[int, ...], step: int, numbers: int) -> Snapshot:
    arrays = {"network.weight": np.full((len(trials), numbers), step, dtype=np.float32)}
    return Snapshot(trials, step, step, 0.0, arrays)


def _sleep_until(moment: float) -> None:
    if (left := moment - time.time()) > 0:
        time.sleep(left)
