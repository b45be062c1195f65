"""checksums.txt: what every row and file of a run folder holds, so that reading can say what was changed or lost.

A checksum is over values, not over bytes: a table that a spreadsheet saved again is unchanged as long as its numbers
and texts are. A line for a table that grows says what the checksums of a trial's rows up to a record add up to, so
that a row that is lost shows, too. It is appended before the rows are written: whoever reads the tables first and this
file afterwards finds every good row in it.
"""

import re
import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from zlib import crc32

from bnexp.store.files import CHECKSUMS, TRIALS
from bnexp.store.tables import Row

Entry = tuple[str, int, int, int]
"""A line of checksums.txt: file, trial, step, checksum. For trials.csv the step is that of the trial's last record."""
Value = float | str
Sums = Mapping[int, int]
"""The checksums of a trial's rows in a table, added up by step."""
WHOLE_FILE = (0, 0)
"""Stands for trial and step where the checksum is over a whole file."""
MASK = 0xFFFFFFFF
"""Checksums are added up modulo 2^32."""
NO_STEP = -1
"""The step of a trial without records."""
SPELLED_BY_SPREADSHEETS = {"TRUE": "True", "FALSE": "False"}


def row_values(row: Row) -> list[Value]:
    """Return the cells of a row as numbers, blanks as NaN, and texts."""
    try:
        return [*map(float, row)]
    except ValueError:
        return [_value(cell) for cell in row]


def _value(cell: str) -> Value:
    try:
        return float(cell or "nan")
    except ValueError:
        return SPELLED_BY_SPREADSHEETS.get(cell, cell)


def checksum(values: Sequence[Value]) -> int:
    """Return the checksum of a row's values."""
    try:
        return crc32(struct.pack(f"<{len(values)}d", *values))
    except struct.error:
        return crc32(repr(values).encode())


def file_entry(name: str, content: bytes) -> Entry:
    """Return the entry for a file that isn't a table."""
    return name, *WHOLE_FILE, crc32(content)


def trial_entry(trial: int, row: Row, last_step: int) -> Entry:
    """Return the entry for a row of trials.csv."""
    return TRIALS, trial, last_step, checksum(row_values(row))


def rows_sum(rows: Iterable[Row]) -> int:
    """Return what the checksums of rows add up to."""
    return sum(checksum(row_values(row)) for row in rows)


def sums_by_trial(rows: Iterable[Sequence[Value]]) -> dict[int, dict[int, int]]:
    """Return the checksums of rows that begin with trial, epoch and step, added up by trial and step."""
    found = defaultdict[int, dict[int, int]](lambda: defaultdict(int))
    for values in rows:
        found[int(values[0])][int(values[2])] += checksum(values)
    return found


def totals(sums: Sums, steps: Iterable[int]) -> dict[int, int]:
    """Return what the checksums up to each of some steps add up to, steps in order."""
    summed = sorted(sums)
    until = [0, *accumulate(sums[step] for step in summed)]
    return {step: until[bisect_right(summed, step)] & MASK for step in sorted(steps)}


def table_entries(
    name: str, rows: Iterable[Row], recorded: Mapping[int, Collection[int]] | None = None
) -> Iterator[Entry]:
    """Yield the entries for all rows of a table that grows.

    Args:
        name: of the file.
        rows: all that it has.
        recorded: the steps of every trial's records; if not given, those of the rows.
    """
    sums = sums_by_trial(map(row_values, rows))
    for trial, steps in (sums if recorded is None else recorded).items():
        for step, total in totals(sums.get(trial, {}), steps).items():
            yield name, trial, step, total


def checksum_lines(entries: Iterable[Entry]) -> bytes:
    """Return entries as lines of checksums.txt."""
    return "".join(f"{checksum_line(*entry)}\n" for entry in entries).encode()


def checksum_line(name: str, trial: int, step: int, sum_: int) -> str:
    """Return an entry as a line of checksums.txt."""
    return f"{name} {trial} {step} {sum_ & MASK:08x}"


LINE = re.compile(r"[\w.]+ (\d+) (-?\d+) [0-9a-f]{8}", re.ASCII)
"""A whole line, with its trial and step."""


class ChecksumIndex:
    """checksums.txt as it is at this moment, to look up; what can't be read of it is left out."""

    def __init__(self, run: Path):
        path = run / CHECKSUMS
        text = path.read_bytes().decode(errors="replace") if path.is_file() else ""
        self._lines = frozenset(text.split("\n"))
        self._steps: dict[str, dict[int, set[int]]] = {}

    def __bool__(self) -> bool:
        return any(map(LINE.fullmatch, self._lines))

    def knows(self, name: str, trial: int, step: int, sum_: int) -> bool:
        """Return whether this was written."""
        return checksum_line(name, trial, step, sum_) in self._lines

    def steps(self, name: str, trial: int) -> Collection[int]:
        """Return the steps of a trial in a file of which there are checksums."""
        if name not in self._steps:
            found = [each for line in self._lines if line.startswith(name) and (each := LINE.fullmatch(line))]
            self._steps[name] = by_trial = defaultdict[int, set[int]](set)
            for each in found:
                by_trial[int(each[1])].add(int(each[2]))
        return self._steps[name].get(trial, ())

    def first_fault(self, name: str, trial: int, found: Sums, until: float = NO_STEP) -> int | None:
        """Return the first step from which a trial's rows are not as they were written, if there is any.

        Args:
            name: of the table.
            trial: the trial's number.
            found: what the checksums of its rows add up to, by step, steps in order.
            until: the step that its rows have to reach.
        """
        good = NO_STEP
        for step, total in found.items():
            if not self.knows(name, trial, step, total):
                return min((each for each in self.steps(name, trial) if good < each < step), default=step)
            good = step
        return min((each for each in self.steps(name, trial) if each > good), default=None) if good < until else None
