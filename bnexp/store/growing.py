"""The tables that grow while trials train, and checksums.txt, which grows with them."""

import csv
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from bnexp.records import CURVE_COLUMNS, PROBE_COLUMNS
from bnexp.store.checksums import Entry, checksum_lines
from bnexp.store.files import CHECKSUMS, CURVES, PROBES, AppendOnlyFile, replace
from bnexp.store.tables import Row, csv_text

Place = Callable[[int], tuple[int, int]]
"""Gives a trial's group, by when it is trained, and the trial's place in the group."""


class GrowingTables:
    """checksums.txt, probes.csv and curves.csv, whose only writer this is.

    They are written in this order, so that no row is without its checksum and no record without what was measured
    since the one before.

    Args:
        run: the run folder.
        place: sorts the rows of a step, and groups by when they are trained.
        probed: whether there is a probes.csv.
    """

    def __init__(self, run: Path, place: Place, *, probed: bool):
        self._run, self._place = run, place
        self._tables = {PROBES: PROBE_COLUMNS, CURVES: CURVE_COLUMNS} if probed else {CURVES: CURVE_COLUMNS}
        self._files: dict[str, AppendOnlyFile] = {}

    def begin(self, entries: Iterable[Entry]) -> None:
        """Begin checksums.txt anew with the entries of all that is kept."""
        replace(self._run / CHECKSUMS, self._lines(entries))

    def enter(self, entries: Iterable[Entry]) -> None:
        """Add entries to checksums.txt: what they stand for is about to be written."""
        self._file(CHECKSUMS).append(self._lines(entries))

    def sync_checksums(self) -> None:
        """Wait until the entries are on the disk: nothing there is to be without its checksum."""
        self._file(CHECKSUMS).sync()

    def append(self, curves: Sequence[Row], probes: Sequence[Row]) -> None:
        """Add rows, whose entries are made, to the tables."""
        for name, rows in self._named(curves, probes):
            self._file(name).append(csv_text(rows).encode())
        if self._file(CURVES).due:
            self.sync()

    def write(self, curves: Iterable[Row], probes: Iterable[Row]) -> None:
        """Make the tables hold some rows, whose entries are made, in the order in which an undisturbed run has them."""
        for name, rows in self._named(curves, probes):
            if file := self._files.pop(name, None):
                file.sync()  # no record is to reach the disk before what was measured in it
                file.close()
            content = csv_text([self._tables[name], *sorted(rows, key=self._moment)]).encode()
            if not (self._run / name).exists() or (self._run / name).read_bytes() != content:
                self.sync_checksums()
                replace(self._run / name, content)

    def replace_trials(self, trials: Collection[int], curves: Sequence[Row], probes: Sequence[Row]) -> None:
        """Put rows, whose entries are made, in the place of all that the tables have of some trials."""
        others = {name: [row for row in self._rows(name) if int(row[0]) not in trials] for name in self._tables}
        self.write([*others[CURVES], *curves], [*others.get(PROBES, ()), *probes])

    def arrange(self) -> None:
        """Put the rows into the order in which an undisturbed run has them."""
        self.write(self._rows(CURVES), self._rows(PROBES) if PROBES in self._tables else ())

    def sync(self) -> None:
        """Wait until all that was appended is on the disk."""
        for name in (CHECKSUMS, *self._tables):
            if name in self._files:
                self._files[name].sync()

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _file(self, name: str) -> AppendOnlyFile:
        if name not in self._files:
            self._files[name] = AppendOnlyFile(self._run / name)
        return self._files[name]

    def _rows(self, name: str) -> list[Row]:
        with (self._run / name).open(encoding="utf-8", newline="") as file:
            return [*csv.reader(file)][1:]

    def _lines(self, entries: Iterable[Entry]) -> bytes:
        return checksum_lines(entry for entry in entries if PROBES in self._tables or entry[0] != PROBES)

    def _named(self, curves: Iterable[Row], probes: Iterable[Row]) -> Iterator[tuple[str, Iterable[Row]]]:
        return ((name, curves if name == CURVES else probes) for name in self._tables)

    def _moment(self, row: Row) -> tuple[int, int, int]:
        group, place = self._place(int(row[0]))
        return group, int(row[2]), place
