"""The files of a run folder, checked against checksums.txt: what was changed or lost, and what can be kept."""

import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from bnexp.config.experiment import ExperimentConfig
from bnexp.records import CURVE_COLUMNS, PROBE_COLUMNS
from bnexp.store.checksums import MASK, ChecksumIndex, Entry, agree, checksum, checksum_index, file_entry, table_entries
from bnexp.store.files import (
    CHECKSUMS,
    CONFIG,
    CURVES,
    ENVIRONMENT,
    LATE_PROBES,
    LOG,
    PICTURE,
    PROBES,
    SUMMARIES,
    TRIALS,
    cannot_continue,
    quarantine,
    read,
)
from bnexp.store.tables import (
    MISSING,
    NO_STEP,
    RESULT_COLUMNS,
    Row,
    Table,
    read_numbers,
    read_table,
    trial_columns,
)

# Faults

CHANGED = "changed since it was written"


@dataclass(frozen=True)
class Fault:
    """Something in a run folder that was changed since it was written."""

    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


UNCHECKED = Fault(CHECKSUMS, "missing or damaged, so that nothing can be checked")


@dataclass(frozen=True)
class Kept:
    """Rows that a run folder begins with: those of reused trials, or what was written before."""

    outcomes: Mapping[int, Row] = field(default_factory=dict)
    """Rows of trials.csv of trials that have ended."""
    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """Rows of the tables that grow, by file."""
    files: Sequence[Entry] = ()
    """Entries of config.yaml and environment.json as they are until they are written again."""


@dataclass(frozen=True)
class Tables:
    """The tables of a run folder at one moment."""

    trials: Table
    curves: Table
    probes: Table
    late_probes: Table
    faults: tuple[Fault, ...]
    files: Mapping[str, Fault | None]
    """What is wrong with config.yaml and environment.json, if anything."""

    def intact(self) -> Kept:
        """Return what a run can continue from.

        Returns:
            The rows of trials that have ended and lack nothing; of curves.csv those before the first that was changed
            or lost; of probes.csv what was measured until then.
        """
        first = dict(self.curves.faults)
        for trial, step in self.probes.faults.items():
            first[trial] = min(step, first.get(trial, step))
        outcomes = {
            int(row[0]): row
            for row in self.trials.rows
            if row[-len(RESULT_COLUMNS)] and int(row[0]) not in first.keys() | self.trials.faults.keys()
        }
        records = {(int(row[0]), int(row[2])): row for row in reversed(self.curves.rows)}
        curves = [row for (trial, step), row in sorted(records.items()) if step < first.get(trial, inf)]
        last = {int(row[0]): int(row[2]) for row in curves}
        probes = [row for row in self.probes.rows if int(row[2]) <= last.get(int(row[0]), NO_STEP)]
        late = [row for row in self.late_probes.rows if int(row[0]) not in self.late_probes.faults]
        return Kept(outcomes, {CURVES: curves, PROBES: probes, LATE_PROBES: late})


def examine(run: Path, config: ExperimentConfig, *, cells: bool = True, growing: bool = False) -> Tables:
    """Read the tables of a run and check every row; what is missing or damaged becomes a fault, never an error.

    Args:
        run: the folder.
        config: its experiment.
        cells: keep the cells of curves.csv, from which a run continues. Without them, numbers that weren't changed are
            read and checked all at once, in a tenth of the time and memory.
        growing: what is later than all checksums of its trial is no fault. In the copy of a run that trains,
            checksums.txt may be older than the tables.

    Raises:
        InputError: this version doesn't read the folder's format.
        OSError: a file is there but can't be read.
    """
    planned = frozenset(range(len(config.points()) * len(config.arms) * len(config.seeds)))
    contents = {name: read(run / name) if (run / name).is_file() else None for name in (ENVIRONMENT, CONFIG)}
    # Read outcomes first: the records that they rely on were written earlier. Read checksums last: they were written
    # first.
    trials = read_table(run / TRIALS, trial_columns(config), planned)
    curves = read_table(run / CURVES, CURVE_COLUMNS, planned) if cells else Table(CURVES)
    if not cells and (run / CURVES).is_file():
        curves.numbers = read_numbers(run / CURVES, CURVE_COLUMNS, len(planned))
    probes = read_table(run / PROBES, PROBE_COLUMNS, planned) if config.probes else Table(PROBES)
    late = read_table(run / LATE_PROBES, PROBE_COLUMNS, planned)
    index = checksum_index(run)
    if late.problem == MISSING and not (index and any(index.steps(LATE_PROBES, trial) for trial in planned)):
        late = Table(LATE_PROBES)
    trials.faults = dict.fromkeys(planned - {int(row[0]) for row in trials.rows}, NO_STEP)
    until = _check_trials(trials, planned, index, growing=growing) if index else {}
    numbers = curves.numbers
    if not cells and not (index and numbers is not None and agree(numbers, CURVES, until, index)):
        return examine(run, config, growing=growing)  # row by row, to say which
    _drop_torn(curves, index)
    if index:
        recorded = _steps(curves) if config.probes or cells else {}
        reached = {trial: max(steps) for trial, steps in recorded.items()}
        if cells:
            until |= {trial: max(step, until[trial]) for trial, step in reached.items()}
            _check_rows(curves, recorded, until, index, growing=growing)
        if config.probes:
            _check_rows(probes, recorded, reached, index, growing=growing)
        _check_rows(late, _steps(late), dict.fromkeys(planned, inf), index)
    unchecked = [UNCHECKED] if index is not None and not index else []
    faults = [Fault(table.name, table.damage) for table in (trials, curves, probes, late) if table.damage]
    files = {name: _file_fault(name, content, index) for name, content in contents.items()}
    return Tables(trials, curves, probes, late, (*unchecked, *faults), files)


