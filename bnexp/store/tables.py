"""The tables in a run folder: their columns, how values become cells, and reading as much of a table as possible."""

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import nan
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from pydantic_core import to_json

from bnexp.config.experiment import ExperimentConfig
from bnexp.plan import Trial
from bnexp.records import CURVE_COLUMNS, MEASURES, EpochRecord, Outcome, OutcomeKind

Row = Sequence[str]
"""The cells of a row as text."""

RESULT_COLUMNS = (
    "outcome",
    "diverged_step",
    "highest_batch_loss",
    "highest_batch_loss_step",
    "reason",
    "final_train_loss",
    "final_train_accuracy",
    "final_val_accuracy",
    "final_test_accuracy",
    "best_val_accuracy",
    "test_accuracy_at_best_val",
    "seconds",
)
"""Columns of trials.csv after the trial, arm, seed and grid columns."""
EARLY_STOP_COLUMNS = ("early_stop_step", "val_accuracy_at_early_stop", "test_accuracy_at_early_stop")
"""Columns of trials.csv before these, where `train.patience` is set."""
COLUMNS_SINCE_3 = ("highest_batch_loss", "highest_batch_loss_step")
"""Result columns that folders of format 2 don't have."""
TEXT_COLUMNS = ("outcome", "reason")
"""Result columns that aren't numbers."""
NUMBERS = {*CURVE_COLUMNS, "value", *EARLY_STOP_COLUMNS, *RESULT_COLUMNS} - {*TEXT_COLUMNS}
"""Columns of all tables that are numbers."""
EXACT = 2**53
"""Whole numbers up to this are floats without loss."""

# Writing

IN_TWO_WAYS = ("e", "0.0000", "n", "N", "I")
"""Parts of numbers that JSON and Python write differently: exponents, small numbers, null, NaN and Infinity."""
RUN_BY_SPREADSHEETS = ("=", "+", "-", "@")
"""A text that begins with one of these is a formula to a spreadsheet."""


def escape_cell(value: Any) -> Any:
    """Return what is written for a value: a list as words, a text on one line with a `'` before a formula."""
    if isinstance(value, list | tuple):
        # One spelling of a swept list, whatever quotes Python would print it with.
        value = " ".join(map(str, value))
    if not isinstance(value, str):
        return value
    line = "".join(letter if letter.isprintable() else " " for letter in value)
    return f"'{line}" if _is_formula(line) else line


def unescape_cell(written: str) -> str:
    """Return the text that `escape_cell` made safe."""
    return written[1:] if written.startswith("'") and _is_formula(written) else written


def _is_formula(text: str) -> bool:
    return text.lstrip("'").startswith(RUN_BY_SPREADSHEETS)  # escaped text is escaped once more


def to_row(values: Iterable[Any]) -> Row:
    """Return values as cells: blank for None, numbers with every digit that matters, text escaped."""
    return ["" if value is None else str(escape_cell(value)) for value in values]


def number_texts(values: Sequence[float | None]) -> list[str]:
    """Return numbers as cells, like `to_row`, but many times as fast.

    Pydantic's JSON has the same digits of floats as Python; only exponents and non-finite numbers are written
    differently.
    """
    text = to_json(values)[1:-1].decode()
    cells = text.split(",") if text else []
    if not _differs(text):
        return cells
    return [
        ("" if value is None else repr(float(value))) if _differs(cell) else cell
        for cell, value in zip(cells, values, strict=True)
    ]


def _differs(text: str) -> bool:
    return any(part in text for part in IN_TWO_WAYS)


def record_lines(record: EpochRecord) -> list[str]:
    """Return a record's rows of curves.csv as lines, one for each trial, without the line breaks."""
    blank = [""] * len(record.trials)
    measures = [number_texts(record.measures[name]) if name in record.measures else blank for name in MEASURES]
    columns = zip(record.trials, *measures, number_texts(record.lr), strict=True)
    place, (seconds,) = f"{record.epoch},{record.step}", number_texts([record.seconds])
    return [f"{trial},{place},{','.join(cells)},{seconds}" for trial, *cells in columns]


