"""The records of trials in training: appended as they come, those of an earlier attempt replaced once made again."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bnexp.records import CURVE_COLUMNS, PROBE_COLUMNS
from bnexp.store.cells import Block, block_checksum, csv_text, number_lines
from bnexp.store.checksums import Checksums, checksum
from bnexp.store.files import Appender, replace, whole_lines
from bnexp.store.layout import CURVES, PROBES

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


NOTHING = -1
"""The step before every record."""


@dataclass(frozen=True)
class _Row:
    step: int
    line: bytes
    numbers: Mapping[str, Any]
    block: Block
    """What was measured inside the network since the record before."""
    sum: int
    """Checksum over this and all earlier records of the trial."""


@dataclass
class _Attempt:
    """What a trial that is being trained has so far."""

    rows: list[_Row] = field(default_factory=list)
    """Its records, those that it goes on from included."""
    old_until: int = NOTHING
    """Last step that the file has of an earlier attempt, whose records stay there until this one gets as far."""

    def add(self, line: bytes, numbers: Mapping[str, Any], block: Block) -> _Row:
        """Take in a record: its row of curves.csv, and the rows of probes.csv that came with it."""
        sum_ = checksum(line, self.rows[-1].sum if self.rows else 0)
        row = _Row(int(numbers["step"]), line, numbers, block, sum_)
        self.rows.append(row)
        return row


class Curves:
    """The records of the trials that are being trained, in memory and in curves.csv and probes.csv.

    Args:
        run: the run folder.
        checksums: of that folder.
        place: sorts the records of a step, and groups by when they are trained.
        probed: whether there is a probes.csv.
    """

    def __init__(self, run: Path, checksums: Checksums, place: Place, *, probed: bool = False):
        self._checksums = checksums
        self._curves = GrowingTable(run / CURVES, CURVE_COLUMNS, checksums, place)
        self._probes = GrowingTable(run / PROBES, PROBE_COLUMNS, checksums, place) if probed else None
        self._attempts: dict[int, _Attempt] = {}

    def restore(
        self,
        lines: Mapping[int, Sequence[bytes]],
        blocks: Mapping[int, Sequence[Block]],
        training: Collection[int],
    ) -> None:
        """Make the files hold some rows and no others, and go on from those of the trials that are to be trained."""
        for trial in training:
            attempt = self._attempts[trial] = _Attempt()
            own = lines.get(trial, ())
            for line, block in zip(own, blocks.get(trial, [()] * len(own)), strict=True):
                cells = zip(CURVE_COLUMNS, line.decode().split(","), strict=True)
                attempt.add(line, {name: float(cell) if cell else None for name, cell in cells}, block)
        if self._probes:
            self._probes.write(line for some in blocks.values() for block in some for line in block)
        self._curves.write(line for some in lines.values() for line in some)

    def append(self, records: Sequence[Mapping[str, Any]], blocks: Mapping[int, Block]) -> None:
        """Add a record of each of some trials: to the files, or in place of old ones once those are caught up with."""
        added, caught_up = [], []
        for line, numbers in zip(number_lines(CURVE_COLUMNS, records), records, strict=True):
            trial = numbers["trial"]
            attempt = self._attempts.setdefault(trial, _Attempt())
            row = attempt.add(line, numbers, blocks.get(trial, ()))
            if attempt.old_until == NOTHING:
                added.append(row)
            elif row.step >= attempt.old_until:
                caught_up.append(trial)
        if added:
            self._check_in(added)
            if self._probes:
                self._probes.append(line for row in added for line in row.block)
            self._curves.append(row.line for row in added)
            if self._curves.due:
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
        for table in self._tables:
            table.write(table.lines())

    def sync(self) -> None:
        """Wait until all records are on the disk, and before them their checksums."""
        self._checksums.sync()
        for table in self._tables:
            table.sync()

    def close(self) -> None:
        """Let go of the files."""
        for table in self._tables:
            table.close()

    @property
    def _tables(self) -> list[GrowingTable]:
        # In this order: a record is there once its row of curves.csv is.
        return [self._probes, self._curves] if self._probes else [self._curves]

    def _check_in(self, rows: Sequence[_Row]) -> None:
        self._checksums.add(row.sum for row in rows)
        if self._probes:
            self._checksums.add(block_checksum(row.block, row.sum) for row in rows)

    def _replace_old(self, trials: Iterable[int]) -> None:
        changed = {trial: at.rows for trial in trials if (at := self._attempts.get(trial)) and at.old_until != NOTHING}
        if not changed:
            return
        rows = [row for rows in changed.values() for row in rows]
        self._check_in(rows)
        if self._probes:
            _replace(self._probes, changed, [line for row in rows for line in row.block])
        _replace(self._curves, changed, [row.line for row in rows])
        for trial in changed:
            self._attempts[trial].old_until = NOTHING


def _replace(table: GrowingTable, trials: Collection[int], lines: Sequence[bytes]) -> None:
    """Put rows in the place of all that a table has of some trials."""
    table.write([*(line for line in table.lines() if int(line.partition(b",")[0]) not in trials), *lines])