def _file_fault(name: str, content: bytes | None, index: ChecksumIndex | None) -> Fault | None:
    """Return what is wrong with a file that isn't a table, if anything."""
    if content is None:
        return Fault(name, MISSING)
    return Fault(name, CHANGED) if index and file_entry(name, content) not in index else None


def _steps(table: Table) -> dict[int, set[int]]:
    """Return the steps of every trial's rows."""
    found = defaultdict[int, set[int]](set)
    for values in table.values if table.numbers is None else table.numbers.to_numpy():
        found[int(values[0])].add(int(values[2]))
    return found


def _drop_torn(curves: Table, index: ChecksumIndex | None) -> None:
    """Drop a last row without a line break unless the checksums say that it is whole."""
    if curves.unterminated:
        trial, _, step = map(int, curves.rows[-1][:3])
        own = (values for values in curves.values if values[0] == trial)
        if not index or next(table_entries(CURVES, own, {trial: [step]})) not in index:
            del curves.rows[-1], curves.values[-1]


def _check_trials(table: Table, planned: Iterable[int], index: ChecksumIndex, *, growing: bool) -> dict[int, int]:
    """Find the trials whose rows in trials.csv are not as they were written; return the step that each has to reach.

    Args:
        table: in which trials that have ended since the checksums are made unfinished, if it grows.
        planned: numbers of the trials.
        index: the checksums.
        growing: see `examine`.
    """
    found, until = defaultdict[int, list[int]](list), dict[int, int]()
    for values in table.values:
        found[int(values[0])].append(checksum(values))
    for trial in planned:
        known, sum_ = index.steps(TRIALS, trial), sum(found[trial]) & MASK
        steps = [step for step in known if found[trial] and (TRIALS, trial, step, sum_) in index]
        until[trial] = max(steps or known, default=NO_STEP)
        if not steps:
            table.faults[trial] = NO_STEP
    if growing:
        later = {int(row[0]) for row in table.rows if row[-len(RESULT_COLUMNS)]} & table.faults.keys()
        later = {trial for trial in later if until[trial] == NO_STEP}
        table.rows = [row for row in table.rows if int(row[0]) not in later]
        table.faults = {trial: step for trial, step in table.faults.items() if trial not in later}
    return until


def _check_rows(
    table: Table,
    steps: Mapping[int, Collection[int]],
    until: Mapping[int, float],
    index: ChecksumIndex,
    *,
    growing: bool = False,
) -> None:
    """Find the first step of every trial whose sum is not in the checksums.

    Args:
        table: that grows.
        steps: those that must have checksums.
        until: the last step whose checksum, if there is one, has to agree.
        index: the checksums.
        growing: see `examine`.
    """
    expected = {
        trial: {*steps.get(trial, ()), *(step for step in index.steps(table.name, trial) if step <= last)}
        for trial, last in until.items()
    }
    for entry in table_entries(table.name, table.values, expected):
        _, trial, step, _ = entry
        if entry not in index and not (growing and step > max(index.steps(table.name, trial), default=NO_STEP)):
            table.faults.setdefault(trial, step)


# Repair


def recover(path: Path, config: ExperimentConfig) -> tuple[Kept, dict[str, Any] | None, tuple[str, ...]]:
    """Return what can be kept of a run folder, and keep copies of what is damaged.

    Returns:
        The rows; environment.json if it can be read; and what was damaged, and under which name it is kept.

    Raises:
        InputError: the folder is of a format that is only read.
        OSError: a file can't be read, which may be intact, or no copy can be made.
    """
    tables = examine(path, config)
    if tables.trials.older:
        raise cannot_continue(path)
    damaged = tables.files
    files = [file_entry(name, read(path / name)) for name, fault in damaged.items() if not fault]
    about = None if damaged[ENVIRONMENT] else json.loads(read(path / ENVIRONMENT))
    notes = [_put_aside(path, fault) for fault in (*filter(None, damaged.values()), *tables.faults)]
    names = (CHECKSUMS, LOG, *SUMMARIES, PICTURE)
    blocked = [name for name in names if os.path.lexists(path / name) and not (path / name).is_file()]
    notes += [_put_aside(path, Fault(name, "not a file")) for name in blocked]
    return replace(tables.intact(), files=files), about, tuple(notes)


def _put_aside(path: Path, fault: Fault) -> str:
    """Keep a copy of a damaged file before it is replaced; return the line for the log."""
    place = path / fault.file
    return f"{fault} (kept as {quarantine(place).name})" if os.path.lexists(place) else str(fault)
