"""Files that are whole or not there, and CSV that keeps every digit."""

import csv
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.store.files import csv_text, replace, whole_lines


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e-300, "1e-300"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (7, "7"),
        (True, "True"),
        ("plain", "plain"),
        ("a, b", '"a, b"'),
        ('say "no"', '"say ""no"""'),
        ([300, 100], "300 100"),
        ((300, 100), "300 100"),
        (np.float64(0.1), "0.1"),
    ],
)
def test_how_a_value_is_written(value: object, expected: str) -> None:
    assert csv_text(["x", "y"], [{"x": value, "y": 1}]) == f"x,y\n{expected},1\n"


def test_columns_are_written_in_their_order_with_blanks_for_what_a_row_lacks() -> None:
    rows = [{"b": 2, "a": 1}, {"c": 3, "more": 9}]
    assert csv_text(["a", "b", "c"], rows) == "a,b,c\n1,2,\n,,3\n"
    assert csv_text(["a", "b", "c"], rows, header=False) == "1,2,\n,,3\n"


def test_every_float_reads_back_as_itself() -> None:
    numbers = np.random.default_rng(0).standard_normal(500) * 10.0 ** np.arange(-250, 250)
    text = csv_text(["x"], [{"x": float(number)} for number in numbers])
    assert [float(row["x"]) for row in csv.DictReader(text.splitlines())] == numbers.tolist()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", b""),
        (b"a,b", b""),
        (b"a,b\n", b"a,b\n"),
        (b"a,b\n1,2", b"a,b\n"),
        (b"a,b\n1,2\n", b"a,b\n1,2\n"),
        (b"a\n\xc3", b"a\n"),
    ],
)
def test_what_is_still_being_written_is_left_out(tmp_path: Path, content: bytes, expected: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert whole_lines(tmp_path / "file") == expected


@pytest.mark.parametrize(("content", "stored"), [("γ = 1\n", "γ = 1\n".encode()), (b"\x00\xff", b"\x00\xff")])
def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path, content: Any, stored: bytes) -> None:
    for _ in range(2):
        replace(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == stored
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("breaking", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaking: str
) -> None:
    replace(tmp_path / "file", "old")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, breaking, full)
    with pytest.raises(OSError, match="No space left"):
        replace(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
