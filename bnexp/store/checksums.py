"""checksums.txt: what every row and file of a run folder holds, so that reading can say what was changed or lost.

A checksum is over a row's values, not over its bytes: a table that a spreadsheet saved again is unchanged as long as
its numbers and texts are. A line names the file, trial and step of a row, so that a row that is lost shows, too. It is
appended before the row is written: whoever reads the tables first and this file afterwards finds every good row in it.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import get_args
from zlib import crc32

from bnexp.config.experiment import ExperimentConfig
from bnexp.records import CURVE_COLUMNS, PROBE_COLUMNS, OutcomeKind
from bnexp.store.files import CHECKSUMS, CURVES, FORMAT_VERSION, LATE_PROBES, PROBES, TRIALS, check_format
from bnexp.store.tables import COLUMNS_SINCE_3, RESULT_COLUMNS, TEXT_COLUMNS, Row, trial_columns

Entry = tuple[str, int, int, int]
"""A line of checksums.txt: file, trial, step, checksum. For trials.csv the step is that of the trial's last record."""
WHOLE_FILE = (0, 0)
"""Stands for trial and step where the checksum is over a whole file."""
NO_STEP = -1
"""The step of a trial without records."""
SPELLED_BY_SPREADSHEETS = {"TRUE": "True", "FALSE": "False"}


def row_checksum(row: Row) -> int:
    """Return the checksum of a row's values: the same for 0.10 and 0.1."""
    try:
        values: list[float | str] = [float(cell) if cell else cell for cell in row]
    except ValueError:
        values = [_value(cell) for cell in row]
    return crc32(repr(values).encode())


def rows_checksum(rows: Iterable[Row]) -> int:
    """Return the checksum of rows in any order."""
    return sum(map(row_checksum, rows)) & 0xFFFFFFFF


def file_entry(name: str, content: bytes) -> Entry:
    """Return the entry for a file that isn't a table."""
    return name, *WHOLE_FILE, crc32(content)


def trial_entry(trial: int, row: Row, last_step: int) -> Entry:
    """Return the entry for a row of trials.csv."""
    return TRIALS, trial, last_step, row_checksum(row)


def step_entries(name: str, rows: Iterable[Row]) -> Iterator[Entry]:
    """Yield the entries for rows of a table that grows, which begin with trial, epoch and step."""
    for (trial, step), some in by_step(rows).items():
        yield name, trial, step, rows_checksum(some)


def by_step(rows: Iterable[Row]) -> dict[tuple[int, int], list[Row]]:
    """Return rows that begin with trial, epoch and step by trial and step."""
    found = defaultdict[tuple[int, int], list[Row]](list)
    for row in rows:
        found[int(row[0]), int(row[2])].append(row)
    return dict(found)


def checksum_lines(entries: Iterable[Entry]) -> bytes:
    """Return entries as lines of checksums.txt."""
    return b"".join(b"%b %d %d %08x\n" % (name.encode(), trial, step, sum_) for name, trial, step, sum_ in entries)


