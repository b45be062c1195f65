"""trials.csv as a table: what was planned comes from the configuration, only what came of it from the file.

A cell of a file can't tell an arm named nan from a blank, or a text from a number; the configuration can. The cells
still have to say the same.
"""

import io
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.reader import flow
from bnexp.records import OutcomeKind
from bnexp.store.cells import cell, meant
from bnexp.store.outcomes import TRIAL_COLUMNS

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
