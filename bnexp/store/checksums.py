"""The checksums of a run folder: of the values in a row, added up by trial, and the lines of checksums.txt.

A checksum is over values, not over bytes: a table that a spreadsheet saved again is unchanged as long as its numbers
and texts are. For a table that grows, a line of checksums.txt holds the sum of the checksums of a trial's rows up to a
record, so that a lost row shows, too. It is appended before the rows are written. So a reader that reads the tables
first, and checksums.txt afterwards, finds a checksum for every good row.
"""

import re
import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from csv import QUOTE_NONE
from functools import cached_property
from io import BytesIO
from itertools import accumulate
from math import nan
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd

from bnexp.records import MEASURES, EpochRecord
from bnexp.store.files import CHECKSUMS, FORMAT_VERSION, TRIALS, check_format
from bnexp.store.tables import Row, Value, row_values

Entry = tuple[str, int, int, int]
"""A line of checksums.txt: file, trial, step, checksum. For trials.csv the step is that of the trial's last record."""
MASK = 0xFFFFFFFF
"""Checksums are added up modulo 2^32."""


def checksum(values: Sequence[Value]) -> int:
    """Return the checksum of a row's values."""
    if str in map(type, values):
        return crc32(repr(values).encode())
    return crc32(struct.pack(f"<{len(values)}d", *values))


def record_sums(record: EpochRecord) -> list[int]:
    """Return the checksums of a record's rows of curves.csv, one for each trial."""
    measures = [record.measures.get(name, nan) for name in MEASURES]
    columns = [record.trials, record.epoch, record.step, *measures, record.lr, record.seconds]
    values_KC = np.empty((len(record.trials), len(columns)), "<f8")
    for column, values in enumerate(columns):
        values_KC[:, column] = values
    values_KC[np.isnan(values_KC)] = nan  # in the form in which it is read: there are many
    return [crc32(row.data) for row in values_KC]


def rows_sum(rows: Iterable[Row]) -> int:
    """Return the sum of the checksums of rows."""
    return sum(checksum(row_values(row)) for row in rows)


def file_entry(name: str, content: bytes) -> Entry:
    """Return the entry for a file that isn't a table: trial and step are 0."""
    return name, 0, 0, crc32(content)


def trial_entry(trial: int, row: Row, last_step: int) -> Entry:
    """Return the entry for a row of trials.csv."""
    return TRIALS, trial, last_step, checksum(row_values(row))


def table_entries(
    name: str, rows: Iterable[Sequence[Value]], steps: Mapping[int, Collection[int]] | None = None
) -> Iterator[Entry]:
    """Yield the entries for a table that grows, those of a trial in the order of steps.

    Args:
        name: of the file.
        rows: the values of all its rows, which begin with trial, epoch and step.
        steps: every trial's steps to have entries for; if not given, those of its rows.
    """
    sums = defaultdict[int, dict[int, int]](lambda: defaultdict(int))
    for values in rows:
        sums[int(values[0])][int(values[2])] += checksum(values)
    for trial, wanted in (sums if steps is None else steps).items():
        own = sorted(sums.get(trial, ()))
        totals = [0, *accumulate(sums[trial][step] for step in own)]
        for step in sorted(wanted):
            yield name, trial, step, totals[bisect_right(own, step)] & MASK


def checksum_lines(entries: Iterable[Entry]) -> bytes:
    """Return entries as lines of checksums.txt."""
    return "".join(f"{name} {trial} {step} {sum_ & MASK:08x}\n" for name, trial, step, sum_ in entries).encode()


class ChecksumIndex:
    """checksums.txt as it is at this moment; lines that can't be read are left out."""

    def __init__(self, run: Path):
        path = run / CHECKSUMS
        table = _read_lines(path.read_bytes() if path.is_file() else b"")
        codes, names = pd.factorize(table["file"])
        columns = [table[name].to_numpy(dtype=np.int64) for name in ("trial", "step", "sum")]
        self._entries: dict[str, np.ndarray] = {
            name: np.stack([column[codes == code] for column in columns]) for code, name in enumerate(names)
        }

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __contains__(self, entry: Entry) -> bool:
        name, trial, step, sum_ = entry
        return sum_ in self._sums(name).get(trial, {}).get(step, ())

    def steps(self, name: str, trial: int) -> Collection[int]:
        """Return the steps of a trial in a file that there are checksums for."""
        return self._sums(name).get(trial, {})

    def entries(self, name: str) -> np.ndarray:
        """Return the trials, the steps and the checksums of the entries for a file, as three rows of whole numbers."""
        return self._entries.get(name, np.empty((3, 0), dtype=np.int64))

    def _sums(self, name: str) -> dict[int, dict[int, set[int]]]:
        """Return the checksums for a file by trial and step."""
        if name not in self._by_name:
            found = defaultdict[int, dict[int, set[int]]](lambda: defaultdict(set))
            for trial, step, sum_ in zip(*self.entries(name).tolist(), strict=True):
                found[trial][step].add(sum_)
            self._by_name[name] = {trial: dict(steps) for trial, steps in found.items()}
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, dict[int, dict[int, set[int]]]]:
        return {}