def _value(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return SPELLED_BY_SPREADSHEETS.get(cell, cell)


class ChecksumIndex:
    """checksums.txt as it is at this moment, to look up; what can't be read of it is left out."""

    def __init__(self, run: Path):
        self._sums = defaultdict[tuple[str, int], dict[int, set[int]]](lambda: defaultdict(set))
        path = run / CHECKSUMS
        for line in path.read_bytes().split(b"\n") if path.is_file() else ():
            try:
                name, trial, step, sum_ = line.decode().split(" ")
                if len(sum_) == 8:  # the rest of it may have been lost in a crash
                    self._sums[name, int(trial)][int(step)].add(int(sum_, 16))
            except ValueError:
                continue

    def __bool__(self) -> bool:
        return bool(self._sums)

    def knows(self, entry: Entry) -> bool:
        """Return whether this was written."""
        name, trial, step, sum_ = entry
        return sum_ in self.steps(name, trial).get(step, ())

    def steps(self, name: str, trial: int) -> Mapping[int, set[int]]:
        """Return the checksums of a trial in a file by step."""
        return self._sums.get((name, trial), {})


# Reading and checking


@dataclass(frozen=True)
class Fault:
    """Something in a run folder that is not as it was written."""

    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


CHANGED = "changed since it was written"
MISSING = "missing"
HEADER = "the first line is not as it was written"
UNCHECKED = Fault(CHECKSUMS, "missing or damaged, so that nothing can be checked")

Key = tuple[int, int]
"""The trial and step of a row; NO_STEP in trials.csv."""


@dataclass(frozen=True)
class Table:
    """What can be read of a table, and how it differs from what was written."""

    name: str
    rows: dict[Key, list[Row]] = field(default_factory=dict)
    changed: frozenset[Key] = frozenset()
    lost: frozenset[Key] = frozenset()
    unknown_lines: bool = False
    """Whether there are lines that don't say which row they are."""
    problem: str = ""
    """Why nothing can be read."""
    older: bool = False
    """Whether it has the columns of format 2."""
    unterminated: Key | None = None
    """The last row, if no line break follows it: its writer may have been stopped within it."""

    def fault(self) -> Fault | None:
        """Return what is wrong with it, if anything."""
        parts = [f"{CHANGED}: {_places(self.changed)}"] if self.changed else []
        parts += [f"lost since it was written: {_places(self.lost)}"] if self.lost else []
        parts += ["has lines that bnexp did not write"] if self.unknown_lines else []
        message = self.problem or "; ".join(parts)
        return Fault(self.name, message) if message else None


@dataclass(frozen=True)
class Tables:
    """The tables of a run folder at one moment."""

    trials: Table
    curves: Table
    probes: Table
    late_probes: Table
    faults: tuple[Fault, ...]

    @property
    def records(self) -> dict[int, dict[int, Row]]:
        """Rows of curves.csv by trial and step, steps in order."""
        found = defaultdict[int, dict[int, Row]](dict)
        for (trial, step), (row, *_) in sorted(self.curves.rows.items()):
            found[trial][step] = row
        return dict(found)

    def intact(self) -> tuple[dict[int, Row], dict[int, dict[int, Row]], list[Row]]:
        """Return what a run can go on from.

        Returns:
            the rows of trials.csv of trials that have ended and lack nothing, by trial; the rows of curves.csv up to
            the first that is changed or lost, by trial and step; and the rows of probes.csv that came with them.
        """
        first_fault: dict[int, float] = {}
        for table in (self.curves, self.probes):
            everything = {(trial, NO_STEP) for trial, _ in (*self.trials.rows, *self.curves.rows)}
            for trial, step in everything if table.problem else table.changed | table.lost:
                first_fault[trial] = min(step, first_fault.get(trial, inf))
        outcomes = {
            trial: row
            for (trial, _), (row, *_) in self.trials.rows.items()
            if row[-len(RESULT_COLUMNS)] and trial not in first_fault and (trial, NO_STEP) not in self.trials.changed
        }
        records = {
            trial: {step: row for step, row in rows.items() if step < first_fault.get(trial, inf)}
            for trial, rows in self.records.items()
        }
        return outcomes, records, recorded(self.probes, records)


def recorded(probes: Table, records: Mapping[int, Mapping[int, Row]]) -> list[Row]:
    """Return the rows of a table up to each trial's last record; further ones may be incomplete."""
    last = {trial: max(rows) for trial, rows in records.items() if rows}
    return [row for (trial, step), rows in probes.rows.items() if step <= last.get(trial, NO_STEP) for row in rows]


def checksum_index(run: Path) -> ChecksumIndex | None:
    """Return the checksums of a run folder; None where those of an earlier format are, which aren't read.

    Raises:
        InputError: the folder is of another format than this version reads.
        OSError: the file can't be read.
    """
    format_, index = check_format(run), ChecksumIndex(run)
    return index if index or format_ in (None, FORMAT_VERSION) else None


def check_files(run: Path, names: Sequence[str]) -> dict[str, Fault | None]:
    """Return what is wrong with files that aren't tables, if anything.

    Raises:
        InputError: the folder is of another format than this version reads.
        OSError: one can't be read.
    """
    # Checksums last: they are written first.
    contents = {name: (run / name).read_bytes() if (run / name).is_file() else None for name in names}
    index = checksum_index(run)
    found: dict[str, Fault | None] = {}
    for name, content in contents.items():
        changed = content is not None and index and not index.knows(file_entry(name, content))
        found[name] = Fault(name, MISSING if content is None else CHANGED) if changed or content is None else None
    return found


def examine(run: Path, config: ExperimentConfig) -> Tables:
    """Read the tables of a run and check every row; what is missing or damaged becomes a fault, never an error.

    Raises:
        InputError: the folder is of another format than this version reads.
        OSError: a file is there but can't be read.
    """
    planned = range(len(config.points()) * len(config.arms) * len(config.seeds))
    columns = trial_columns(config)
    # Outcomes first: the records that they rest on were written before. Checksums last: they were written first.
    trials = _read_table(run / TRIALS, columns, columns[-len(RESULT_COLUMNS) :], planned)
    curves = _read_table(run / CURVES, CURVE_COLUMNS, CURVE_COLUMNS, planned)
    probes = _read_table(run / PROBES, PROBE_COLUMNS, PROBE_COLUMNS[-1:], planned) if config.probes else Table(PROBES)
    late = _read_table(run / LATE_PROBES, PROBE_COLUMNS, PROBE_COLUMNS[-1:], planned)
    index = checksum_index(run)
    trials = replace(trials, lost=frozenset((n, NO_STEP) for n in planned) - trials.rows.keys() - trials.changed)
    if index:
        trials, until = _check_trials(trials, planned, index)
        curves = _check_steps(curves, index, until, beyond=True)
        last = dict.fromkeys(planned, NO_STEP) | dict(sorted(curves.rows))
        probes = _check_steps(probes, index, last, beyond=False)
        late = _check_steps(late, index, dict.fromkeys(planned, inf), beyond=False)
    else:
        curves = _without_unterminated(curves)
    if late.problem == MISSING and not late.lost:
        late = Table(LATE_PROBES)
    unchecked = [UNCHECKED] if index is not None and not index else []
    faults = [table.fault() for table in (trials, curves, probes, late)]
    return Tables(trials, curves, probes, late, (*unchecked, *filter(None, faults)))


def _read_table(path: Path, columns: Sequence[str], results: Sequence[str], planned: range) -> Table:
    """Read a table as far as it can be read.

    Args:
        path: the file.
        columns: that it has.
        results: the last of them, which are numbers but for TEXT_COLUMNS.
        planned: numbers of the trials.
    """
    if not path.is_file():
        return Table(path.name, problem=MISSING)
    header, *lines = path.read_bytes().decode("utf-8-sig", errors="replace").split("\n")
    names = _cells(header)
    older = names != list(columns)
    if older and names != [name for name in columns if name not in COLUMNS_SINCE_3]:
        return Table(path.name, problem=HEADER)
    rows, unreadable, unknown = defaultdict[Key, list[Row]](list), set[Key](), False
    unterminated, key = lines[-1:] not in ([], [""]), None
    for number, line in enumerate(lines, 1):
        if not (row := _cells(line)):
            continue
        if older:
            known = dict(zip(names, row, strict=False))
            row = [known.get(name, "") for name in columns]
        key = _key(row, planned, has_step="step" in columns)
        if key and len(row) == len(columns) and _readable(results, row[-len(results) :]):
            rows[key].append(row)
        elif not (unterminated and number == len(lines)):
            unknown |= key is None
            unreadable.update([key] if key else [])
    last = key if unterminated and key in rows else None
    return Table(path.name, dict(rows), frozenset(unreadable), unknown_lines=unknown, older=older, unterminated=last)


def _cells(line: str) -> list[str]:
    line = line.rstrip("\r")
    if '"' not in line:
        return line.split(",") if line else []
    try:
        return next(csv.reader([line]))
    except csv.Error:
        return [line]


def _key(row: Row, planned: range, *, has_step: bool) -> Key | None:
    if not row[0].isdecimal() or len(row[0]) > 9 or int(row[0]) not in planned:
        return None
    if not has_step:
        return int(row[0]), NO_STEP
    return (int(row[0]), int(row[2])) if len(row) > 2 and row[2].isdecimal() and len(row[2]) < 19 else None


def _readable(columns: Sequence[str], cells: Row) -> bool:
    """Return whether results are numbers, texts and known outcomes."""
    try:
        for column, cell in zip(columns, cells, strict=True):
            if cell and column not in TEXT_COLUMNS:
                float(cell)
    except ValueError:
        return False
    return columns[0] != "outcome" or cells[0] in ("", *get_args(OutcomeKind))


def _check_trials(table: Table, planned: range, index: ChecksumIndex) -> tuple[Table, dict[int, float]]:
    """Return trials.csv as checked, and the step up to which each trial has to have its records."""
    changed, until = set(table.changed), dict[int, float]()
    for trial in planned:
        sums, rows = index.steps(TRIALS, trial), table.rows.get((trial, NO_STEP), [])
        value = rows_checksum(rows)
        found = [step for step, known in sums.items() if rows and value in known]
        changed |= {(trial, NO_STEP)} if rows and not found else set()
        until[trial] = max(found or sums, default=NO_STEP)
    return replace(table, changed=frozenset(changed)), until


def _check_steps(table: Table, index: ChecksumIndex, until: Mapping[int, float], *, beyond: bool) -> Table:
    """Return a table that grows as checked.

    Args:
        table: with rows by trial and step.
        index: the checksums.
        until: the step up to which nothing of a trial may be lost.
        beyond: whether later rows are checked, too; none may be lost before them either.
    """
    rows = {key: some for key, some in table.rows.items() if beyond or key[1] <= until[key[0]]}
    good = {key for key, some in rows.items() if index.knows((table.name, *key, rows_checksum(some)))}
    if table.unterminated in rows.keys() - good:
        return _check_steps(_without_unterminated(table), index, until, beyond=beyond)
    there = rows.keys() | table.changed
    furthest = dict(until) | {trial: max(step, until[trial]) for trial, step in sorted(there)}
    written = {
        (trial, step) for trial, last in furthest.items() for step in index.steps(table.name, trial) if step <= last
    }
    return replace(table, changed=table.changed | (rows.keys() - good), lost=frozenset(written - there))


def _without_unterminated(table: Table) -> Table:
    """Return a table without the row that may be incomplete."""
    key = table.unterminated
    if key is None:
        return table
    rows = {**table.rows, key: table.rows[key][:-1]}
    return replace(table, rows={key: some for key, some in rows.items() if some}, unterminated=None)


NAMED = 5
"""Rows that a message lists."""


def _places(keys: Iterable[Key]) -> str:
    known = [f"trial {trial}" + (f" at step {step}" if step >= 0 else "") for trial, step in sorted(keys)]
    return ", ".join(known[:NAMED]) + (", …" if len(known) > NAMED else "")
