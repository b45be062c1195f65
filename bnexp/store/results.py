"""trials.csv as a table: what was planned comes from the configuration, only what came of it from the file.

A cell of a file can't tell an arm named nan from a blank, or a text from a number; the configuration can. The cells
still have to say the same.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.yaml import flow
from bnexp.plan import Trial
from bnexp.records import Outcome, OutcomeKind
from bnexp.store.cells import cell, meant

TRIAL_COLUMNS = (
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
NEW_COLUMNS = ("highest_batch_loss", "highest_batch_loss_step")
"""Those of them that folders of the format before don't have."""

_FINAL = ("train_loss", "train_accuracy", "val_accuracy", "test_accuracy")


def trial_row(trial: Trial, records: Sequence[Mapping[str, Any]], outcome: Outcome | None) -> dict[str, Any]:
    """Return the row: settings, outcome (blank while training), final and best numbers.

    The best validation accuracy is the first of equal ones; the test accuracy beside it is of that
    record, so the test set chooses nothing.
    """
    row: dict[str, Any] = {"trial": trial.number, "arm": trial.arm, "seed": trial.seed, **trial.point}
    if outcome is None:
        return row
    row |= {"outcome": outcome.kind, "diverged_step": outcome.diverged_step, "reason": outcome.reason}
    row |= {name: getattr(outcome, name) for name in NEW_COLUMNS}
    if records:
        row |= {f"final_{name}": records[-1][name] for name in _FINAL}
        best = max(records, key=lambda record: record["val_accuracy"] or 0.0)
        if best["val_accuracy"] is not None:
            row |= {"best_val_accuracy": best["val_accuracy"], "test_accuracy_at_best_val": best["test_accuracy"]}
        row["seconds"] = records[-1]["seconds"]
    return row


EXACT = 2**53
"""Whole numbers up to this are floats without loss."""
TEXTS = ("outcome", "reason")
"""Columns of results that are no numbers."""


def trial_table(content: bytes, config: ExperimentConfig) -> pd.DataFrame:
    """Return every planned trial in order; results are missing where it has not ended, or where the format lacks them.

    Grid values are those of the configuration, but for lists and mappings, which are texts.

    Args:
        content: trials.csv.
        config: whose trials it has, one row each.

    Raises:
        ValueError: a row is about another trial than was planned, or has a result that is none.
    """
    written = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    written = written.iloc[np.argsort(written["trial"].astype(int), kind="stable")].reset_index(drop=True)
    arms, points, seeds = zip(*config.places(), strict=True)
    planned = {"trial": range(len(arms)), "arm": arms, "seed": seeds}
    planned |= {key: [point[key] for point in points] for key in config.swept}
    for name, values in planned.items():
        _check(name, written[name], values)
    columns = {name: grid_column(values) for name, values in planned.items()}
    recorded = written.reindex(columns=list(TRIAL_COLUMNS), fill_value="")  # the format before has fewer columns
    results = {name: _results(name, recorded[name]) for name in TRIAL_COLUMNS}
    return pd.DataFrame(columns | results)


def grid_column(values: Iterable[Any]) -> pd.Series:
    """Return values as a column: numbers where all are numbers or null, and otherwise each as it is."""
    plain = [value if value is None else _hashable(value) for value in values]
    column = pd.Series(plain, dtype=object)
    numbers = [value for value in plain if isinstance(value, int | float)]
    mixed = any(isinstance(value, bool) for value in numbers) and len(set(map(type, plain))) > 1
    rounded = len({type(value) for value in plain}) > 1 and any(abs(value) > EXACT for value in numbers)
    return column if mixed or rounded else column.infer_objects()


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return flow(value)
    return str(cell(value)) if isinstance(value, list | tuple) else value


def _check(name: str, written: pd.Series, values: Sequence[Any]) -> None:
    expected = ["" if value is None else str(cell(value)) for value in values]
    if len(written) != len(expected):
        raise ValueError(f"{len(written)} trials, but {len(expected)} are planned")
    for number, (found, meant_) in enumerate(zip(written, expected, strict=True)):
        if found != meant_:
            raise ValueError(f"{name} of trial {number} is {found!r}, and {meant_!r} in config.yaml")


def _results(name: str, written: pd.Series) -> pd.Series:
    if name not in TEXTS:
        return pd.Series([_number(text) for text in written])
    if name == "outcome" and (strange := set(written) - {"", *get_args(OutcomeKind)}):
        raise ValueError(f"unknown outcome {min(strange)!r}")
    return pd.Series([meant(text) if text else np.nan for text in written], dtype=object)


def _number(text: str) -> float:
    return np.nan if not text else int(text) if text.isdecimal() else float(text)
