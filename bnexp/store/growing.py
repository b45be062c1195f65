"""A table of a run folder that grows by the records of trials, and is rewritten where a trial begins anew."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bnexp.store.cells import csv_text
from bnexp.store.checksums import Checksums
from bnexp.store.files import Appender, replace, whole_lines

Place = Callable[[int], tuple[int, int]]
"""Gives a trial's group, by when it is trained, and the trial's place in the group."""


class GrowingTable:
    """curves.csv or probes.csv, whose rows begin with trial, epoch and step; this object alone writes it.

    Args:
        path: the file.
        columns: of the table.
        checksums: of the run folder, which are on the disk before what they stand for.
        place: sorts the rows of a step, and groups by when they are trained.
    """

    def __init__(self, path: Path, columns: Sequence[str], checksums: Checksums, place: Place):
        self._path, self._checksums, self._place = path, checksums, place
        self._header = csv_text(columns, []).encode()
        self._file: Appender | None = None

    def append(self, lines: Iterable[bytes]) -> None:
        """Add rows to the end."""
        self._file = self._file or Appender(self._path)
        self._file.append(b"".join(line + b"\n" for line in lines))

    def lines(self) -> list[bytes]:
        """Return the rows that the file has."""
        return whole_lines(self._path).split(b"\n")[1:-1]

    def write(self, lines: Iterable[bytes]) -> None:
        """Make the file hold some rows, in order; it is left alone where it does already."""
        self.close()
        content = self._header + b"".join(line + b"\n" for line in sorted(lines, key=self._moment))
        if not self._path.exists() or self._path.read_bytes() != content:
            self._checksums.sync()
            replace(self._path, content)

    @property
    def due(self) -> bool:
        """Whether it is time for a `sync`."""
        return self._file is not None and self._file.due

    def sync(self) -> None:
        """Wait until all rows are on the disk."""
        if self._file:
            self._file.sync()

    def close(self) -> None:
        """Let go of the file."""
        if self._file:
            self._file.close()
            self._file = None

    def _moment(self, line: bytes) -> tuple[int, int, int]:
        trial, _, step, _ = line.split(b",", 3)
        group, place = self._place(int(trial))
        return group, int(step), place
