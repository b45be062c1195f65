"""Reading one run folder as tables; what is not as it was written is an error that names the file."""

import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from bnexp.config.experiment import ExperimentConfig, must_choose
from bnexp.config.load import resolve
from bnexp.config.yaml import parse
from bnexp.errors import BnexpError, InputError
from bnexp.records import CURVE_COLUMNS, PROBE_COLUMNS
from bnexp.store.cells import probe_of
from bnexp.store.checksums import Known, Tables, examine, file_checksum
from bnexp.store.files import read, refusal
from bnexp.store.layout import (
    CONFIG,
    CURVES,
    ENVIRONMENT,
    LATE_PROBES,
    PICTURE,
    PROBES,
    SUMMARIES,
    TRIALS,
    check_format,
    groups_of,
)
from bnexp.store.results import trial_table

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def whole_png(content: bytes) -> bool:
    """Tell whether a PNG file is as it was written: every chunk has a length in front and a checksum behind it."""
    if not content.startswith(SIGNATURE):
        return False
    at, kind = len(SIGNATURE), b""
    while at < len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        if crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return False
        at = end + 4
    return kind == b"IEND" and at == len(content)


PAUSE = 0.1
"""Seconds after which tables that look damaged are read again: a writer may have been between two files."""


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
        with self._reading(CONFIG):
            config = resolve(parse(self._content(CONFIG).decode(), str(place)), str(place))
        if must_choose(config):
            raise InputError(f"{place}: trained before anything was chosen from tune.grid; bnexp run tunes it first")
        return config

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, device, command line, start and end."""
        with self._reading(ENVIRONMENT):
            found = json.loads(self._content(ENVIRONMENT))
            if not isinstance(found, dict):
                raise ValueError("no mapping")
            groups_of(found)
            return found

    @cached_property
    def trials(self) -> pd.DataFrame:
        """trials.csv: every planned trial; `outcome` is missing where it has not ended."""
        with self._reading(TRIALS):
            return trial_table(self._tables.trials_csv, self.config)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """curves.csv: every record of every trial so far."""
        with self._reading(CURVES):
            whole = {"trial": int, "epoch": int, "step": int}
            types = dict.fromkeys(CURVE_COLUMNS, float) | whole
            table = pd.read_csv(io.BytesIO(self._tables.curves_csv), dtype=types)
            return table.assign(lr=_as_given(table["lr"]))

    @cached_property
    def probes(self) -> pd.DataFrame:
        """probes.csv and late_probes.csv: all that was measured inside the networks; no rows where nothing was.

        What a probe found afterwards stands in for what it had found at that moment.
        """
        blocks = self._tables.blocks
        lines = [line for trial in sorted(blocks) for block in blocks[trial] for line in block]
        with self._reading(PROBES):
            taken = _probe_table(b"\n".join(lines))
        late = self.late_probes
        again = pd.MultiIndex.from_frame(_measurements(late))
        replaced = pd.MultiIndex.from_frame(_measurements(taken)).isin(again)
        return pd.concat([taken[~replaced], late], ignore_index=True)

    @cached_property
    def late_probes(self) -> pd.DataFrame:
        """late_probes.csv: what was measured on final weights."""
        if not os.path.lexists(self.path / LATE_PROBES):
            return _probe_table(b"")
        try:
            with self._reading(LATE_PROBES):
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

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Turn whatever goes wrong into an error that names the file: its writer may have been any program."""
        try:
            yield
        except BnexpError:
            raise
        except Exception as error:
            why = str(error) or type(error).__name__
            raise DamagedRunError(f"{self.path / name}: not as bnexp writes it: {why}") from error

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


def _as_given(rates: pd.Series) -> pd.Series:
    """Return learning rates as they were given: 0.1 where version 0.2 wrote 0.10000000149011612, in single precision.

    Rates in double precision stay as they are: one that equals a single-precision number is written the same in both.
    """
    with np.errstate(over="ignore"):
        singles = {rate: np.float32(rate) for rate in rates.unique()}
    return rates.map({rate: float(str(single)) if single == rate else rate for rate, single in singles.items()})


def _probe_table(rows: bytes) -> pd.DataFrame:
    text = io.BytesIO(",".join(PROBE_COLUMNS).encode() + b"\n" + rows)
    table = pd.read_csv(text, keep_default_na=False, na_values={"value": ["", "nan"]}, dtype={"layer": str})
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
