"""Values in CSV files: every digit, a line a row, and no formula for a spreadsheet."""

import csv
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.store.cells import cell, csv_line, csv_text, meant, number_lines


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


@given(st.lists(st.lists(st.one_of(st.floats(), st.integers(), st.none()), min_size=3, max_size=3)))
def test_numbers_are_written_faster_but_not_otherwise(table: list[list[float | None]]) -> None:
    rows = [dict(zip("abc", numbers, strict=True)) for numbers in table]
    rows += [{"b": np.float64(0.1), "c": np.int64(7)}, {}]
    lines = number_lines("abc", rows)
    assert b"".join(line + b"\n" for line in lines).decode() == csv_text("abc", rows, header=False)


def test_columns_are_written_in_their_order_with_blanks_for_what_a_row_lacks() -> None:
    rows = [{"b": 2, "a": 1}, {"c": 3, "more": 9}]
    assert csv_text(["a", "b", "c"], rows) == "a,b,c\n1,2,\n,,3\n"
    assert csv_text(["a", "b", "c"], rows, header=False) == "1,2,\n,,3\n"


def test_every_float_reads_back_as_itself() -> None:
    numbers = np.random.default_rng(0).standard_normal(500) * 10.0 ** np.arange(-250, 250)
    text = csv_text(["x"], [{"x": float(number)} for number in numbers])
    assert [float(row["x"]) for row in csv.DictReader(text.splitlines())] == numbers.tolist()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0"])
def test_a_text_is_no_formula_and_reads_back(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert meant(cell(text)) == text


@pytest.mark.parametrize("value", [-1, -0.5, "-", "a=1", "'quoted'", "", None, "'=", "é"])
def test_what_is_no_formula_is_left_alone_or_reads_back(value: object) -> None:
    written = cell(value)
    assert meant(written) == value
    assert not (isinstance(written, str) and written.startswith(("=", "+", "-", "@")))


@pytest.mark.parametrize("text", ["two\nlines", "a\rb", "tab\there", "\x1b[31mred", "\x00", "\t=1"])
def test_a_text_is_one_line_without_control_characters(text: str) -> None:
    (line,) = csv_text(["x"], [{"x": text}], header=False).splitlines()
    assert line.strip('"').isprintable()


def test_cells_are_joined_as_they_are() -> None:
    assert csv_line([7, "a, b", 0.1, "", "'=1"]) == b'7,"a, b",0.1,,\'=1'
