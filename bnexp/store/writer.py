"""Writing a run folder: created with every planned trial, appended at every record, closed trial by trial."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TextIO

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.reader import to_yaml
from bnexp.errors import InputError
from bnexp.plan import Trial
from bnexp.records import CURVE_COLUMNS, EpochRecord, Outcome
from bnexp.store.files import csv_text, replace, whole_lines
from bnexp.store.outcomes import TRIAL_COLUMNS, trial_row
from bnexp.store.reader import RunRecord

FORMAT_VERSION = 1


class RunWriter:
    """The one writer of a run folder.

    Args:
        path: the run folder, which exists.
        trials: every planned trial.
        swept: dotted keys of the grid columns.
    """

    def __init__(self, path: Path, trials: Sequence[Trial], swept: Sequence[str]):
        self.path = path
        self._trials, self._swept = {trial.number: trial for trial in trials}, tuple(swept)
        self._rows: dict[int, dict[str, Any]] = {t.number: trial_row(t, [], None) for t in trials}
        self._records: dict[int, list[dict[str, Any]]] = {}
        self._curves: TextIO | None = None

    @classmethod
    def create(
        cls, path: Path, config: ExperimentConfig, trials: Sequence[Trial], environment: Mapping[str, Any]
    ) -> Self:
        """Make a run folder with the configuration, the environment, and no outcomes.

        Raises:
            InputError: the folder can't be made.
        """
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{path}: can't be made a run folder ({error.strerror}); choose another with --runs"
            ) from None
        resolved = config.model_dump(mode="json")
        started = {"format": FORMAT_VERSION, **environment, "started": _now(), "ended": None}
        replace(path / "environment.json", json.dumps(started, indent=2) + "\n")
        replace(path / "curves.csv", csv_text(CURVE_COLUMNS, []))
        writer = cls(path, trials, config.swept)
        writer._write_trials()
        # Last: a folder is a run from here on.
        replace(path / "config.yaml", to_yaml(resolved))
        return writer

    @classmethod
    def reopen(cls, path: Path, config: ExperimentConfig, trials: Sequence[Trial], kept: Mapping[int, int]) -> Self:
        """Continue a run folder.

        Args:
            path: the folder.
            config: its configuration.
            trials: every planned trial.
            kept: for each unfinished trial that goes on from a checkpoint, the step it goes on from; the
                records of all other unfinished trials are dropped.
        """
        record, writer = RunRecord(path), cls(path, trials, config.swept)
        ended = set(record.trials.loc[record.trials["outcome"].notna(), "trial"])
        writer._rows |= {int(row["trial"]): row for row in _cells(path / "trials.csv") if int(row["trial"]) in ended}
        writer.rewind({**dict.fromkeys(record.unfinished, -1), **kept})
        return writer

    def rewind(self, kept: Mapping[int, int]) -> None:
        """Drop records that will be made again.

        Args:
            kept: for each trial that is affected, the last step that stays (-1: none). Trials that have
                ended are not affected.
        """
        self.close()
        last = {trial: step for trial, step in kept.items() if trial in self.unfinished}
        curves = [
            row
            for row in _cells(self.path / "curves.csv")
            if int(row["step"]) <= last.get(int(row["trial"]), sys.maxsize)
        ]
        replace(self.path / "curves.csv", csv_text(CURVE_COLUMNS, curves))
        self._records = {}
        unfinished = set(self.unfinished)
        for row in curves:
            if int(row["trial"]) in unfinished:
                numbers = {name: float(cell) if cell else None for name, cell in row.items()}
                self._records.setdefault(int(row["trial"]), []).append(numbers)

    def append(self, record: EpochRecord) -> None:
        """Add a record's rows to curves.csv."""
        rows = list(record.rows())
        if self._curves is None:
            self._curves = (self.path / "curves.csv").open("a", encoding="utf-8", newline="")
        self._curves.write(csv_text(CURVE_COLUMNS, rows, header=False))
        self._curves.flush()
        for trial, row in zip(record.trials, rows, strict=True):
            self._records.setdefault(trial, []).append(row)

    def end(self, outcomes: Iterable[Outcome]) -> None:
        """Enter how trials ended, with their final numbers, into trials.csv."""
        for outcome in outcomes:
            rows = self._records.pop(outcome.trial, [])
            self._rows[outcome.trial] = trial_row(self._trials[outcome.trial], rows, outcome)
        self._write_trials()

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the trials without an outcome."""
        return [number for number, row in self._rows.items() if not row.get("outcome")]

    def log(self, text: str) -> None:
        """Add lines to log.txt."""
        with (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.writelines(f"{_now()} {line}\n" for line in text.splitlines())

    def close(self) -> None:
        """Let go of curves.csv."""
        if self._curves is not None:
            self._curves.close()
            self._curves = None

    def finish(self) -> None:
        """Enter the time of the end."""
        environment = json.loads((self.path / "environment.json").read_text())
        replace(self.path / "environment.json", json.dumps(environment | {"ended": _now()}, indent=2) + "\n")

    def _write_trials(self) -> None:
        columns = ("trial", "arm", "seed", *self._swept, *TRIAL_COLUMNS)
        replace(self.path / "trials.csv", csv_text(columns, self._rows.values()))


def _cells(path: Path) -> list[dict[str, str]]:
    # As text, not through pandas: numbers that are written again must not change a digit.
    return list(csv.DictReader(io.StringIO(whole_lines(path).decode(), newline="")))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
