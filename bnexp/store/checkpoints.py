"""Snapshots of trial groups as safetensors files: to continue from while training, weights to keep afterwards."""

import dataclasses
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bnexp.records import Snapshot
from bnexp.store.files import replace

WEIGHTS = "network."
"""Prefix of the arrays that make up the trained networks."""


class Checkpoints:
    """The `checkpoints/` folder of a run.

    A group has the number of a trial that was in it from its start, and so in no other group.
    `group-N.safetensors` continues group N; `weights-N-STEP.safetensors` holds the weights of its trials that
    ended at a step. Every array has the trials of its file in front; the file's metadata lists them, and holds a
    checksum over everything in the file.
    """

    def __init__(self, run: Path):
        self._folder = run / "checkpoints"

    def save(self, group: int, snapshot: Snapshot) -> None:
        """Write the snapshot that a group continues from."""
        write_snapshot(self._path(group), snapshot)

    def finish(self, group: int, snapshot: Snapshot) -> None:
        """Write the final weights of trials of a group, taken from its snapshot."""
        weights = {
            name.removeprefix(WEIGHTS): array for name, array in snapshot.arrays.items() if name.startswith(WEIGHTS)
        }
        self.keep(group, dataclasses.replace(snapshot, arrays=weights))

    def keep(self, group: int, weights: Snapshot) -> None:
        """Write a snapshot that holds final weights alone."""
        write_snapshot(self._folder / f"weights-{group:03}-{weights.step}.safetensors", weights)

    def drop(self, group: int) -> None:
        """Remove the snapshot that a group would continue from."""
        self._path(group).unlink(missing_ok=True)

    def load(self, group: int) -> Snapshot | None:
        """Return the snapshot that a group continues from, or None if it is missing or damaged."""
        return read_snapshot(self._path(group))

    @property
    def numbers(self) -> set[int]:
        """The groups that have a file, readable or not."""
        stems = [path.stem.removeprefix("group-") for path in self._folder.glob("group-*.safetensors")]
        return {int(stem) for stem in stems if stem.isdecimal()}

    def furthest(self, trials: Collection[int], usable: Callable[[Snapshot], bool]) -> dict[int, Snapshot]:
        """Return the snapshots to continue some trials from, by group.

        They include the other trials of those groups. If several files hold a trial, since the process stopped while
        it split a group, the one that got furthest counts.

        Args:
            trials: numbers of the trials to continue.
            usable: tells whether training can continue from a snapshot.
        """
        found = [(number, snapshot) for number in sorted(self.numbers) if (snapshot := self.load(number))]
        left, kept, covered = set(trials), dict[int, Snapshot](), set[int]()
        for number, whole in sorted(found, key=lambda pair: -pair[1].step):
            snapshot = whole.only(set(whole.trials) - covered)
            if left & set(snapshot.trials) and usable(snapshot):
                covered |= set(snapshot.trials)
                kept[number] = snapshot
        return kept

    def weights(self) -> Iterator[Snapshot]:
        """Yield the final weights of trials, file by file; files that are damaged are left out."""
        for path in sorted(self._folder.glob("weights-*.safetensors")):
            if snapshot := read_snapshot(path):
                yield snapshot

    def _path(self, group: int) -> Path:
        return self._folder / f"group-{group:03}.safetensors"


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot into a file, with a checksum over all of it."""
    about = {
        "trials": json.dumps(snapshot.trials),
        "epoch": str(snapshot.epoch),
        "step": str(snapshot.step),
        "seconds": repr(snapshot.seconds),
    }
    sum_ = {"checksum": str(_checksum(about, snapshot.arrays))}
    replace(path, save(snapshot.arrays, metadata=about | sum_))


def read_snapshot(path: Path) -> Snapshot | None:
    """Return the snapshot in a file, or None if it is missing or damaged."""
    if not os.path.isfile(path):  # a pipe would be waited for
        return None
    try:
        with safe_open(path, framework="np") as file:
            about = file.metadata()
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if int(about.pop("checksum")) != _checksum(about, arrays):
            return None
        trials = tuple(json.loads(about["trials"]))
        return Snapshot(trials, int(about["epoch"]), int(about["step"]), float(about["seconds"]), arrays)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _checksum(about: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> int:
    """Return a checksum over the numbers, their shapes and types, and the metadata."""
    shapes = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    sum_ = crc32(repr((sorted(about.items()), sorted(shapes.items()))).encode())
    for _, array in sorted(arrays.items()):
        sum_ = crc32(np.ascontiguousarray(array).data, sum_)
    return sum_
