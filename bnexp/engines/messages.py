"""What an engine's driver and its workers say to each other, and the events that the rest of bnexp hears of."""

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from bnexp.engines import throttle
from bnexp.engines.throttle import Throttle
from bnexp.plan import TrialGroup, parts
from bnexp.records import Progress, Snapshot

TOO_LARGE = "one trial alone is too large for the memory; lower train.batch_size, model.width or model.depth"
INTERVAL = 0.25
"""Seconds between messages at least; records that come sooner wait for the next one, or for the end."""

Latest = Callable[[int], Snapshot | None]
"""Finds the newest snapshot of a job by its number."""


@dataclass(frozen=True)
class Job:
    """One group to train: all of it, or what an interruption left."""

    number: int
    """Names the group: the number of a trial that was in it from its start."""
    group: TrialGroup
    resume: Snapshot | None = None

    @classmethod
    def new(cls, group: TrialGroup, resume: Snapshot | None = None) -> "Job":
        """Return the job of a group that has no name yet."""
        return cls(group.numbers[0], group, resume)


Training = Callable[[Job], Generator[Progress, None, None]]
"""Trains a job's group."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: a record, or that others go on in its place, or that it has failed.

    An event with only `activity` set is a status message for display.
    """

    job: Job
    progress: Progress | None = None
    parts: tuple[Job, ...] = ()
    """Jobs that go on in its place: its halves, or the same group from an earlier step."""
    reason: str = ""
    """Why they do, as the end of a sentence about its trials: "ran out of memory together"."""
    failure: str = ""
    """What broke the group for good; the last line says it in short."""
    activity: str = ""
    """What is training at this moment, where that changes: "3 groups on 2 nodes"."""

    @property
    def ended(self) -> bool:
        """Whether trials ended: completed, diverged or failed."""
        return bool(self.failure or (self.progress and self.progress.ended))


def too_large(job: Job, left: set[int], failure: str, latest: Latest) -> Event:
    """Return what becomes of a job that didn't fit the memory: its halves go on, unless one trial is left.

    Args:
        job: that broke.
        left: numbers of its trials that have not ended.
        failure: the traceback.
        latest: finds what the halves can go on from.
    """
    if len(left) < 2:
        return Event(job, failure=f"{failure.rstrip()}\n{TOO_LARGE}")
    resume = latest(job.number) or job.resume
    halves = parts(job.group.only(left), -(-len(left) // 2))
    jobs = tuple(Job.new(half, resume and resume.only(half.numbers)) for half in halves)
    return Event(job, parts=jobs, reason="ran out of memory together")


@dataclass(frozen=True)
class Started:
    """A worker has the group."""

    node: str
    """The name of its machine, for people."""


@dataclass(frozen=True)
class ProgressBatch:
    """What the training has yielded since the last message."""

    items: tuple[Progress, ...]


@dataclass(frozen=True)
class Ended:
    """The last message of a job: all its trials have ended, or something broke."""

    failure: str = ""
    """The traceback, or what became of the worker."""
    out_of_memory: bool = False
    """Whether memory was too small."""
    preempted: bool = False
    """Whether the machine ran out of memory and the worker was killed, which need not be the cause."""
    lost: bool = False
    """Whether the worker died, or its machine."""


Message = Started | ProgressBatch | Ended


def messages(
    job: Job,
    training: Training,
    out_of_memory: Callable[[BaseException], bool],
    held_share: float = throttle.HELD_SHARE,
    bandwidth: float = float("inf"),
) -> Iterator[Message]:
    """Train a job in a worker and yield what the driver should know; what breaks the training is reported, not raised.

    A message takes the newest state with it as often as costs at most a share of the time, and always when trials end.

    Args:
        job: the group.
        training: trains it.
        out_of_memory: tells errors of too little memory.
        held_share: the share of the time.
        bandwidth: bytes a second in which a state reaches the driver, which counts as time that it costs.
    """
    waiting: list[Progress] = []
    sent, copies = float("-inf"), Throttle(0, held_share)  # due at once
    try:
        with closing(training(job)) as records:
            for progress in records:
                state = None
                if progress.ended:
                    state = progress.snapshot()
                elif progress.resumable and copies.due():
                    state = copies.run(progress.snapshot)
                    copies.charge(sum(array.nbytes for array in state.arrays.values()) / bandwidth)
                    waiting = [_holding(each, None) for each in waiting]  # the newest will do
                waiting.append(_holding(progress, state))
                if progress.ended or time.monotonic() - sent >= INTERVAL:
                    yield ProgressBatch(tuple(waiting))
                    waiting, sent = [], time.monotonic()
        last = Ended()
    except Exception as error:  # whatever breaks one group is that group's outcome
        last = Ended(traceback.format_exc(), out_of_memory(error))
    if waiting:
        yield ProgressBatch(tuple(waiting))
    yield last


def _holding(progress: Progress, state: Snapshot | None) -> Progress:
    """Return a progress that can travel, with a copy of the state or without any."""
    resumable = progress.resumable and state is not None
    return replace(progress, snapshot=partial(_held, state), resumable=resumable, lasting=True)


def _held(state: Snapshot | None) -> Snapshot:
    assert state, "no copy was due"
    return state
