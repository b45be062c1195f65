"""Reading one run folder as tables: what was changed or lost since it was written is named, the rest is read."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnexp.config.experiment import ExperimentConfig, must_choose
from bnexp.config.load import resolve
from bnexp.config.yaml import flow, parse
from bnexp.errors import BnexpError, InputError
from bnexp.records import CURVE_COLUMNS, PROBE_COLUMNS
from bnexp.store.checkpoints import Checkpoints, KeptImages
from bnexp.store.checksums import checksum
from bnexp.store.files import (
    CONFIG,
    ENVIRONMENT,
    FORMAT_VERSION,
    OVERRIDES,
    PICTURE,
    SUMMARIES,
    TRIALS,
    check_format,
    groups_of,
    read,
    refusal,
)
from bnexp.store.integrity import Fault, Tables, examine
from bnexp.store.tables import (
    EARLY_STOP_COLUMNS,
    EXACT,
    MISSING,
    RESULT_COLUMNS,
    TEXT_COLUMNS,
    Table,
    escape_cell,
    probe_of,
    row_values,
    to_row,
    trial_columns,
    unescape_cell,
)


class DamagedRunError(InputError):
    """A file of a run folder can't be read, or contradicts another one."""

    @property
    def refused(self) -> OSError | None:
        """The OSError that prevented reading, if any; the file itself may be intact."""
        cause = self.__cause__
        return cause if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError) else None


@dataclass(frozen=True)
class RunRecord:
    """A run folder, read as it is at this moment; a run in progress has fewer outcomes and records.

    What can be read is read; `warnings` says what was changed or lost since it was written. Properties raise
    DamagedRunError if a file is unusable, and InputError if this version doesn't read the folder's format.
    """

    path: Path

    @cached_property
    def config(self) -> ExperimentConfig:
        """The resolved configuration."""
        check_format(self.path)
        place = self.path / CONFIG
        with self._reading(CONFIG):
            try:
                config = resolve(parse(read(place).decode(), str(place)), str(place))
            except InputError as error:
                raise DamagedRunError(str(error)) from error
        if must_choose(config):
            raise InputError(f"{place}: trained before anything was chosen (tune); bnexp run tunes it first")
        return config

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, device, command line, start and end; empty where the file can't be read."""
        check_format(self.path)
        try:
            found = json.loads(read(self.path / ENVIRONMENT))
            groups_of(found)
        except (FileNotFoundError, ValueError, TypeError, AttributeError, RecursionError):
            return {}
        except OSError as error:
            raise DamagedRunError(f"{self.path / ENVIRONMENT}: {error.strerror}") from error
        return dict(found)

    @property
    def question(self) -> str:
        """The experiment's question, followed by the overrides of the run: "Question? (train.lr=0.5)"."""
        question = self.config.question
        return f"{question.strip()} ({', '.join(self.overrides)})" if question and self.overrides else question

    @property
    def overrides(self) -> list[str]:
        """The overrides in the command that began the run, "key=value" each; none in older folders."""
        kept = self.environment.get(OVERRIDES)
        return list(map(str, kept)) if isinstance(kept, list) else []

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Every planned trial in order: trial, arm, seed, grid values and results.

        `outcome` is missing where a trial has not ended, or its row can't be read.
        """
        with self._reading(TRIALS):
            return trial_frame(self._tables.trials, self.config, self.path / CONFIG)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """curves.csv: every record of every trial so far."""
        table = self._tables.curves
        frame = table.numbers
        if frame is None:
            numbers = np.array(table.values, dtype=float).reshape(-1, len(CURVE_COLUMNS))
            frame = pd.DataFrame(numbers, columns=list(CURVE_COLUMNS))
        frame = frame.astype({"trial": int, "epoch": int, "step": int})
        if table.faults:  # if a row may be there twice
            frame = frame.drop_duplicates(["trial", "step"], ignore_index=True)
        if self.environment.get("format", FORMAT_VERSION) < FORMAT_VERSION:
            frame["lr"] = _as_given(frame["lr"])
        return frame

    @cached_property
    def probes(self) -> pd.DataFrame:
        """probes.csv and late_probes.csv: all that was measured inside the networks; no rows where nothing was.

        What a probe found afterwards replaces what it had found at that moment during training.
        """
        taken, late = _probe_frame(self._tables.probes), self.late_probes
        taken = taken[taken["step"] <= taken["trial"].map(self.curves.groupby("trial")["step"].max())]
        again = pd.MultiIndex.from_frame(_measurements(late))
        replaced = pd.MultiIndex.from_frame(_measurements(taken)).isin(again)
        return pd.concat([taken[~replaced], late], ignore_index=True)

    @cached_property
    def late_probes(self) -> pd.DataFrame:
        """late_probes.csv: what was measured on final weights."""
        return _probe_frame(self._tables.late_probes)

    @cached_property
    def predictions(self) -> dict[int, np.ndarray]:
        """The classes that trials which have ended predict for the test images, by number; of those that are kept."""
        return Checkpoints(self.path).predictions()

    @cached_property
    def images(self) -> KeptImages | None:
        """What is kept of the test images; None where nothing is, or it is damaged."""
        return Checkpoints(self.path).images()

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """A line for every file that was changed or lost since it was written."""
        files = dict(self._tables.files)
        if not (files[ENVIRONMENT] or self.environment):
            files[ENVIRONMENT] = Fault(ENVIRONMENT, "not as bnexp writes it")
        return tuple(f"{self.path}/{fault}" for fault in (*self._tables.faults, *files.values()) if fault)

    @staticmethod
    def exists(path: Path) -> bool:
        """True if a folder holds a run."""
        return os.path.isfile(path / CONFIG)  # unlike Path's own, never an error

    @property
    def unfinished(self) -> set[int]:
        """Numbers of the trials without an outcome."""
        return set(self.trials.loc[self.trials["outcome"].isna(), "trial"])

    @property
    def finished(self) -> int:
        """Number of trials with an outcome."""
        return int(self.trials["outcome"].notna().sum())

    @property
    def complete(self) -> bool:
        """True if every trial has an outcome."""
        return self.finished == len(self.trials)

    def check(self) -> None:
        """Read everything.

        Raises:
            InputError: something can't be read.
        """
        _ = self.config, self.environment, self.trials, self.curves, self.warnings

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Turn whatever goes wrong into an error that names the file: its writer may have been any program."""
        try:
            yield
        except BnexpError:
            raise
        except OSError as error:
            raise DamagedRunError(f"{self.path / name}: {(error.strerror or MISSING).lower()}") from error
        except Exception as error:
            why = str(error) or type(error).__name__
            raise DamagedRunError(f"{self.path / name}: not as bnexp writes it: {why}") from error

    @cached_property
    def _tables(self) -> Tables:
        try:
            return examine(self.path, self.config, cells=False, growing=not self.environment.get("ended"))
        except OSError as error:
            raise DamagedRunError(f"{error.filename or self.path}: {error.strerror}") from error