def csv_line(cells: Row) -> str:
    """Return a row as a CSV line without its line break, cells quoted where needed."""
    line = ",".join(cells)
    simple = '"' not in line and line.count(",") == len(cells) - 1
    return line if simple and line.isprintable() else csv_text([cells]).removesuffix("\n")


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows as CSV lines, cells quoted where needed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def trial_columns(config: ExperimentConfig) -> tuple[str, ...]:
    """Return the columns of trials.csv."""
    early = EARLY_STOP_COLUMNS if config.train.patience else ()
    return ("trial", "arm", "seed", *config.swept, *early, *RESULT_COLUMNS)


def probe_of(name: str) -> str:
    """Return the probe that a value is of, from what the column `probe` says."""
    return name.partition(".")[0].partition("[")[0]


FINAL = ("train_loss", "train_accuracy", "val_accuracy", "test_accuracy")
"""Measures of a trial's last record that its row of trials.csv repeats."""
VALIDATION = CURVE_COLUMNS.index("val_accuracy")


def trial_row(trial: Trial, records: Sequence[Row] = (), outcome: Outcome | None = None) -> Row:
    """Return a row of trials.csv: settings, early stop, outcome (blank while training), final and best numbers.

    The best validation accuracy is the first of equal ones; the test accuracy beside it is of that
    record, so the test set chooses nothing.

    Args:
        trial: whose row it is.
        records: its rows of curves.csv.
        outcome: how it ended.
    """
    results = dict.fromkeys(RESULT_COLUMNS, "")
    if outcome:
        names = ("diverged_step", *COLUMNS_SINCE_3, "reason")
        results |= dict(
            zip(("outcome", *names), to_row([outcome.kind, *(getattr(outcome, n) for n in names)]), strict=True)
        )
    if outcome and records:
        best, last = (
            dict(zip(CURVE_COLUMNS, record, strict=True))
            for record in (max(records, key=lambda record: float(record[VALIDATION] or 0)), records[-1])
        )
        results |= {f"final_{name}": last[name] for name in FINAL} | {"seconds": last["seconds"]}
        if best["val_accuracy"]:
            results |= {"best_val_accuracy": best["val_accuracy"], "test_accuracy_at_best_val": best["test_accuracy"]}
    return trial_row_of(trial, records if outcome else (), list(results.values()))


def trial_row_of(trial: Trial, records: Sequence[Row], results: Row) -> Row:
    """Return the row of trials.csv with these cells of RESULT_COLUMNS; see trial_row.

    Args:
        trial: whose row it is.
        records: its rows of curves.csv; none while it trains.
        results: how it ended, and its final and best numbers.
    """
    patience = trial.settings.train.patience
    early = early_stop(records, patience) if patience else []
    return [*to_row([trial.number, trial.arm, trial.seed, *trial.point.values()]), *early, *results]


def early_stop(records: Sequence[Row], patience: int) -> Row:
    """Return the cells of EARLY_STOP_COLUMNS: where a trial would have been stopped, and how good it was by then.

    It is stopped at the first record by which `patience` records in a row have brought no higher validation accuracy,
    else at its last one. The accuracies are those of the first record with the highest validation accuracy until then,
    to which early stopping goes back (Prechelt 1998, "Early stopping - but when?").

    Args:
        records: the rows of curves.csv of a trial in their order; none leave the cells blank.
        patience: train.patience.
    """
    curve = [dict(zip(CURVE_COLUMNS, record, strict=True)) for record in records]
    best = last = 0
    for last, record in enumerate(curve):
        if float(record["val_accuracy"]) > float(curve[best]["val_accuracy"]):
            best = last
        if last - best == patience:
            break
    if not curve:
        return [""] * len(EARLY_STOP_COLUMNS)
    return [curve[last]["step"], curve[best]["val_accuracy"], curve[best]["test_accuracy"]]


# Reading

Value = float | str
SPELLED_BY_SPREADSHEETS = {"TRUE": "True", "FALSE": "False"}
NO_STEP = -1
"""The step of a trial without records."""
MISSING, HEADER = "missing", "the first line is not as it was written"
NAMED = 5
"""The most trials that a message lists."""


def row_values(row: Row) -> list[Value]:
    """Return the cells of a row as numbers, blanks as NaN, and texts."""
    try:
        return [*map(float, row)]
    except ValueError:
        return [_value(cell) for cell in row]


@lru_cache(maxsize=2**14)  # arms, seeds, settings and outcomes come again and again
def _value(cell: str) -> Value:
    try:
        return float(cell or "nan")
    except ValueError:
        return SPELLED_BY_SPREADSHEETS.get(cell, cell)


