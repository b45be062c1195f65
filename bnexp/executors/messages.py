"""What a worker says of its group; these travel from its machine to the driver's, so they need no torch."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from bnexp.executors.jobs import StateLostError
from bnexp.records import EpochRecord, ProbeRecord, Snapshot


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
