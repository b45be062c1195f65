"""How states of groups reach the driver: through Ray's object store, or through a folder that all machines see."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import ray
from ray.exceptions import GetTimeoutError, RayError

from bnexp.engines.messages import Carried, Following, Message, Moment, Moments, State, StateLostError
from bnexp.records import Snapshot
from bnexp.store.checkpoints import read_snapshot, write_snapshot


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of an error's message, or its name where it has none."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0].partition(". ")[0].rstrip(".")


FETCH_SECONDS = 300.0
"""How long a state may take to come before it counts as lost."""


@dataclass(frozen=True)
class ObjectStore:
    """Ray's object store: states travel in the stream of messages, and stay where they were made until fetched."""

    def keep(self, snapshot: Snapshot) -> State:
        """Put a state where the driver can fetch it."""
        return Carried(snapshot)

    def reachable(self) -> bool:
        """Whether states can be left there from this machine."""
        return True


@dataclass(frozen=True)
class SharedFolder:
    """A folder that the machines of workers and driver see: states outlive the worker's machine."""

    path: Path

    def keep(self, snapshot: Snapshot) -> State:
        """Put a state where the driver can fetch it."""
        file = self.path / f"{snapshot.trials[0]:03}-{snapshot.step}.safetensors"
        write_snapshot(file, snapshot)
        return _Filed(file)

    def reachable(self) -> bool:
        """Whether states can be left there from this machine."""
        return os.access(self.path, os.W_OK)


States = ObjectStore | SharedFolder


def sent(message: Message) -> Iterator[Message | Snapshot]:
    """Yield what goes into the stream for a message: itself, and behind it the state that it would carry.

    A state of trials that ended stays in the message: it is wanted in any case. References to objects that the worker
    put away would not do: under load, Ray loses those that travel within what a stream yields (Ray 2.60).
    """
    carried = [each.state for each in _moments(message) if isinstance(each.state, Carried) and not each.ended]
    if not carried:
        yield message
        return
    yield _with(message, carried[0], Following())
    yield carried[0].snapshot


def received(
    message: Message, stream: "Iterator[ray.ObjectRef[Snapshot]]"
) -> tuple[Message, RayError | StopIteration | None]:
    """Return a message that came out of a stream, with the state behind it if it has one.

    Where the worker ended before that came, its error comes second, and the moment has no state.
    """
    following = [each.state for each in _moments(message) if isinstance(each.state, Following)]
    if not following:
        return message, None
    try:
        state = _Stored(next(stream))
        ray.get(state.ref, timeout=0)  # an error is known at once; what lies elsewhere stays there
    except GetTimeoutError:
        pass
    except (StopIteration, RayError) as error:
        return _with(message, following[0], None), error
    return _with(message, following[0], state), None


def _moments(message: Message) -> tuple[Moment, ...]:
    return message.moments if isinstance(message, Moments) else ()


def _with(message: Message, before: State, after: State | None) -> Message:
    return Moments(tuple(replace(each, state=after) if each.state is before else each for each in _moments(message)))


@dataclass(frozen=True)
class _Stored:
    ref: "ray.ObjectRef[Snapshot]"

    def __call__(self) -> Snapshot:
        try:
            return ray.get(self.ref, timeout=FETCH_SECONDS)
        except RayError as error:
            raise StateLostError(first_sentence(error)) from error

    def discard(self) -> None:
        """Ray lets go of what nobody refers to."""


@dataclass(frozen=True)
class _Filed:
    path: Path

    def __call__(self) -> Snapshot:
        if snapshot := read_snapshot(self.path):
            return snapshot
        raise StateLostError(f"{self.path}: not as it was written")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
