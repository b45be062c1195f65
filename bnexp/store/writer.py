"""Writing a run folder: created with every planned trial, appended at every record, closed trial by trial."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.yaml import to_yaml
from bnexp.plan import Trial
from bnexp.records import EpochRecord, Outcome, ProbeRecord
from bnexp.store.cells import Block, blocks_of, csv_text
from bnexp.store.checksums import OUTCOME, Checksums, cells_of, checksum, file_checksum, seal, trial_columns
from bnexp.store.curves import Curves
from bnexp.store.files import replace
from bnexp.store.layout import (
    CONFIG,
    ENVIRONMENT,
    FORMAT_VERSION,
    LOG,
    READ_ONLY,
    SUMMARIES,
    TRIALS,
    cannot_continue,
    check_format,
    groups_of,
)
from bnexp.store.recovery import make_run_folder, salvage
from bnexp.store.results import trial_row
from bnexp.store.reuse import TakenTrial

Groups = Sequence[Sequence[int]]
"""Numbers of the trials that train together, group by group in the order in which they train."""


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
        self._trials, self._columns = {trial.number: trial for trial in trials}, trial_columns(config)
        self._rows = {trial.number: self._line(trial_row(trial, [], None)) for trial in trials}
        self._ended: set[int] = set()
        self._environment, self._config = dict(environment), to_yaml(config.model_dump(mode="json"))
        self._checksums = Checksums(path)
        self._curves = Curves(path, self._checksums, self._place, probed=bool(config.probes))
        self._places = _places(self.groups)

    @classmethod
    def create(
        cls,
        path: Path,
        config: ExperimentConfig,
        trials: Sequence[Trial],
        environment: Mapping[str, Any],
        groups: Groups = (),
        taken: Mapping[int, TakenTrial] | None = None,
    ) -> Self:
        """Make a run folder with the configuration and the environment.

        Args:
            path: the folder.
            config: the experiment.
            trials: every planned trial.
            environment: versions, device and the like.
            groups: see regroup.
            taken: the trials that have an outcome already, by number.

        Raises:
            InputError: the folder can't be made.
        """
        make_run_folder(path)
        writer = cls(path, config, trials, {**_new(groups), **environment})
        known = taken or {}
        writer._ended = set(known)
        writer._rows |= {number: each.outcome for number, each in known.items()}
        sums = [value for each in known.values() for value in each.checksums()]
        records = {number: each.records for number, each in known.items()}
        return writer._begun(records, {number: each.blocks for number, each in known.items()}, sums)

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
        found = salvage(path, config)
        writer = cls(path, config, trials, {**(found.environment or {**_new(groups), **environment}), "ended": None})
        writer.notes = found.notes
        at = writer._columns.index("outcome")
        failed = {number for number, row in found.outcomes.items() if cells_of(row)[at] == "failed"}
        writer._ended = set(found.outcomes) - (failed if retry_failed else set())
        writer._rows |= {number: found.outcomes[number] for number in writer._ended}
        return writer._begun(found.records, found.blocks)

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
        return self._curves.reaches(trial, step)

    def go_back(self, steps: Mapping[int, int]) -> None:
        """Begin anew after the given steps of trials (-1: at the start); those that have ended are not affected.

        Records beyond stay in the file until they are made again.
        """
        for trial, step in steps.items():
            if trial not in self._ended:
                self._curves.go_back(trial, step)

    def append(self, record: EpochRecord, probes: Sequence[ProbeRecord] = ()) -> None:
        """Add a record's rows to curves.csv, but for trials that had ended before and are only trained along.

        Args:
            record: of the trials.
            probes: what was measured inside them since the record before, for probes.csv.
        """
        self._curves.append([row for row in record.rows() if row["trial"] not in self._ended], blocks_of(probes))

    def end(self, outcomes: Iterable[Outcome]) -> None:
        """Enter how trials ended, with their final numbers, into trials.csv."""
        new = {outcome.trial: outcome for outcome in outcomes if outcome.trial not in self._ended}
        sums: list[int] = []
        for number, (records, last) in self._curves.end(new).items():
            row = self._rows[number] = self._line(trial_row(self._trials[number], records, new[number]))
            sums += [checksum(row, OUTCOME), seal(row, last)]
        if new:
            self._ended.update(new)
            self._checksums.add(sums)
            self.sync()  # so that on the disk no outcome is without its records
            self._write_trials()

    def log(self, text: str) -> None:
        """Add lines to log.txt."""
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.writelines(f"{_now()} {line}\n" for line in text.splitlines())

    def sync(self) -> None:
        """Wait until all that was appended is on the disk."""
        self._curves.sync()

    def arrange(self) -> None:
        """Put the records into the order in which an undisturbed run writes them."""
        self._curves.arrange()

    def finish(self) -> None:
        """Enter the time of the end, and what the summaries look like from here on."""
        summaries = [self.path / name for name in SUMMARIES]
        self._checksums.add(file_checksum(path.name, path.read_bytes()) for path in summaries if path.exists())
        self._environment["ended"] = _now()
        self._write_environment()

    def close(self) -> None:
        """Let go of all files."""
        self._curves.close()
        self._checksums.close()

    def _place(self, trial: int) -> tuple[int, int]:
        return self._places.get(trial, (-1, trial))  # what is in no group was there before them

    def _line(self, row: Mapping[str, Any]) -> bytes:
        return csv_text(self._columns, [row], header=False).rstrip("\n").encode()

    def _begun(
        self,
        records: Mapping[int, Sequence[bytes]],
        blocks: Mapping[int, Sequence[Block]],
        sums: Iterable[int] = (),
    ) -> Self:
        """Write every file, those of the tables with what is there already."""
        try:
            self._checksums.add([*sums, *(checksum(row, OUTCOME) for row in self._rows.values())])
            self._write_environment()
            self._curves.restore(records, blocks, self.unfinished)
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
        header = csv_text(self._columns, []).encode()
        replace(self.path / TRIALS, header + b"".join(row + b"\n" for row in self._rows.values()))

    def _write(self, name: str, content: str) -> None:
        self._checksums.add([file_checksum(name, content.encode())])
        self._checksums.sync()  # so that on the disk nothing is without its checksum
        replace(self.path / name, content)


def _new(groups: Groups) -> dict[str, Any]:
    return {"format": FORMAT_VERSION, "started": _now(), "ended": None, "groups": _written(groups)}


def _written(groups: Groups) -> list[str]:
    # As words: a number on a line of its own would make a long file.
    return [" ".join(map(str, group)) for group in groups]


def _places(groups: Groups) -> dict[int, tuple[int, int]]:
    return {trial: (number, place) for number, group in enumerate(groups) for place, trial in enumerate(group)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