@dataclass
class Table:
    """The readable part of a table, and how it differs from the table as written."""

    name: str
    rows: list[Row] = field(default_factory=list)
    values: list[list[Value]] = field(default_factory=list)
    """The rows as numbers and texts."""
    numbers: pd.DataFrame | None = None
    """The rows in place of `rows` and `values`, where `read_numbers` has read them."""
    faults: dict[int, int] = field(default_factory=dict)
    """The first step from which rows were changed or lost, by trial; NO_STEP for all of them."""
    unknown_lines: bool = False
    problem: str = ""
    """Why nothing can be read."""
    older: bool = False
    """True if it has the columns of format 2."""
    unterminated: bool = False
    """True if no line break follows the last row: its writer may have been stopped in the middle of it."""

    @property
    def damage(self) -> str:
        """The message about its damage; empty if there is none."""
        places = [f"trial {n}" + (f" from step {step}" if step >= 0 else "") for n, step in sorted(self.faults.items())]
        named = ", ".join(places[:NAMED]) + (", …" if len(places) > NAMED else "")
        parts = [f"changed or lost since it was written: {named}"] if places else []
        parts += ["has lines that bnexp did not write"] if self.unknown_lines else []
        return self.problem or "; ".join(parts)


def read_table(path: Path, columns: Sequence[str], planned: Collection[int]) -> Table:
    """Read a table as far as it can be read.

    Args:
        path: the file.
        columns: that it has.
        planned: numbers of the trials.
    """
    nothing = Table(path.name, faults=dict.fromkeys(planned, NO_STEP))
    if not path.is_file():
        return replace(nothing, problem=MISSING)
    header, *lines = path.read_bytes().decode("utf-8-sig", errors="replace").split("\n")
    names = line_cells(header)
    older = names != list(columns)
    if older and names != [name for name in columns if name not in COLUMNS_SINCE_3]:
        return replace(nothing, problem=HEADER)
    table = Table(path.name, older=older)
    places = 3 if "step" in columns else 1  # trial, epoch and step, or the trial alone
    numbers = [at for at, name in enumerate(columns) if at < places or name in NUMBERS]
    for number, line in enumerate(lines, 1):
        if not (row := line_cells(line)):
            continue
        if older:
            known = dict(zip(names, row, strict=False))
            row = [known.get(name, "") for name in columns]
        values, last = row_values(row), number == len(lines)  # what follows the last line break
        readable = len(row) == len(columns) and (str not in map(type, values) or _readable(values, numbers))
        if readable and values[0] in planned and _whole(row[:places], values[:places]):
            table.rows.append(row)
            table.values.append(values)
            table.unterminated = last
        elif not last:
            table.unknown_lines = True
    return table


def read_numbers(path: Path, columns: Sequence[str], planned: int) -> pd.DataFrame | None:
    """Read a table of numbers at once; None if that fails, so that `read_table` has to look closer.

    Args:
        path: the file.
        columns: that it has, the first three of them trial, epoch and step.
        planned: how many trials there are, numbered from 0.

    Raises:
        OSError: it can't be read.
    """
    # Pandas would map a file that it opens itself into memory: a process that reads beyond the end of a shortened file
    # is killed, and a folder may be copied over another one meanwhile.
    with path.open("rb") as file:
        if file.readline() != f"{','.join(columns)}\n".encode():
            return None
        try:
            frame: pd.DataFrame = pd.read_csv(
                file, header=None, names=list(columns), dtype=float, keep_default_na=False, na_values=["", "nan"]
            )
        except ValueError:
            return None
    places = frame[["trial", "epoch", "step"]].to_numpy()
    whole = (places == np.floor(places)) & (places >= 0) & (places < [planned, EXACT, EXACT])
    return frame if whole.all() else None


def line_cells(line: str) -> list[str]:
    """Return the cells of a CSV line."""
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
    """Return whether there are numbers where numbers belong, and a known outcome if there is one."""
    outcome = values[-len(RESULT_COLUMNS)] if len(values) > len(RESULT_COLUMNS) else nan
    return not any(isinstance(values[at], str) for at in numbers) and (
        isinstance(outcome, float) or outcome in get_args(OutcomeKind)
    )