LINE = re.compile(rb"([\w.]+) (\d+) (-?\d+) ([0-9a-f]{8})")
"""A line of checksums.txt."""
NAMES = ("file", "trial", "step", "sum")
SUM = 8
"""Characters of a checksum."""


def _read_lines(content: bytes) -> pd.DataFrame:
    """Return the lines of checksums.txt as a table with the columns NAMES; broken lines are left out."""
    whole, end, rest = content.replace(b"\n\n", b"\n").rpartition(b"\n")
    try:
        table = _read_at_once(whole + end)
    except ValueError:
        table = _table(filter(None, map(LINE.fullmatch, whole.split(b"\n"))))
    last = LINE.fullmatch(rest)  # may be cut off
    return pd.concat([table, _table([last])]) if last else table


def _table(lines: Iterable[re.Match[bytes]]) -> pd.DataFrame:
    rows = [line.groups() for line in lines]
    numbers = [(name.decode(), int(trial), int(step), int(sum_, 16)) for name, trial, step, sum_ in rows]
    return pd.DataFrame(numbers, columns=list(NAMES))


def _read_at_once(content: bytes) -> pd.DataFrame:
    """Return the lines as _read_lines does, a million of them in half a second.

    Raises:
        ValueError: a line is broken.
    """
    kinds = {"file": "category", "trial": "int64", "step": "int64"}
    table = pd.read_csv(
        BytesIO(content),
        sep=" ",
        names=list(NAMES),
        usecols=list(kinds),
        dtype=kinds,
        quoting=QUOTE_NONE,
        na_filter=False,
    )
    letters = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    if len(ends) != len(table) or (letters[ends - SUM - 1] != ord(" ")).any():
        raise ValueError("a line is broken")
    eights = np.ndarray(max(0, len(content) - SUM + 1), f"V{SUM}", content, strides=(1,))  # from every letter on
    sums = np.frombuffer(bytes.fromhex(eights[ends - SUM].tobytes().decode()), ">u4")
    return table.assign(sum=sums.astype("int64"))


def checksum_index(run: Path) -> ChecksumIndex | None:
    """Return the checksums of a run folder; None for an earlier format, whose checksums aren't read.

    Raises:
        InputError: this version doesn't read the folder's format.
        OSError: the file can't be read.
    """
    format_, index = check_format(run), ChecksumIndex(run)
    return index if index or format_ in (None, FORMAT_VERSION) else None


# Many rows at once


def agree(rows: pd.DataFrame, name: str, until: Mapping[int, int], index: ChecksumIndex) -> bool:
    """Return whether the rows of a table of numbers are those that were written, none changed and none lost.

    False may also mean that only a closer look, row by row, can tell: if a record is there twice.

    Args:
        rows: their numbers, among them `trial` and `step`.
        name: of the file.
        until: for each trial, from 0 to the last one, the step up to which every checksum needs its record.
        index: the checksums.
    """
    trials, steps = (rows[column].to_numpy(dtype=np.int64) for column in ("trial", "step"))
    known_trials, known_steps, known_sums = index.entries(name)
    beyond = 1 + max(steps.max(initial=0), known_steps.max(initial=0))
    moments = trials * beyond + steps
    order = np.argsort(moments, kind="stable")
    moments = moments[order]
    if (np.diff(moments) == 0).any():
        return False
    totals = np.cumsum(checksums(rows)[order], dtype=np.uint64)
    begins = np.diff(trials[order], prepend=-1) != 0
    first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))  # place of the trial's first record
    sums = (totals - np.where(first, totals[first - 1], 0)) & MASK
    last = np.array([until[trial] for trial in range(len(until))])
    np.maximum.at(last, trials, steps)
    due = (known_trials < len(until)) & (known_steps >= 0)
    due[due] = known_steps[due] <= last[known_trials[due]]
    due_moments = (known_trials * beyond + known_steps)[due]
    place = np.searchsorted(moments, due_moments)
    there = place < len(moments)
    there[there] = moments[place[there]] == due_moments[there]
    agreeing = np.zeros(len(moments), dtype=bool)
    agreeing[place[there][sums[place[there]] == known_sums[due][there]]] = True
    return bool(there.all() and agreeing.all())


def checksums(rows: pd.DataFrame) -> np.ndarray:
    """Return the checksum of every row of numbers, as `checksum` does for one."""
    columns = [rows[name].to_numpy(dtype="<f8") for name in rows]
    found = np.empty(len(rows), dtype=np.uint32)
    for start in range(0, len(rows), CHUNK):
        values = np.stack([column[start : start + CHUNK] for column in columns], axis=1)
        texts = values.view(f"V{values.shape[1] * values.itemsize}").ravel().tolist()
        found[start : start + CHUNK] = np.fromiter(map(crc32, texts), np.uint32)
    return found


CHUNK = 2**12
"""Rows whose bytes are copied at a time: few enough to stay in the cache."""
