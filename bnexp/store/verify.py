"""The tables of a run folder held against its checksums: what was changed or lost, and what can be kept."""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, nan
from pathlib import Path
from typing import Any, get_args

from bnexp.config.experiment import ExperimentConfig
from bnexp.records import CURVE_COLUMNS, PROBE_COLUMNS, OutcomeKind
from bnexp.store.checksums import (
    NO_STEP,
    ChecksumIndex,
    Entry,
    Value,
    checksum,
    file_entry,
    row_values,
    sums_by_trial,
    totals,
)
from bnexp.store.files import (
    CHECKSUMS,
    CONFIG,
    CURVES,
    ENVIRONMENT,
    FORMAT_VERSION,
    LATE_PROBES,
    LOG,
    PICTURE,
    PROBES,
    SUMMARIES,
    TRIALS,
    cannot_continue,
    check_format,
    quarantine,
    read,
)
from bnexp.store.tables import (
    COLUMNS_SINCE_3,
    EXACT,
    NUMBERS,
    RESULT_COLUMNS,
    Row,
    trial_columns,
)

CHANGED = "changed since it was written"
MISSING = "missing"
HEADER = "the first line is not as it was written"
NAMED = 5
"""Trials that a message lists."""


@dataclass(frozen=True)
class Fault:
    """Something in a run folder that is not as it was written."""

    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


UNCHECKED = Fault(CHECKSUMS, "missing or damaged, so that nothing can be checked")


@dataclass
class Table:
    """What can be read of a table, and how it differs from what was written."""

    name: str
    rows: list[Row] = field(default_factory=list)
    values: list[list[Value]] = field(default_factory=list)
    """The rows as numbers and texts."""
    faults: dict[int, int] = field(default_factory=dict)
    """The first step from which rows were changed or lost, by trial; NO_STEP in trials.csv."""
    unknown_lines: bool = False
    problem: str = ""
    """Why nothing can be read."""
    older: bool = False
    """Whether it has the columns of format 2."""
    unterminated: bool = False
    """Whether no line break follows the last row: its writer may have been stopped within it."""

    def fault(self) -> Fault | None:
        """Return what is wrong with it, if anything."""
        places = [f"trial {n}" + (f" from step {step}" if step >= 0 else "") for n, step in sorted(self.faults.items())]
        named = ", ".join(places[:NAMED]) + (", …" if len(places) > NAMED else "")
        parts = [f"changed or lost since it was written: {named}"] if places else []
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
        for row in sorted(self.curves.rows, key=lambda row: int(row[2])):
            found[int(row[0])].setdefault(int(row[2]), row)
        return dict(found)

    def intact(self) -> tuple[dict[int, Row], dict[int, dict[int, Row]], list[Row]]:
        """Return what a run can go on from.

        Returns:
            the rows of trials.csv of trials that have ended and lack nothing, by trial; the rows of curves.csv up to
            the first that is changed or lost, by trial and step; and the rows of probes.csv that came with them.
        """
        all_records, first_fault = self.records, dict[int, int]()
        for table in (self.curves, self.probes):
            everything = {int(row[0]): NO_STEP for row in (*self.trials.rows, *self.curves.rows)}
            for trial, step in (everything if table.problem else table.faults).items():
                first_fault[trial] = min(step, first_fault.get(trial, step))
        outcomes = {
            int(row[0]): row
            for row in self.trials.rows
            if row[-len(RESULT_COLUMNS)] and int(row[0]) not in first_fault.keys() | self.trials.faults.keys()
        }
        records = {
            trial: {step: row for step, row in rows.items() if step < first_fault.get(trial, inf)}
            for trial, rows in all_records.items()
        }
        last = {trial: max(rows, default=NO_STEP) for trial, rows in records.items()}
        return outcomes, records, [row for row in self.probes.rows if int(row[2]) <= last.get(int(row[0]), NO_STEP)]


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
        changed = content is not None and index and not index.knows(*file_entry(name, content))
        found[name] = Fault(name, MISSING if content is None else CHANGED) if changed or content is None else None
    return found


