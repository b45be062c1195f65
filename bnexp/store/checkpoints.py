"""The safetensors files of a run: snapshots to continue from, and the kept data of trials and test images."""

import dataclasses
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bnexp.records import PREDICTIONS, Snapshot
from bnexp.store.files import replace

WEIGHTS = "network."
"""Prefix of the arrays that make up the trained networks."""
Kind = Literal["weights", "predictions"]
"""The files that are kept for trials that have ended."""
KINDS: tuple[Kind, ...] = ("weights", "predictions")
IMAGES = "test-images.safetensors"


@dataclass(frozen=True)
class KeptImages:
    """The labels of a run's test images, and those of the images that its report may show.

    Shapes: N test images, M of them kept.
    """

    labels_N: NDArray[np.integer[Any]]
    numbers_M: NDArray[np.int64]
    """Which test images are kept, counted from 0, in ascending order."""
    images_MCHW: NDArray[np.uint8]


class Checkpoints:
    """The `checkpoints/` folder of a run.

    A group has the number of a trial that was in it from its start, and so in no other group.
    `group-N.safetensors` continues group N; `weights-N-STEP.safetensors` holds the weights of its trials that
    ended at a step, `predictions-N-STEP.safetensors` the classes that they predict for the test images. Every array has
    the trials of its file in front; the file's metadata lists them. IMAGES holds KeptImages. The metadata of each file
    have a checksum over everything in it.
    """

    def __init__(self, run: Path):
        self._folder = run / "checkpoints"

    def save(self, group: int, snapshot: Snapshot) -> None:
        """Write the snapshot that a group continues from."""
        write_snapshot(self._path(group), snapshot)

    def finish(self, group: int, snapshot: Snapshot) -> None:
        """Write the final weights of trials of a group and their predictions, taken from its snapshot."""
        arrays = snapshot.arrays
        weights = {name.removeprefix(WEIGHTS): array for name, array in arrays.items() if name.startswith(WEIGHTS)}
        if PREDICTIONS in arrays:
            predictions = {PREDICTIONS: arrays[PREDICTIONS]}
            self.keep(group, dataclasses.replace(snapshot, arrays=predictions), "predictions")
        self.keep(group, dataclasses.replace(snapshot, arrays=weights))

    def keep(self, group: int, kept: Snapshot, kind: Kind = "weights") -> None:
        """Write a snapshot that holds only what is kept of trials."""
        write_snapshot(self._folder / f"{kind}-{group:03}-{kept.step}.safetensors", kept)

    def keep_images(self, images: KeptImages) -> None:
        """Write what the report shows of the test images."""
        arrays = {name.partition("_")[0]: array for name, array in vars(images).items()}
        _write(self._folder / IMAGES, {}, arrays)

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

    def kept(self, kind: Kind = "weights") -> Iterator[Snapshot]:
        """Yield what is kept of trials, file by file; files that are damaged are left out."""
        for path in sorted(self._folder.glob(f"{kind}-*.safetensors")):
            if snapshot := read_snapshot(path):
                yield snapshot

    def predictions(self) -> dict[int, NDArray[np.integer[Any]]]:
        """Return the classes that trials predict for the test images, by the trials' numbers."""
        kept = ((each.trials, each.arrays.get(PREDICTIONS, ())) for each in self.kept("predictions"))
        return {trial: predicted_N for trials, rows in kept for trial, predicted_N in zip(trials, rows, strict=False)}

    @property
    def has_images(self) -> bool:
        """True if there is a file of kept images, readable or not."""
        return os.path.isfile(self._folder / IMAGES)

    def images(self) -> KeptImages | None:
        """Return what is kept of the test images; None where nothing is, or it is damaged."""
        try:
            _, arrays = _read(self._folder / IMAGES)
            return KeptImages(arrays["labels"], arrays["numbers"], arrays["images"])
        except UNREADABLE:
            return None

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
    _write(path, about, snapshot.arrays)


def read_snapshot(path: Path) -> Snapshot | None:
    """Return the snapshot in a file, or None if it is missing or damaged."""
    try:
        about, arrays = _read(path)
        trials = tuple(json.loads(about["trials"]))
        return Snapshot(trials, int(about["epoch"]), int(about["step"]), float(about["seconds"]), arrays)
    except UNREADABLE:
        return None


def _write(path: Path, about: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    sum_ = {"checksum": str(_checksum(about, arrays))}
    replace(path, save(dict(arrays), metadata={**about, **sum_}))


UNREADABLE = (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a file that is missing or damaged raises."""


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    if not os.path.isfile(path):  # reading a pipe would wait
        raise FileNotFoundError(path)
    with safe_open(path, framework="np") as file:
        about = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    if int(about.pop("checksum")) != _checksum(about, arrays):
        raise ValueError(f"{path}: changed since it was written")
    return about, arrays


def _checksum(about: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> int:
    """Return a checksum over the numbers, their shapes and types, and the metadata."""
    shapes = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    sum_ = crc32(repr((sorted(about.items()), sorted(shapes.items()))).encode())
    for _, array in sorted(arrays.items()):
        sum_ = crc32(np.ascontiguousarray(array).data, sum_)
    return sum_
