"""Jobs that go to an engine's workers, the messages that come back, and the events made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from bnexp.plan import TrialGroup, parts
from bnexp.records import EpochRecord, ProbeRecord, Snapshot

if TYPE_CHECKING:
    from bnexp.training.loop import Progress

TOO_LARGE = "one trial alone is too large for the memory; lower train.batch_size, model.width or model.depth"


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


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: a record, or that others go on in its place, or that it has failed.

    One with a `crew` alone is for people.
    """

    job: Job
    progress: "Progress | None" = None
    parts: tuple[Job, ...] = ()
    """Jobs that go on in its place: its halves, or the same group from an earlier moment."""
    reason: str = ""
    """Why they do, as the end of a sentence about its trials: "ran out of memory together"."""
    failure: str = ""
    """What broke the group for good; the last line says it in short."""
    crew: str = ""
    """Who is at work at this moment, where that changes: "3 groups on 2 nodes"."""

    @property
    def ended(self) -> bool:
        """Whether trials ended: completed, diverged or failed."""
        return bool(self.failure or (self.progress and self.progress.ended))


Latest = Callable[[int], Snapshot | None]
"""Finds the newest snapshot of a job by its number."""


class StateLostError(Exception):
    """The state of a group went with the machine that had it."""


def broken(job: Job, left: set[int], failure: str, *, full: bool, latest: Latest) -> Event:
    """Return what becomes of a job that broke: where memory was too small its halves go on, unless one trial is left.

    Args:
        job: that broke.
        left: numbers of its trials that have not ended.
        failure: the traceback.
        full: whether memory was too small.
        latest: finds what the halves can go on from.
    """
    if not full:
        return Event(job, failure=failure)
    if len(left) < 2:
        return Event(job, failure=f"{failure.rstrip()}\n{TOO_LARGE}")
    resume = latest(job.number) or job.resume
    halves = parts(job.group.only(left), -(-len(left) // 2))
    jobs = tuple(Job.new(half, resume and resume.only(half.numbers)) for half in halves)
    return Event(job, parts=jobs, reason="ran out of memory together")


class State(Protocol):
    """The way to a state that lies elsewhere."""

    def __call__(self) -> Snapshot:
        """Fetch it.

        Raises:
            StateLostError: it is no longer there.
        """

    def discard(self) -> None:
        """Let it go: there is a newer one."""


@dataclass(frozen=True)
class Carried:
    """A state that comes with the message itself."""

    snapshot: Snapshot

    def __call__(self) -> Snapshot:
        return self.snapshot

    def discard(self) -> None:
        """It goes with the message."""


@dataclass(frozen=True)
class Following:
    """Stands for a state that comes by itself right behind its message, so that who doesn't want it needn't take it."""

    def __call__(self) -> Snapshot:
        raise StateLostError("its worker ended before it came")

    def discard(self) -> None:
        """It lies nowhere."""


@dataclass(frozen=True)
class Begun:
    """The worker has the group."""

    last: ClassVar = False

    node: str
    """Ray's name for its machine."""


@dataclass(frozen=True)
class Moment:
    """A record, and all else that the loop says at that moment; see Progress."""

    record: EpochRecord
    ended: tuple[int, ...]
    probes: tuple[ProbeRecord, ...]
    probing: float
    resumable: bool
    state: State | None
    """Where a copy was due: what the trials go on from, or ended with."""


@dataclass(frozen=True)
class Moments:
    """Moments since the last message."""

    last: ClassVar = False

    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class Finished:
    """All trials of the group have ended."""

    last: ClassVar = True


@dataclass(frozen=True)
class Broke:
    """Training raised an error."""

    last: ClassVar = True

    failure: str
    """Its traceback."""
    full: bool
    """Whether memory was too small."""
    blameless: bool = False
    """Whether others may have taken it: the machine as a whole ran out, and somebody had to go."""


@dataclass(frozen=True)
class Lost:
    """Nothing more will come of the worker: it died, or its machine."""

    last: ClassVar = True

    reason: str


Message = Begun | Moments | Finished | Broke | Lost
"""Nothing comes after one that is the `last`."""
