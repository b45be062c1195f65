"""Where workers leave the states of their groups for the driver: in Ray's object store, or in a folder that all see."""

from dataclasses import dataclass
from pathlib import Path

import ray
from ray.exceptions import RayError

from bnexp.executors.cluster.messages import State
from bnexp.executors.jobs import StateLostError
from bnexp.records import Snapshot
from bnexp.store.checkpoints import read_snapshot, write_snapshot

FETCH_SECONDS = 300.0
"""How long a state may take to come before it counts as lost."""


@dataclass(frozen=True)
class ObjectStore:
    """Ray's object store of the worker's machine, where a state stays for as long as the worker lives."""

    def keep(self, snapshot: Snapshot) -> State:
        """Put a state where the driver can fetch it."""
        return _Stored([ray.put(snapshot)])


@dataclass(frozen=True)
class SharedFolder:
    """A folder that the machines of workers and driver see: states outlive the worker's machine."""

    path: Path

    def keep(self, snapshot: Snapshot) -> State:
        """Put a state where the driver can fetch it."""
        file = self.path / f"{snapshot.trials[0]:03}-{snapshot.step}.safetensors"
        write_snapshot(file, snapshot)
        return _Filed(file)


States = ObjectStore | SharedFolder


@dataclass(frozen=True)
class _Stored:
    ref: "list[ray.ObjectRef[Snapshot]]"
    """In a list, since Ray would hand on the object in its place otherwise."""

    def __call__(self) -> Snapshot:
        try:
            return ray.get(self.ref[0], timeout=FETCH_SECONDS)
        except RayError as error:
            raise StateLostError(str(error).partition("\n")[0].partition(". ")[0]) from error

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
