"""curves.csv in training: records are appended, those of an earlier attempt replaced once they are made again."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bnexp.records import CURVE_COLUMNS
from bnexp.store.cells import csv_text
from bnexp.store.checksums import Checksums, checksum
from bnexp.store.files import Appender, replace, whole_lines
from bnexp.store.layout import CURVES

NOTHING = -1
"""The step before every record."""

Place = Callable[[int], tuple[int, int]]
"""Gives a trial's group, by when it is trained, and the trial's place in the group."""


@dataclass(frozen=True)
class _Row:
    step: int
    line: bytes
    numbers: Mapping[str, Any]
    sum: int
    """Checksum over this and all earlier records of the trial."""


@dataclass
class _Attempt:
    """What a trial that is being trained has so far."""

    rows: list[_Row] = field(default_factory=list)
    """Its records, those that it goes on from included."""
    old_until: int = NOTHING
    """Last step that the file has of an earlier attempt, whose records stay there until this one gets as far."""

    def add(self, line: bytes, numbers: Mapping[str, Any]) -> _Row:
        """Take in a record and its row of the file."""
        row = _Row(int(numbers["step"]), line, numbers, checksum(line, self.rows[-1].sum if self.rows else 0))
        self.rows.append(row)
        return row


class Curves:
    """The records of the trials that are being trained, in memory and in curves.csv, which this object alone writes.

    Args:
        run: the run folder.
        checksums: of that folder.
        place: sorts the records of a step, and groups by when they are trained.
    """

    def __init__(self, run: Path, checksums: Checksums, place: Place):
        self._path, self._checksums, self._place = run / CURVES, checksums, place
        self._file: Appender | None = None
        self._attempts: dict[int, _Attempt] = {}

    def restore(self, lines: Mapping[int, Iterable[bytes]], training: Collection[int]) -> None:
        """Make the file hold some rows and no others, and go on from those of the trials that are to be trained."""
        for trial in training:
            attempt = self._attempts[trial] = _Attempt()
            for line in lines.get(trial, ()):
                cells = zip(CURVE_COLUMNS, line.decode().split(","), strict=True)
                attempt.add(line, {name: float(cell) if cell else None for name, cell in cells})
        self._write([line for some in lines.values() for line in some])

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add a record of each of some trials: to the file, or in place of old ones once those are caught up with."""
        added, caught_up = [], []
        lines = csv_text(CURVE_COLUMNS, records, header=False).encode().split(b"\n")
        for line, numbers in zip(lines, records, strict=False):
            trial = numbers["trial"]
            attempt = self._attempts.setdefault(trial, _Attempt())
            row = attempt.add(line, numbers)
            if attempt.old_until == NOTHING:
                added.append(row)
            elif row.step >= attempt.old_until:
                caught_up.append(trial)
        if added:
            self._checksums.add(row.sum for row in added)
            self._file = self._file or Appender(self._path)
            self._file.append(b"".join(row.line + b"\n" for row in added))
            if self._file.due:
                self.sync()
        self._replace_old(caught_up)

    def go_back(self, trial: int, step: int) -> None:
        """Begin a new attempt after the record of a step; what the file has beyond it stays until it is made again."""
        attempt = self._attempts.setdefault(trial, _Attempt())
        last = attempt.rows[-1].step if attempt.rows else NOTHING
        furthest = max(last, attempt.old_until)
        attempt.rows = [row for row in attempt.rows if row.step <= step]
        attempt.old_until = furthest if furthest > step else NOTHING

    def reaches(self, trial: int, step: int) -> bool:
        """Whether a trial has its record of a step."""
        return any(row.step == step for row in self._attempts[trial].rows)

    def end(self, trials: Collection[int]) -> dict[int, tuple[list[Mapping[str, Any]], int]]:
        """Return, for trials that go no further, all their records and the checksum over them."""
        self._replace_old(trials)
        found = {trial: self._attempts.pop(trial, _Attempt()).rows for trial in trials}
        return {trial: ([row.numbers for row in rows], rows[-1].sum if rows else 0) for trial, rows in found.items()}

    def arrange(self) -> None:
        """Put the records into the order in which an undisturbed run writes them."""
        self._write(self._lines())

    def sync(self) -> None:
        """Wait until all records are on the disk, and before them their checksums."""
        self._checksums.sync()
        if self._file:
            self._file.sync()

    def close(self) -> None:
        """Let go of the file."""
        if self._file:
            self._file.close()
            self._file = None

    def _replace_old(self, trials: Iterable[int]) -> None:
        changed = {trial: at.rows for trial in trials if (at := self._attempts.get(trial)) and at.old_until != NOTHING}
        if not changed:
            return
        self._checksums.add(row.sum for rows in changed.values() for row in rows)
        kept = [line for line in self._lines() if _trial(line) not in changed]
        self._write([*kept, *(row.line for rows in changed.values() for row in rows)])
        for trial in changed:
            self._attempts[trial].old_until = NOTHING

    def _lines(self) -> list[bytes]:
        return whole_lines(self._path).split(b"\n")[1:-1]

    def _write(self, lines: Iterable[bytes]) -> None:
        """Make the file hold some rows, in order; it is left alone where it does already."""
        self.close()
        header = csv_text(CURVE_COLUMNS, []).encode()
        content = header + b"".join(line + b"\n" for line in sorted(lines, key=self._moment))
        if not self._path.exists() or self._path.read_bytes() != content:
            self._checksums.sync()
            replace(self._path, content)

    def _moment(self, line: bytes) -> tuple[int, int, int]:
        group, place = self._place(_trial(line))
        return group, int(line.split(b",", 3)[2]), place


def _trial(line: bytes) -> int:
    return int(line.partition(b",")[0])