def examine(run: Path, config: ExperimentConfig) -> Tables:
    """Read the tables of a run and check every row; what is missing or damaged becomes a fault, never an error.

    Raises:
        InputError: the folder is of another format than this version reads.
        OSError: a file is there but can't be read.
    """
    planned = frozenset(range(len(config.points()) * len(config.arms) * len(config.seeds)))
    # Outcomes first: the records that they rest on were written before. Checksums last: they were written first.
    trials = _read_table(run / TRIALS, trial_columns(config), planned)
    curves = _read_table(run / CURVES, CURVE_COLUMNS, planned)
    probes = _read_table(run / PROBES, PROBE_COLUMNS, planned) if config.probes else Table(PROBES)
    late = _read_table(run / LATE_PROBES, PROBE_COLUMNS, planned)
    index = checksum_index(run)
    trials.faults = dict.fromkeys(planned - {int(row[0]) for row in trials.rows}, NO_STEP)
    if index:
        until = _check_trials(trials, planned, index)
        recorded = _check_curves(curves, until, index)
        if config.probes:
            _check_totals(probes, recorded, index)
        own = sums_by_trial(late.values)
        steps = {trial: {*index.steps(LATE_PROBES, trial), *own.get(trial, ())} for trial in planned}
        _check_totals(late, steps, index)
    elif curves.unterminated:
        del curves.rows[-1], curves.values[-1]
    if late.problem == MISSING and not late.faults:
        late = Table(LATE_PROBES)
    unchecked = [UNCHECKED] if index is not None and not index else []
    faults = [table.fault() for table in (trials, curves, probes, late)]
    return Tables(trials, curves, probes, late, (*unchecked, *filter(None, faults)))


def _read_table(path: Path, columns: Sequence[str], planned: Collection[int]) -> Table:
    """Read a table as far as it can be read.

    Args:
        path: the file.
        columns: that it has.
        planned: numbers of the trials.
    """
    if not path.is_file():
        return Table(path.name, problem=MISSING)
    header, *lines = path.read_bytes().decode("utf-8-sig", errors="replace").split("\n")
    names = _cells(header)
    older = names != list(columns)
    if older and names != [name for name in columns if name not in COLUMNS_SINCE_3]:
        return Table(path.name, problem=HEADER)
    table = Table(path.name, older=older, unterminated=any(map(_cells, lines[-1:])))
    places = 3 if "step" in columns else 1  # trial, epoch and step, or the trial alone
    numbers = [at for at, name in enumerate(columns) if at < places or name in NUMBERS]
    for number, line in enumerate(lines, 1):
        if not (row := _cells(line)):
            continue
        if older:
            known = dict(zip(names, row, strict=False))
            row = [known.get(name, "") for name in columns]
        values = row_values(row)
        readable = len(row) == len(columns) and (str not in map(type, values) or _readable(values, numbers))
        if readable and values[0] in planned and _whole(row[:places], values[:places]):
            table.rows.append(row)
            table.values.append(values)
        elif table.unterminated and number == len(lines):
            table.unterminated = False
        else:
            table.unknown_lines = True
    return table


def _cells(line: str) -> list[str]:
    line = line.rstrip("\r")
    if '"' not in line:
        return line.split(",") if line else []
    try:
        return next(csv.reader([line]))
    except csv.Error:
        return [line]


def _whole(cells: Row, values: Sequence[Any]) -> bool:
    return all(map(str.isdecimal, cells)) and max(values) < EXACT


def _readable(values: Sequence[Value], numbers: Iterable[int]) -> bool:
    """Return whether there are numbers where numbers belong, and outcomes that are known."""
    outcome = values[-len(RESULT_COLUMNS)] if len(values) > len(RESULT_COLUMNS) else nan
    return not any(isinstance(values[at], str) for at in numbers) and (
        isinstance(outcome, float) or outcome in get_args(OutcomeKind)
    )


