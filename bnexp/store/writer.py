"""Writing a run folder: created with every planned trial, appended at every record, closed trial by trial."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.source import change_sources, without_folder
from bnexp.config.yaml import to_yaml
from bnexp.plan import Trial
from bnexp.records import CURVE_COLUMNS, PROBE_COLUMNS, EpochRecord, Outcome, ProbeRecord
from bnexp.store.attempt import Attempt, step_of
from bnexp.store.checksums import (
    Entry,
    checksum_index,
    checksum_lines,
    file_entry,
    record_sums,
    rows_sum,
    table_entries,
    trial_entry,
)
from bnexp.store.files import (
    CHECKSUMS,
    CONFIG,
    CURVES,
    ENVIRONMENT,
    FORMAT_VERSION,
    LATE_PROBES,
    LOG,
    PROBES,
    READ_ONLY,
    TRIALS,
    AppendOnlyFile,
    cannot_continue,
    check_format,
    groups_of,
    make_folder,
    remove_leftovers,
    replace,
)
from bnexp.store.integrity import Kept, recover
from bnexp.store.tables import (
    NO_STEP,
    RESULT_COLUMNS,
    Row,
    csv_line,
    csv_text,
    line_cells,
    record_lines,
    row_values,
    to_row,
    trial_columns,
    trial_row,
)

Groups = Sequence[Sequence[int]]
"""Numbers of the trials that train together, group by group in the order in which they train."""
COLUMNS = {PROBES: PROBE_COLUMNS, CURVES: CURVE_COLUMNS}
"""Columns of the tables that grow, in the order in which they are written, so that no record lacks its probes."""


def _portable(config: ExperimentConfig) -> dict[str, Any]:
    """Return the settings without the folders of a network's files: the run folder has copies of them."""
    return dict(change_sources(config.model_dump(mode="json"), without_folder))


