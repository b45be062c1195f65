"""Reading one run folder as tables; what is not as it was written is an error that names the file."""

import io
import json
import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.reader import parse
from bnexp.errors import InputError
from bnexp.records import PROBE_COLUMNS
from bnexp.store.blocks import probe_of
from bnexp.store.cells import meant
from bnexp.store.checksums import Known, file_checksum
from bnexp.store.files import read, refusal
from bnexp.store.layout import CONFIG, ENVIRONMENT, LATE_PROBES, PICTURE, SUMMARIES, check_format, groups_of
from bnexp.store.pictures import whole_png
from bnexp.store.tables import Tables, examine

PAUSE = 0.1
"""Seconds after which tables that look damaged are read again: a writer may have been between two files."""

# An arm named none or a swept value "null" is a name, not a gap.
_MISSING = ["", "nan"]


class DamagedRunError(InputError):
    """Files of a run folder are missing, or not as they were written."""

    @property
    def refused(self) -> OSError | None:
        """Why the machine doesn't say what is in a file, which may be whole."""
        cause = self.__cause__
        return cause if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError) else None


@dataclass(frozen=True)
class RunRecord:
    """A run folder, read as it is at this moment; a run in progress has fewer outcomes and records.

    Every property raises DamagedRunError where its file is not as it was written, and InputError where the folder is of
    another format than this version reads.
    """

    path: Path

    @cached_property
    def config(self) -> ExperimentConfig:
        """The resolved configuration."""
        place = self.path / CONFIG
        return resolve(parse(self._content(CONFIG).decode(), str(place)), str(place))

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, device, command line, start and end."""
        found: dict[str, Any] = json.loads(self._content(ENVIRONMENT))
        return found

    @cached_property
    def trials(self) -> pd.DataFrame:
        """trials.csv: every planned trial; `outcome` is missing where it has not ended."""
        text = io.BytesIO(self._tables.trials_csv)
        table = pd.read_csv(text, keep_default_na=False, na_values=_MISSING, dtype={"arm": str})
        for name in table.columns:
            if not pd.api.types.is_numeric_dtype(table[name]):
                table[name] = table[name].map(meant)
        return table.astype({"trial": int, "outcome": object})

    @cached_property
    def curves(self) -> pd.DataFrame:
        """curves.csv: every record of every trial so far."""
        return pd.read_csv(io.BytesIO(self._tables.curves_csv)).astype({"trial": int})

    @cached_property
    def probes(self) -> pd.DataFrame:
        """probes.csv and late_probes.csv: all that was measured inside the networks; no rows where nothing was.

        What a probe found afterwards stands in for what it had found at that moment.
        """
        blocks = self._tables.blocks
        lines = [line for trial in sorted(blocks) for block in blocks[trial] for line in block]
        taken, late = _probe_table(b"\n".join(lines)), self.late_probes
        again = pd.MultiIndex.from_frame(_measurements(late))
        replaced = pd.MultiIndex.from_frame(_measurements(taken)).isin(again)
        return pd.concat([taken[~replaced], late], ignore_index=True)

    @cached_property
    def late_probes(self) -> pd.DataFrame:
        """late_probes.csv: what was measured on final weights."""
        if not os.path.lexists(self.path / LATE_PROBES):
            return _probe_table(b"")
        try:
            return _probe_table(self._content(LATE_PROBES).partition(b"\n")[2])
        except DamagedRunError as error:
            raise DamagedRunError(f"{error}; remove it and take the probes again with bnexp probe") from error.__cause__

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether a folder holds a run."""
        return os.path.isfile(path / CONFIG)  # unlike Path's own, never an error

    @property
    def unfinished(self) -> set[int]:
        """Numbers of the trials without an outcome."""
        return set(self.trials.loc[self.trials["outcome"].isna(), "trial"])

    @property
    def finished(self) -> int:
        """How many trials have an outcome."""
        return int(self.trials["outcome"].notna().sum())

    @property
    def complete(self) -> bool:
        """Whether every trial has an outcome."""
        return self.finished == len(self.trials)

    def check(self) -> None:
        """Read everything.

        Raises:
            InputError: something can't be read, or is not as it was written.
        """
        _ = self.config, self.environment, self.trials, self.curves

    @cached_property
    def _tables(self) -> Tables:
        tables = self._examined()
        if tables.faults:
            time.sleep(PAUSE)
            tables = self._examined()
        if tables.faults:
            raise DamagedRunError("; ".join(f"{self.path / fault.file}: {fault.message}" for fault in tables.faults))
        return tables

    def _examined(self) -> Tables:
        config = self.config
        try:
            return examine(self.path, config)
        except OSError as error:
            raise DamagedRunError(f"{error.filename or self.path}: {error.strerror}") from error

    def _content(self, name: str) -> bytes:
        """Return a file that is as it was written."""
        check_format(self.path)
        try:
            content = read(self.path / name)
            known = Known(self.path)
        except OSError as error:
            raise DamagedRunError(f"{self.path / name}: {(error.strerror or 'missing').lower()}") from error
        if file_checksum(name, content) not in known:
            why = "can't be checked, checksums.txt is missing" if known.missing else "not as it was written"
            raise DamagedRunError(f"{self.path / name}: {why}")
        return content


def _probe_table(rows: bytes) -> pd.DataFrame:
    text = io.BytesIO(",".join(PROBE_COLUMNS).encode() + b"\n" + rows)
    table = pd.read_csv(text, keep_default_na=False, na_values={"value": _MISSING}, dtype={"layer": str})
    return table.astype({"trial": int, "epoch": int, "step": int, "layer": str, "probe": str, "value": float})


def _measurements(table: pd.DataFrame) -> pd.DataFrame:
    """Return of each row which measurement it is from: the trial, the moment and the probe."""
    return table[["trial", "step"]].assign(probe=table["probe"].map(probe_of))


def recorded_groups(path: Path) -> list[list[int]]:
    """Return the groups in which the trials of a run are trained, by the trials' numbers; empty where that isn't known.

    Raises:
        InputError: the folder is of another format.
        BnexpError: it can't be read.
    """
    try:
        return groups_of(RunRecord(path).environment) if RunRecord.exists(path) else []
    except DamagedRunError as error:
        if error.refused:
            raise refusal(path, error.refused) from error
        return []


def finished_run(path: Path) -> RunRecord | None:
    """Return the run in a folder if every trial of it has ended and its tables are written, all as it should be.

    Raises:
        InputError: the folder is of another format.
    """
    run = RunRecord(path)
    try:
        ended = RunRecord.exists(path) and run.complete and run.environment["ended"]
        known = Known(path) if ended else None
        sound = known and all(file_checksum(name, read(path / name)) in known for name in SUMMARIES)
        return run if sound and whole_png(read(path / PICTURE)) else None
    except (DamagedRunError, OSError):
        return None
