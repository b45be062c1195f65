"""Snapshots of trial groups as safetensors files: to continue from while training, weights to keep afterwards."""

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path

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
    ended at a step. Every array has the trials of its file in front; the file's metadata lists them.
    """

    def __init__(self, run: Path):
        self._folder = run / "checkpoints"

    def save(self, group: int, snapshot: Snapshot) -> None:
        """Keep what continues a group."""
        self._write(self._path(group), snapshot)

    def finish(self, group: int, snapshot: Snapshot) -> None:
        """Keep the final weights of trials of a group."""
        weights = {
            name.removeprefix(WEIGHTS): array for name, array in snapshot.arrays.items() if name.startswith(WEIGHTS)
        }
        name = f"weights-{group:03}-{snapshot.step}.safetensors"
        self._write(self._folder / name, dataclasses.replace(snapshot, arrays=weights))

    def drop(self, group: int) -> None:
        """Remove what would continue a group."""
        self._path(group).unlink(missing_ok=True)

    def load(self, group: int) -> Snapshot | None:
        """Return what continues a group, or None where there is nothing (readable)."""
        try:
            with safe_open(self._path(group), framework="np") as file:
                about = file.metadata()
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            return Snapshot(
                tuple(json.loads(about["trials"])),
                int(about["epoch"]),
                int(about["step"]),
                float(about["seconds"]),
                arrays,
            )
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None

    def unfinished(self, trials: Collection[int]) -> dict[int, Snapshot]:
        """Return what continues some of the trials, by group; files of no further use are removed.

        Where several files hold a trial, as when a group was being cut while the process stopped, the one
        that got furthest counts.
        """
        files = [path for path in sorted(self._folder.glob("group-*.safetensors")) if path.is_file()]
        numbers = [int(path.stem[len("group-") :]) for path in files if path.stem[len("group-") :].isdecimal()]
        found = [(number, snapshot) for number in numbers if (snapshot := self.load(number))]
        left, kept = set(trials), dict[int, Snapshot]()
        for number, snapshot in sorted(found, key=lambda pair: -pair[1].step):
            if mine := left & set(snapshot.trials):
                left -= mine
                kept[number] = snapshot.only(mine)
        for number in set(numbers) - kept.keys():
            self.drop(number)
        return kept

    def _path(self, group: int) -> Path:
        return self._folder / f"group-{group:03}.safetensors"

    def _write(self, path: Path, snapshot: Snapshot) -> None:
        about = {
            "trials": json.dumps(snapshot.trials),
            "epoch": str(snapshot.epoch),
            "step": str(snapshot.step),
            "seconds": repr(snapshot.seconds),
        }
        replace(path, save(snapshot.arrays, metadata=about))