def _check_trials(table: Table, planned: Iterable[int], index: ChecksumIndex) -> dict[int, int]:
    """Find the trials whose rows in trials.csv are not as they were written; return the step that each has to reach."""
    found, until = defaultdict[int, list[int]](list), dict[int, int]()
    for row, values in zip(table.rows, table.values, strict=True):
        found[int(row[0])].append(checksum(values))
    for trial in planned:
        known, sum_ = index.steps(TRIALS, trial), sum(found[trial])
        steps = [step for step in known if found[trial] and index.knows(TRIALS, trial, step, sum_)]
        until[trial] = max(steps or known, default=NO_STEP)
        if not steps:
            table.faults[trial] = NO_STEP
    return until


def _check_curves(table: Table, until: Mapping[int, int], index: ChecksumIndex) -> dict[int, Collection[int]]:
    """Find what is not as it was written in curves.csv; return the steps of every trial's records."""
    sums = sums_by_trial(table.values)
    for trial, last in until.items():
        fault = index.first_fault(CURVES, trial, totals(sums.get(trial, {}), sums.get(trial, ())), last)
        if fault is not None:
            table.faults[trial] = fault
    if table.unterminated and int(table.rows[-1][0]) in table.faults:
        del table.rows[-1], table.values[-1]
        table.faults, table.unterminated = {}, False
        return _check_curves(table, until, index)
    return {trial: steps.keys() for trial, steps in sums.items()}


def _check_totals(table: Table, recorded: Mapping[int, Collection[int]], index: ChecksumIndex) -> None:
    """Find what is not as it was written in probes.csv or late_probes.csv, up to the given steps."""
    sums = {} if table.problem else sums_by_trial(table.values)
    for trial, steps in recorded.items():
        fault = index.first_fault(table.name, trial, totals(sums.get(trial, {}), steps))
        if fault is not None:
            table.faults[trial] = fault


@dataclass(frozen=True)
class Kept:
    """Rows that a run folder begins with: those of reused trials, or what was written before."""

    outcomes: Mapping[int, Row] = field(default_factory=dict)
    """Rows of trials.csv of trials that have ended."""
    records: Mapping[int, Mapping[int, Row]] = field(default_factory=dict)
    """Rows of curves.csv by trial and step, steps in order."""
    probes: Sequence[Row] = ()
    """Rows of probes.csv."""
    late_probes: Sequence[Row] = ()
    """Rows of late_probes.csv."""
    files: Sequence[Entry] = ()
    """Entries of config.yaml and environment.json as they are until they are written again."""


def recover(path: Path, config: ExperimentConfig) -> tuple[Kept, dict[str, Any] | None, tuple[str, ...]]:
    """Return what can be kept of a run folder, and keep copies of what is damaged.

    Returns:
        the rows; environment.json if it can be read; and what was damaged, and under which name it is kept.

    Raises:
        InputError: the folder is of a format that is only read.
        OSError: a file can't be read, which may be intact, or no copy can be made.
    """
    tables = examine(path, config)
    if tables.trials.older:
        raise cannot_continue(path)
    damaged = check_files(path, (ENVIRONMENT, CONFIG))
    files = [file_entry(name, read(path / name)) for name, fault in damaged.items() if not fault]
    about = None if damaged[ENVIRONMENT] else json.loads(read(path / ENVIRONMENT))
    outcomes, records, probes = tables.intact()
    late = [row for row in tables.late_probes.rows if int(row[0]) not in tables.late_probes.faults]
    notes = [_put_aside(path, fault) for fault in (*filter(None, damaged.values()), *tables.faults)]
    names = (CHECKSUMS, LOG, *SUMMARIES, PICTURE)
    blocked = [name for name in names if os.path.lexists(path / name) and not (path / name).is_file()]
    notes += [_put_aside(path, Fault(name, "not a file")) for name in blocked]
    return Kept(outcomes, records, probes, late, files), about, tuple(notes)


def _put_aside(path: Path, fault: Fault) -> str:
    """Keep what is about to be replaced; return what there is to say."""
    place = path / fault.file
    return f"{fault} (kept as {quarantine(place).name})" if os.path.lexists(place) else str(fault)
