"""Jobs that go to an engine's workers, the messages that workers send back, and the events made of them.

A training becomes few messages, so that one driver can listen to many workers.
"""

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from bnexp.engines import throttle
from bnexp.engines.throttle import Throttle
from bnexp.plan import TrialGroup, parts
from bnexp.records import EpochRecord, Heartbeat, ProbeRecord, Snapshot

if TYPE_CHECKING:
    from bnexp.training.loop import Found, Progress

TOO_LARGE = "one trial alone is too large for the memory; lower train.batch_size, model.width or model.depth"
INTERVAL = 0.25
"""Seconds between messages at least; records that come sooner wait for the next one, or for the end."""
HEARTBEAT = 5.0
"""Seconds without a record after which a training says how far it is."""

Latest = Callable[[int], Snapshot | None]
"""Finds the newest snapshot of a job by its number."""


@dataclass(frozen=True)
class Job:
    """One group to train: all of it, or what an interruption left."""

    number: int
    """Names the group: the number of a trial that was in it from its start."""
    group: TrialGroup
    resume: Snapshot | None = None
    until: int | None = None
    """The epoch after which it pauses with the trials that are left; None: it trains to the end."""

    @property
    def begins(self) -> int:
        """The step that it goes on from."""
        return self.resume.step if self.resume else 0

    @classmethod
    def new(cls, group: TrialGroup, resume: Snapshot | None = None) -> "Job":
        """Return the job of a group that has no name yet."""
        return cls(group.numbers[0], group, resume)


Training = Callable[[Job], "Generator[Found, None, None]"]
"""Trains a job's group; see train."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: a record, or that others go on in its place, or that it has failed.

    An event with only `step` or `activity` set is for display.
    """

    job: Job
    progress: "Progress | None" = None
    step: int | None = None
    """How far its trials are, at their start and where there has been no record for a while."""
    parts: tuple[Job, ...] = ()
    """Jobs that go on in its place: its halves, or the same group from an earlier step."""
    reason: str = ""
    """Why they do, as the end of a sentence about its trials: "ran out of memory together"."""
    failure: str = ""
    """What broke the group for good; the last line says it in short."""
    stopped: tuple[int, ...] = ()
    """Trials that are trained no further, since others are ahead (successive halving)."""
    activity: str = ""
    """What is training at this moment, where that changes: "3 groups on 2 nodes"."""

    @property
    def notable(self) -> bool:
        """Whether it is worth a line of its own, as neither records nor heartbeats are."""
        return self.progress is None and self.step is None

    @property
    def ended(self) -> bool:
        """Whether trials ended: completed, diverged or failed."""
        return bool(self.failure or (self.progress and self.progress.ended))


def broken(job: Job, left: set[int], failure: str, *, out_of_memory: bool, latest: Latest) -> Event:
    """Return what becomes of a job that broke: where memory ran out its halves go on, unless one trial is left.

    Args:
        job: that broke.
        left: numbers of its trials that have not ended.
        failure: the traceback.
        out_of_memory: whether memory was too small.
        latest: finds what the halves can go on from.
    """
    if not out_of_memory:
        return Event(job, failure=failure)
    if len(left) < 2:
        return Event(job, failure=f"{failure.rstrip()}\n{TOO_LARGE}")
    resume = latest(job.number) or job.resume
    halves = parts(job.group.only(left), -(-len(left) // 2))
    jobs = tuple(replace(Job.new(half, resume and resume.only(half.numbers)), until=job.until) for half in halves)
    return Event(job, parts=jobs, reason="ran out of memory together")


@dataclass(frozen=True)
class Started:
    """The worker has the group."""

    last: ClassVar = False

    node: str
    """Ray's name for its machine."""


@dataclass(frozen=True)
class ProgressItem:
    """A record, and all else that the training loop yields with it; see Progress."""

    record: EpochRecord
    ended: tuple[int, ...]
    probes: tuple[ProbeRecord, ...]
    probing: float
    resumable: bool
    state: Snapshot | None
    """Where a copy was due: what the trials go on from, or ended with."""
    notes: tuple[str, ...] = ()
    paused: bool = False

    def snapshot(self) -> Snapshot:
        """Return the state; there is one if trials ended."""
        assert self.state, "no copy was due"
        return self.state


@dataclass(frozen=True)
class ProgressBatch:
    """What the training loop has yielded since the last message."""

    last: ClassVar = False

    items: tuple[ProgressItem, ...]


@dataclass(frozen=True)
class Working:
    """There has been no record for a while."""

    last: ClassVar = False

    step: int


@dataclass(frozen=True)
class Finished:
    """All trials of the group have ended."""

    last: ClassVar = True


@dataclass(frozen=True)
class Failed:
    """Training raised an error."""

    last: ClassVar = True

    failure: str
    """Its traceback."""
    out_of_memory: bool
    """Whether memory was too small."""
    preempted: bool = False
    """Whether the node ran out of memory and Ray killed this worker, which need not be the cause."""


@dataclass(frozen=True)
class Lost:
    """Nothing more will come of the worker: it died, or its machine."""

    last: ClassVar = True

    reason: str


Message = Started | ProgressBatch | Working | Finished | Failed | Lost
"""Nothing comes after one that is the `last`."""


def messages(
    job: Job,
    training: Training,
    out_of_memory: Callable[[BaseException], bool],
    held_share: float = throttle.HELD_SHARE,
    bandwidth: float = float("inf"),
) -> Iterator[Message]:
    """Train a job and yield what the driver should know; whatever breaks the training is reported, not raised.

    A message takes the newest state with it as often as costs at most a share of the time, and always when trials end.

    Args:
        job: the group.
        training: trains it.
        out_of_memory: tells errors of too little memory.
        held_share: the share of the time.
        bandwidth: bytes a second in which a state reaches the driver, which counts as time that it costs.
    """
    waiting: list[ProgressItem] = []
    sent, copies = float("-inf"), Throttle(0, held_share)  # due at once
    try:
        with closing(training(job)) as records:
            for progress in records:
                if isinstance(progress, Heartbeat):
                    yield Working(progress.step)
                    continue
                state = None
                if progress.ended or progress.paused:
                    state = progress.snapshot()
                elif progress.resumable and copies.due():
                    state = copies.run(progress.snapshot)
                    copies.charge(sum(array.nbytes for array in state.arrays.values()) / bandwidth)
                    waiting = [replace(item, state=None) for item in waiting]  # the newest will do
                waiting.append(_item(progress, state))
                if progress.ended or progress.paused or time.monotonic() - sent >= INTERVAL:
                    yield ProgressBatch(tuple(waiting))
                    waiting, sent = [], time.monotonic()
        last: Message = Finished()
    except Exception as error:  # whatever breaks one group is that group's outcome
        last = Failed(traceback.format_exc(), out_of_memory(error))
    if waiting:
        yield ProgressBatch(tuple(waiting))
    yield last


def _item(progress: "Progress", state: Snapshot | None) -> ProgressItem:
    found = progress.probes, progress.probing
    return ProgressItem(
        progress.record, progress.ended, *found, progress.resumable, state, progress.notes, progress.paused
    )
