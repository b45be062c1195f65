"""Tables of numbers with a column of classes, as CSV files."""

import csv
import os
import re
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bnexp.config.data import DataSettings
from bnexp.config.text import counted, escaped
from bnexp.data.arrays import from_arrays
from bnexp.data.machine import check_room
from bnexp.data.own_files import checked_files
from bnexp.data.raw import RawImages
from bnexp.errors import InputError, nearest

SEPARATORS = ",;\t"
MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "?"]
"""Texts that stand for missing values."""
MOST_FAULTS = 10
"""The most columns whose faults are reported."""
SAMPLE = 2**20
"""Characters of a file from which the number of rows is estimated."""
COPIES = 3
"""Copies of the numbers that are in memory while they are read."""


def read(settings: DataSettings) -> RawImages:
    """Return the rows of one file, or of a folder's train.csv, test.csv and perhaps val.csv.

    Raises:
        InputError: there is no such file, it has changed, or nothing can be trained on what is in it.
    """
    files, features, arrays = checked_files(settings), tuple[str, ...](), dict[str, NDArray[np.generic]]()
    for path in files:
        end = f"_{path.stem}" if len(files) > 1 else ""
        try:
            names, arrays[f"x{end}"], arrays[f"y{end}"] = _table(path, settings.label, features)
        except pd.errors.ParserError as flaw:
            raise InputError(escaped(f"data.root: {path}: {_misread(flaw)}")) from None
        except (OSError, ValueError) as flaws:
            said = [escaped(f"data.root: {path}: {flaw}") for flaw in str(flaws).strip().splitlines()]
            raise InputError("\n".join(said)) from None
        features = features or names
    try:
        return from_arrays(arrays, settings, features)
    except ValueError as flaw:
        raise InputError(escaped(f"data.root: {settings.root}: {flaw}")) from None


def _table(
    path: Path, label: str | None, features: tuple[str, ...]
) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.generic]]:
    """Return the names of the features, of the training file where that was read, the features and the labels."""
    separator, names = _header(path)
    if label not in names:
        said = "null" if label is None else label
        raise InputError(
            escaped(
                f"data.label: {said}: expected the column of {path} that holds the classes, one of "
                f"{', '.join(names)}{nearest(said, names) if label else ''}"
            )
        )
    own = tuple(name for name in names if name != label)
    with open(path, encoding="utf-8-sig") as file, warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        table = pd.read_csv(
            file,
            sep=separator,
            names=names,
            header=0,
            index_col=False,
            skipinitialspace=True,
            dtype={label: str},
            keep_default_na=False,  # a class may be called NA
            na_values=dict.fromkeys(own, MISSING),
        )
    if odd := sorted({*own} ^ {*(features or own)}):
        raise ValueError(f"has other columns than train.csv; in only one of them: {', '.join(odd)}")
    if table.empty:
        raise ValueError("has no row below the names of its columns")
    if faults := list(islice(_faults(table[[*own]]), MOST_FAULTS)):
        raise ValueError("\n".join(faults))
    labels = table[label].str.strip()
    if empty := int((labels == "").sum()):
        raise ValueError(f"{counted(empty, 'row')} without a label in the column {label}; leave them out")
    values = table[[*(features or own)]].to_numpy(np.float64)
    whole = labels.str.fullmatch(r"[+-]?\d{1,18}").all()
    return features or own, values, labels.to_numpy(np.int64 if whole else str)


def _misread(flaw: pd.errors.ParserError) -> str:
    """Say which line has too many columns; another fault in the words of pandas."""
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(flaw))
    if not found:
        return str(flaw).strip()
    names, line, columns = found.groups()
    return f"line {line} has {columns} columns, but the first line names {names}; put text that holds commas in quotes"


def _header(path: Path) -> tuple[str, list[str]]:
    """Return the separator and the names of the columns, after a look at the size of the file."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            sample = file.read(SAMPLE)
    except UnicodeDecodeError:
        raise ValueError("is not text in UTF-8; save the table as CSV, uncompressed") from None
    first = sample.partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    names = [name.strip() for name in next(csv.reader([first.rstrip("\r")], delimiter=separator), [])]
    rows = os.path.getsize(path) / max(1, len(sample)) * sample.count("\n")
    check_room(f"data.root: the numbers of {path}", int(rows * len(names) * 8 * COPIES), "keep fewer rows or columns")
    if len(names) < 2:
        raise ValueError("has one column, expected features and a label with commas, semicolons or tabs in between")
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise ValueError(f"names two columns {twice[0] or 'nothing'}; the first line has to name each column")
    return separator, names


def _faults(features: pd.DataFrame) -> Iterator[str]:
    """Yield why columns can't be features."""
    for name, values in features.items():
        if values.dtype.kind not in "biuf":
            example = values[values.notna() & pd.to_numeric(values, errors="coerce").isna()].iloc[0]
            yield (
                f"the column {name} has text, such as {example}, and no numbers; leave categories out, or write them "
                "as columns of 0 and 1 (pandas.get_dummies)"
            )
        elif lost := int((wrong := ~np.isfinite(values.to_numpy(float))).sum()):
            place = f"the first in row {int(wrong.argmax()) + 1} below the names"
            said = f"the column {name} has {counted(lost, 'value')} missing or infinite, {place}"
            yield f"{said}; leave these rows out or fill them in"