class RunWriter:
    """The one writer of a run folder.

    Lines of checksums.txt come before the rows that they stand for, and probes before the record that they belong to.

    Args:
        path: the run folder, which exists.
        config: the experiment.
        trials: every planned trial.
        environment: what environment.json holds.
    """

    def __init__(self, path: Path, config: ExperimentConfig, trials: Sequence[Trial], environment: Mapping[str, Any]):
        self.path = path
        self.notes: tuple[str, ...] = ()
        """Messages about damage in a folder that is continued."""
        self._trials = {trial.number: trial for trial in trials}
        self._columns, self._config = trial_columns(config), to_yaml(_portable(config))
        self._tables = [name for name in COLUMNS if name != PROBES or config.probes]
        self._lines = {trial.number: csv_line(trial_row(trial)) for trial in trials}  # of trials.csv
        self.ended: set[int] = set()
        """Numbers of the trials with an outcome."""
        self._attempts: dict[int, Attempt] = {}
        self.environment = dict(environment)
        """The content of environment.json."""
        self._files: dict[str, AppendOnlyFile] = {}

    @classmethod
    def create(
        cls,
        path: Path,
        config: ExperimentConfig,
        trials: Sequence[Trial],
        environment: Mapping[str, Any],
        groups: Groups = (),
        reused: Kept | None = None,
    ) -> Self:
        """Make a run folder with the configuration and the environment.

        Args:
            path, config, trials, environment: as for the writer.
            groups: see regroup.
            reused: rows of the trials that have an outcome already.

        Raises:
            InputError: the folder can't be made.
        """
        make_folder(path / "checkpoints")
        return cls(path, config, trials, {**_new(groups), **environment})._begin(reused or Kept())

    @classmethod
    def restore(
        cls,
        path: Path,
        config: ExperimentConfig,
        trials: Sequence[Trial],
        environment: Mapping[str, Any],
        groups: Groups = (),
        *,
        retry_failed: bool = False,
    ) -> Self:
        """Continue a run folder with everything that is intact; damaged files are kept under another name.

        Args:
            path, config, trials: as for the writer.
            environment, groups: replace an environment.json that is damaged.
            retry_failed: forget the outcome of trials that failed.

        Raises:
            InputError: the folder is of another format, or something else is in its place.
            OSError: it can't be read or written.
        """
        if check_format(path) == READ_ONLY:
            raise cannot_continue(path)
        make_folder(path / "checkpoints")
        kept, about, notes = recover(path, config)
        about = {**(about or {**_new(groups), **environment}), "format": FORMAT_VERSION, "ended": None}
        writer = cls(path, config, trials, about)
        writer.notes = notes
        return writer._begin(kept, retry_failed=retry_failed)

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the trials without an outcome."""
        return [number for number in self._lines if number not in self.ended]

    @property
    def groups(self) -> Groups:
        """The groups in which the trials are trained."""
        return groups_of(self.environment)

    def regroup(self, groups: Groups) -> None:
        """Record which trials train together from now on."""
        if _written(groups) != self.environment.get("groups"):
            self.environment["groups"] = _written(groups)
            self._write_environment()

    def reaches(self, trial: int, step: int) -> bool:
        """Return whether a trial that is being trained has its record of a step."""
        return self._attempts[trial].reaches(step)

    def go_back(self, steps: Mapping[int, int]) -> None:
        """Start over after the given steps of trials (-1: at the start); those that have ended are not affected.

        Records beyond stay in the files until they are made again.
        """
        for trial, step in steps.items():
            if trial not in self.ended:
                self._attempts[trial] = self._attempt(trial).until(step)

    def append(self, record: EpochRecord, probes: Sequence[ProbeRecord] = ()) -> None:
        """Add a record's rows to curves.csv, except those of trials that had ended before and only train in its group.

        Args:
            record: of the trials.
            probes: what was measured inside them since the record before, for probes.csv.
        """
        measured = defaultdict[int, list[Row]](list)
        for values in (row for each in probes for row in each.rows()):
            measured[int(values["trial"])].append(to_row(values[name] for name in PROBE_COLUMNS))
        added, caught_up, entries = defaultdict[str, list[str]](list), list[int](), list[Entry]()
        for trial, line, sum_ in zip(record.trials, record_lines(record), record_sums(record), strict=True):
            if trial in self.ended:
                continue
            new: dict[str, tuple[Sequence[str], int]] = {CURVES: ([line], sum_)}
            if PROBES in self._tables:
                new[PROBES] = [*map(csv_line, measured[trial])], rows_sum(measured[trial])
            attempt = self._attempts[trial] = self._attempt(trial)
            entries += attempt.add(trial, record.step, new)
            if attempt.old_until == NO_STEP:
                for name, (lines, _) in new.items():
                    added[name] += lines
            elif record.step >= attempt.old_until:
                caught_up.append(trial)
        self._enter(entries)
        for name in self._tables:
            if added[name]:
                self._file(name).append(_text(added[name]).encode())
        if added[CURVES] and self._file(CURVES).due:
            self.sync()
        self._replace_old(caught_up)

    def end(self, outcomes: Iterable[Outcome]) -> None:
        """Write outcomes and final numbers of trials into trials.csv."""
        new = {outcome.trial: outcome for outcome in outcomes if outcome.trial not in self.ended}
        if not new:
            return
        self._replace_old(new)
        entries = []
        for number, outcome in new.items():
            attempt = self._attempt(number)
            self._attempts.pop(number, None)
            row = trial_row(self._trials[number], [*map(line_cells, attempt.lines[CURVES])], outcome)
            self._lines[number] = csv_line(row)
            entries.append(trial_entry(number, row, attempt.last_step))
        self.ended.update(new)
        self._enter(entries)
        self.sync()  # so that no outcome is on the disk without its records
        self._write_trials()

    def log(self, text: str) -> None:
        """Add lines to log.txt."""
        with (self.path / LOG).open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{_now()} {line}\n" for line in text.splitlines())

    def sync(self) -> None:
        """Wait until all that was appended is on the disk."""
        for name in (CHECKSUMS, *self._tables):
            if name in self._files:
                self._files[name].sync()

    def finish(self) -> None:
        """Record the time of the end."""
        self.environment["ended"] = _now()
        self._write_environment()

    def arrange(self) -> None:
        """Sort the records into the order in which an undisturbed run writes them."""
        self._write_tables({name: self._read_rows(name) for name in self._tables})

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _attempt(self, trial: int) -> Attempt:
        return self._attempts.get(trial) or Attempt({name: [] for name in self._tables})

    def _replace_old(self, trials: Iterable[int]) -> None:
        """Replace the records of the previous attempt with the new ones, if the old ones are still in the files."""
        attempts = {n: at for n in trials if (at := self._attempts.get(n)) and at.old_until != NO_STEP}
        if not attempts:
            return
        tables = {}
        for name in self._tables:
            tables[name] = [row for row in self._read_rows(name) if int(row[0]) not in attempts]
            tables[name] += [line_cells(line) for attempt in attempts.values() for line in attempt.lines[name]]
        self._write_tables(tables)
        for attempt in attempts.values():
            attempt.old_until = NO_STEP

    def _begin(self, kept: Kept, *, retry_failed: bool = False) -> Self:
        """Write every file, those of the tables with what is kept."""
        rows = {name: kept.rows.get(name, ()) for name in (*self._tables, LATE_PROBES)}
        own: dict[int, dict[str, list[str]]] = {trial: {name: [] for name in self._tables} for trial in self._lines}
        for name in self._tables:
            for row in rows[name]:
                own[int(row[0])][name].append(csv_line(row))
        steps = {trial: set(map(step_of, each[CURVES])) for trial, each in own.items()}
        entries = [*kept.files, *(trial_entry(n, line_cells(line), NO_STEP) for n, line in self._lines.items())]
        entries += [trial_entry(n, row, max(steps.get(n, ()), default=NO_STEP)) for n, row in kept.outcomes.items()]
        for name, kept_rows in rows.items():
            entries += table_entries(name, map(row_values, kept_rows), None if name == LATE_PROBES else steps)
        for trial, row in kept.outcomes.items():
            if not (retry_failed and row[-len(RESULT_COLUMNS)] == "failed"):
                self._lines[trial] = csv_line(row)
                self.ended.add(trial)
        self._attempts = {trial: Attempt(own[trial]) for trial in self.unfinished}
        remove_leftovers(self.path)
        try:
            replace(self.path / CHECKSUMS, checksum_lines(entries))
            self._write_environment()
            self._write_tables(rows)
            if rows[LATE_PROBES]:
                replace(self.path / LATE_PROBES, csv_text([PROBE_COLUMNS, *rows[LATE_PROBES]]))
            self._write_trials()
            # Last, since it makes the folder a run.
            self._write(CONFIG, self._config)
        except BaseException:
            self.close()
            raise
        return self

    def _file(self, name: str) -> AppendOnlyFile:
        if name not in self._files:
            self._files[name] = AppendOnlyFile(self.path / name)
        return self._files[name]

    def _enter(self, entries: Iterable[Entry]) -> None:
        """Add entries to checksums.txt, before the rows or files that they stand for are written."""
        self._file(CHECKSUMS).append(checksum_lines(entries))

    def _read_rows(self, name: str) -> list[Row]:
        with (self.path / name).open(encoding="utf-8", newline="") as file:
            return [*csv.reader(file)][1:]

    def _write_tables(self, tables: Mapping[str, Iterable[Row]]) -> None:
        """Fill the tables with rows whose checksums exist, in the order in which an undisturbed run has them."""
        places = {n: (number, place) for number, group in enumerate(self.groups) for place, n in enumerate(group)}

        def moment(row: Row) -> tuple[int, int, int]:
            trial = int(row[0])
            group, place = places.get(trial, (-1, trial))  # trials without a group came before the groups
            return group, int(row[2]), place

        for name in self._tables:
            if name in self._files:
                self._files[name].sync()  # no record may reach the disk before its probes
                self._files.pop(name).close()
            content = csv_text([COLUMNS[name], *sorted(tables[name], key=moment)]).encode()
            if not (self.path / name).exists() or (self.path / name).read_bytes() != content:
                self._file(CHECKSUMS).sync()  # nothing may be on the disk without its checksum
                replace(self.path / name, content)

    def _write_environment(self) -> None:
        self._write(ENVIRONMENT, json.dumps(self.environment, indent=2) + "\n")

    def _write_trials(self) -> None:
        replace(self.path / TRIALS, _text([csv_line(self._columns), *self._lines.values()]))

    def _write(self, name: str, content: str) -> None:
        self._enter([file_entry(name, content.encode())])
        self._file(CHECKSUMS).sync()
        replace(self.path / name, content)


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def write_late_probes(run: Path, rows: Sequence[Row]) -> Path:
    """Write late_probes.csv and return it; the caller holds the run's lock."""
    if checksum_index(run):  # otherwise the other files would lack their checksums
        with closing(AppendOnlyFile(run / CHECKSUMS)) as checksums:
            # A crash may have left half a line.
            checksums.append(b"\n" + checksum_lines(table_entries(LATE_PROBES, map(row_values, rows))))
            checksums.sync()
    replace(run / LATE_PROBES, csv_text([PROBE_COLUMNS, *rows]))
    return run / LATE_PROBES


def _new(groups: Groups) -> dict[str, Any]:
    return {"format": FORMAT_VERSION, "started": _now(), "ended": None, "groups": _written(groups)}


def _written(groups: Groups) -> list[str]:
    # As words: a number on a line of its own would make a long file.
    return [" ".join(map(str, group)) for group in groups]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