def _as_given(rates: pd.Series) -> pd.Series:
    """Return learning rates as they were given: 0.1 where version 0.2 wrote 0.10000000149011612, in single precision.

    Rates in double precision stay as they are: one that equals a single-precision number is written the same in both.
    """
    with np.errstate(over="ignore"):
        singles = {rate: np.float32(rate) for rate in rates.unique()}
    return rates.map({rate: float(str(single)) if single == rate else rate for rate, single in singles.items()})


def trial_frame(table: Table, config: ExperimentConfig, source: str | Path = CONFIG) -> pd.DataFrame:
    """Return every planned trial with its results.

    What was planned comes from the configuration: a cell can't tell an arm named nan from a blank, or a text from a
    number. The cells have to agree; otherwise a ValueError names `source`, where the configuration comes from. Without
    `train.patience` the columns of early stopping are blank.
    """
    arms, points, seeds = zip(*config.places(), strict=True)
    planned = {"trial": range(len(arms)), "arm": arms, "seed": seeds}
    planned |= {key: [point[key] for point in points] for key in config.swept}
    results, rows = [], {int(row[0]): row for row in table.rows}
    names = trial_columns(config)[len(planned) :]
    blank = [""] * len(names)
    for number, meant in enumerate(zip(*map(to_row, planned.values()), strict=True)):
        row = rows.get(number) or [*meant, *blank]
        for name, cell, text in zip(planned, row, meant, strict=False):
            if cell != text and checksum(row_values([cell])) != checksum(row_values([text])):
                raise ValueError(f"{name} of trial {number} is {cell!r}, and {text!r} in {source}")
        results.append(row[len(planned) :])
    columns = {name: grid_column(values) for name, values in planned.items()}
    found = dict(zip(names, zip(*results, strict=True), strict=True))
    for name in (*RESULT_COLUMNS, *EARLY_STOP_COLUMNS):
        columns[name] = _result_column(name, found.get(name) or [""] * len(arms))
    return pd.DataFrame(columns)


def grid_column(values: Iterable[Any]) -> pd.Series:
    """Return values as a column: numbers where all are numbers or null, and otherwise each as it is.

    Lists and mappings become texts.
    """
    plain = [value if value is None else _hashable(value) for value in values]
    column = pd.Series(plain, dtype=object)
    numbers = [value for value in plain if isinstance(value, int | float)]
    mixed = any(isinstance(value, bool) for value in numbers) and len(set(map(type, plain))) > 1
    rounded = len({type(value) for value in plain}) > 1 and any(abs(value) > EXACT for value in numbers)
    return column if mixed or rounded else column.infer_objects()


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return flow(value)
    return str(escape_cell(value)) if isinstance(value, list | tuple) else value


def _result_column(name: str, cells: Sequence[str]) -> pd.Series:
    if name in TEXT_COLUMNS:
        return pd.Series([unescape_cell(cell) if cell else np.nan for cell in cells], dtype=object)
    return pd.Series([np.nan if not cell else int(cell) if cell.isdecimal() else float(cell) for cell in cells])


def _probe_frame(table: Table) -> pd.DataFrame:
    frame = pd.DataFrame(table.values, columns=list(PROBE_COLUMNS))
    frame[["layer", "probe"]] = [row[3:5] for row in table.rows] or None
    return frame.astype({"trial": int, "epoch": int, "step": int, "layer": str, "probe": str, "value": float})


def _measurements(table: pd.DataFrame) -> pd.DataFrame:
    """Return the measurement that each row belongs to: trial, step and probe."""
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
    """Return the run in a folder if every trial has ended, its tables are written, and nothing changed since.

    Raises:
        InputError: the folder is of another format.
    """
    run = RunRecord(path)
    try:
        ended = RunRecord.exists(path) and run.complete and run.environment.get("ended") and not run.warnings
        written = ended and all(os.path.isfile(path / name) for name in (*SUMMARIES, PICTURE))
        return run if written else None
    except DamagedRunError:
        return None
