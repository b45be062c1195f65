"""Rows of the tables in a run folder: their columns, and how values become cells."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from bnexp.config.experiment import ExperimentConfig
from bnexp.plan import Trial
from bnexp.records import CURVE_COLUMNS, Outcome

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
COLUMNS_SINCE_3 = ("highest_batch_loss", "highest_batch_loss_step")
"""Those of them that folders of format 2 don't have."""
TEXT_COLUMNS = ("outcome", "reason")
"""Result columns that aren't numbers."""
NUMBERS = {*CURVE_COLUMNS, "value", *RESULT_COLUMNS} - {*TEXT_COLUMNS}
"""Columns of all tables that are numbers."""
EXACT = 2**53
"""Whole numbers up to this are floats without loss."""

# Writing

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


def numbers_row(values: Iterable[float | None]) -> Row:
    """Return numbers as cells: what `to_row` makes of them, faster."""
    return [repr(value) if type(value) is float else "" if value is None else str(value) for value in values]


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows as CSV lines, cells quoted where needed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def trial_columns(config: ExperimentConfig) -> tuple[str, ...]:
    """Return the columns of trials.csv."""
    return ("trial", "arm", "seed", *config.swept, *RESULT_COLUMNS)


def probe_of(name: str) -> str:
    """Return the probe that a value is of, from what the column `probe` says."""
    return name.partition(".")[0].partition("[")[0]


FINAL = ("train_loss", "train_accuracy", "val_accuracy", "test_accuracy")
"""What of a trial's last record is in its row of trials.csv."""


def trial_row(trial: Trial, records: Sequence[Row] = (), outcome: Outcome | None = None) -> Row:
    """Return a row of trials.csv: settings, outcome (blank while training), final and best numbers.

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
        curve = [dict(zip(CURVE_COLUMNS, record, strict=True)) for record in records]
        results |= {f"final_{name}": curve[-1][name] for name in FINAL} | {"seconds": curve[-1]["seconds"]}
        best = max(curve, key=lambda record: float(record["val_accuracy"] or 0))
        if best["val_accuracy"]:
            results |= {"best_val_accuracy": best["val_accuracy"], "test_accuracy_at_best_val": best["test_accuracy"]}
    return [*to_row([trial.number, trial.arm, trial.seed, *trial.point.values()]), *results.values()]
