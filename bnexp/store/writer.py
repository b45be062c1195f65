"""Writing a run folder: created with every planned trial, appended at every record, closed trial by trial."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.yaml import to_yaml
from bnexp.plan import Trial
from bnexp.records import CURVE_COLUMNS, PROBE_COLUMNS, EpochRecord, Outcome, ProbeRecord
from bnexp.store.checksums import NO_STEP, Entry, checksum_lines, file_entry, rows_sum, table_entries, trial_entry
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
from bnexp.store.growing import GrowingTables
from bnexp.store.tables import RESULT_COLUMNS, Row, csv_text, numbers_row, to_row, trial_columns, trial_row
from bnexp.store.verify import Kept, checksum_index, recover

Groups = Sequence[Sequence[int]]
"""Numbers of the trials that train together, group by group in the order in which they train."""


@dataclass
class _Attempt:
    """What a trial that is being trained has so far."""

    records: list[Row] = field(default_factory=list)
    """Its rows of curves.csv, those that it goes on from included."""
    probes: list[Row] = field(default_factory=list)
    """Its rows of probes.csv."""
    old_until: int = NO_STEP
    """Last step recorded by the previous attempt; its rows stay in the files until this attempt reaches that step."""

    def __post_init__(self) -> None:
        self._sums = {CURVES: rows_sum(self.records), PROBES: rows_sum(self.probes)}

    def add(self, record: Row, probes: Sequence[Row]) -> list[Entry]:
        """Add a record and what was measured since the one before; return the entries for both tables."""
        self.records.append(record)
        self.probes += probes
        self._sums[CURVES] += rows_sum([record])
        self._sums[PROBES] += rows_sum(probes)
        return [(name, int(record[0]), self.last_step, sum_) for name, sum_ in self._sums.items()]

    @property
    def last_step(self) -> int:
        return int(self.records[-1][2]) if self.records else NO_STEP

    def until(self, step: int) -> "_Attempt":
        """Return the attempt that goes on from a step of this one."""
        furthest = max(self.last_step, self.old_until)
        records, probes = ([row for row in rows if int(row[2]) <= step] for rows in (self.records, self.probes))
        return _Attempt(records, probes, furthest if furthest > step else NO_STEP)


class RunWriter:
    """The one writer of a run folder.

    Args:
        path: the run folder, which exists.
        config: the experiment.
        trials: every planned trial.
        environment: what environment.json holds.
    """

    def __init__(self, path: Path, config: ExperimentConfig, trials: Sequence[Trial], environment: Mapping[str, Any]):
        self.path = path
        self.notes: tuple[str, ...] = ()
        """What was damaged in a folder that is continued."""
        self._trials = {trial.number: trial for trial in trials}
        self._columns, self._config = trial_columns(config), to_yaml(config.model_dump(mode="json"))
        self._rows = {trial.number: trial_row(trial) for trial in trials}
        self._ended: set[int] = set()
        self._attempts: dict[int, _Attempt] = {}
        self._environment = dict(environment)
        self._places = _places(self.groups)
        self._tables = GrowingTables(path, self._place, probed=bool(config.probes))

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
            path: the folder.
            config: the experiment.
            trials: every planned trial.
            environment: versions, device and the like.
            groups: see regroup.
            reused: rows of the trials that have an outcome already.

        Raises:
            InputError: the folder can't be made.
        """
        make_run_folder(path)
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
        """Continue a run folder with all of it that is as it was written; what is damaged is kept under another name.

        Args:
            path: the folder.
            config: its configuration.
            trials: every planned trial.
            environment, groups: stand in for an environment.json that is damaged.
            retry_failed: forget the outcome of trials that failed.

        Raises:
            InputError: the folder is of another format, or something else is in its place.
            OSError: it can't be read or written.
        """
        if check_format(path) == READ_ONLY:
            raise cannot_continue(path)
        make_run_folder(path)
        kept, about, notes = recover(path, config)
        about = {**(about or {**_new(groups), **environment}), "format": FORMAT_VERSION, "ended": None}
        writer = cls(path, config, trials, about)
        writer.notes = notes
        return writer._begin(kept, retry_failed=retry_failed)

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the trials without an outcome."""
        return [number for number in self._rows if number not in self._ended]

    @property
    def ended(self) -> list[int]:
        """Numbers of the trials with an outcome."""
        return [number for number in self._rows if number in self._ended]

    @property
    def groups(self) -> Groups:
        """The groups in which the trials are trained."""
        return groups_of(self._environment)

    @property
    def environment(self) -> Mapping[str, Any]:
        """What environment.json holds."""
        return self._environment

    def regroup(self, groups: Groups) -> None:
        """Enter which trials train together from now on."""
        if _written(groups) != self._environment.get("groups"):
            self._environment["groups"], self._places = _written(groups), _places(groups)
            self._write_environment()

    def reaches(self, trial: int, step: int) -> bool:
        """Whether a trial that is being trained has its record of a step."""
        return any(int(row[2]) == step for row in self._attempts[trial].records)

    def go_back(self, steps: Mapping[int, int]) -> None:
        """Begin anew after the given steps of trials (-1: at the start); those that have ended are not affected.

        Records beyond stay in the files until they are made again.
        """
        for trial, step in steps.items():
            if trial not in self._ended:
                self._attempts[trial] = self._attempts.get(trial, _Attempt()).until(step)

    def append(self, record: EpochRecord, probes: Sequence[ProbeRecord] = ()) -> None:
        """Add a record's rows to curves.csv, but for trials that had ended before and are only trained along.

        Args:
            record: of the trials.
            probes: what was measured inside them since the record before, for probes.csv.
        """
        measured: dict[int, list[Row]] = {trial: [] for trial in record.trials}
        for values in (row for each in probes for row in each.rows()):
            measured[int(values["trial"])].append(to_row(values[name] for name in PROBE_COLUMNS))
        added, caught_up, entries = list[Row](), list[int](), list[Entry]()
        for trial, numbers in zip(record.trials, record.rows(), strict=True):
            if trial not in self._ended:
                row = numbers_row(numbers[name] for name in CURVE_COLUMNS)
                attempt = self._attempts.setdefault(trial, _Attempt())
                entries += attempt.add(row, measured[trial])
                if attempt.old_until == NO_STEP:
                    added.append(row)
                elif record.step >= attempt.old_until:
                    caught_up.append(trial)
        self._tables.enter(entries)
        if added:
            self._tables.append(added, [row for each in added for row in measured[int(each[0])]])
        self._replace_old(caught_up)

    def end(self, outcomes: Iterable[Outcome]) -> None:
        """Enter how trials ended, with their final numbers, into trials.csv."""
        new = {outcome.trial: outcome for outcome in outcomes if outcome.trial not in self._ended}
        if not new:
            return
        self._replace_old(new)
        entries = []
        for number, outcome in new.items():
            attempt = self._attempts.pop(number, _Attempt())
            row = self._rows[number] = trial_row(self._trials[number], attempt.records, outcome)
            entries.append(trial_entry(number, row, attempt.last_step))
        self._ended.update(new)
        self._tables.enter(entries)
        self.sync()  # so that on the disk no outcome is without its records
        self._write_trials()

    def log(self, text: str) -> None:
        """Add lines to log.txt."""
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.writelines(f"{_now()} {line}\n" for line in text.splitlines())

    def sync(self) -> None:
        """Wait until all that was appended is on the disk."""
        self._tables.sync()

    def finish(self) -> None:
        """Enter the time of the end."""
        self._environment["ended"] = _now()
        self._write_environment()

    def arrange(self) -> None:
        """Put the records into the order in which an undisturbed run writes them."""
        self._tables.arrange()

    def close(self) -> None:
        """Let go of all files."""
        self._tables.close()

    def _place(self, trial: int) -> tuple[int, int]:
        return self._places.get(trial, (-1, trial))  # what is in no group was there before them

    def _replace_old(self, trials: Iterable[int]) -> None:
        """Put the records of trials in the place of those of the attempt before, if these are still in the files."""
        attempts = {n: at for n in trials if (at := self._attempts.get(n)) and at.old_until != NO_STEP}
        if attempts:
            records = [row for attempt in attempts.values() for row in attempt.records]
            self._tables.replace_trials(attempts, records, [row for at in attempts.values() for row in at.probes])
        for attempt in attempts.values():
            attempt.old_until = NO_STEP

    def _begin(self, kept: Kept, *, retry_failed: bool = False) -> Self:
        """Write every file, those of the tables with what is kept."""
        last = {trial: max(rows, default=NO_STEP) for trial, rows in kept.records.items()}
        entries = [*kept.files, *(trial_entry(trial, row, NO_STEP) for trial, row in self._rows.items())]
        entries += [trial_entry(trial, row, last.get(trial, NO_STEP)) for trial, row in kept.outcomes.items()]
        records = [row for rows in kept.records.values() for row in rows.values()]
        entries += table_entries(CURVES, records)
        entries += table_entries(PROBES, kept.probes, {trial: rows.keys() for trial, rows in kept.records.items()})
        entries += table_entries(LATE_PROBES, kept.late_probes)
        for trial, row in kept.outcomes.items():
            if not (retry_failed and row[-len(RESULT_COLUMNS)] == "failed"):
                self._rows[trial] = row
                self._ended.add(trial)
        for trial in self.unfinished:
            own = [row for row in kept.probes if int(row[0]) == trial]
            self._attempts[trial] = _Attempt(list(kept.records.get(trial, {}).values()), own)
        try:
            self._tables.begin(entries)
            self._write_environment()
            self._tables.write(records, kept.probes)
            if kept.late_probes:
                replace(self.path / LATE_PROBES, csv_text([PROBE_COLUMNS, *kept.late_probes]))
            self._write_trials()
            # Last: a folder is a run from here on.
            self._write(CONFIG, self._config)
        except BaseException:
            self.close()
            raise
        return self

    def _write_environment(self) -> None:
        self._write(ENVIRONMENT, json.dumps(self._environment, indent=2) + "\n")

    def _write_trials(self) -> None:
        replace(self.path / TRIALS, csv_text([self._columns, *self._rows.values()]))

    def _write(self, name: str, content: str) -> None:
        self._tables.enter([file_entry(name, content.encode())])
        self._tables.sync_checksums()
        replace(self.path / name, content)


def make_run_folder(path: Path) -> None:
    """Make the folders of a run, without what a process that was killed left in them."""
    make_folder(path / "checkpoints")
    for folder in (path, path / "checkpoints"):
        remove_leftovers(folder)


def write_late_probes(run: Path, rows: Sequence[Row]) -> Path:
    """Write late_probes.csv and return it; the caller holds the run's lock."""
    if checksum_index(run):  # else the other files would lack theirs
        checksums = AppendOnlyFile(run / CHECKSUMS)
        try:
            checksums.append(
                b"\n" + checksum_lines(table_entries(LATE_PROBES, rows))
            )  # a crash may have left half a line
            checksums.sync()
        finally:
            checksums.close()
    replace(run / LATE_PROBES, csv_text([PROBE_COLUMNS, *rows]))
    return run / LATE_PROBES


def _new(groups: Groups) -> dict[str, Any]:
    return {"format": FORMAT_VERSION, "started": _now(), "ended": None, "groups": _written(groups)}


def _written(groups: Groups) -> list[str]:
    # As words: a number on a line of its own would make a long file.
    return [" ".join(map(str, group)) for group in groups]


def _places(groups: Groups) -> dict[int, tuple[int, int]]:
    return {trial: (number, place) for number, group in enumerate(groups) for place, trial in enumerate(group)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
