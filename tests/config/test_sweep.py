"""The sweep grammar: end values are included, and grid points come in one order."""

import math
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.config.sweep import points, values

ENDS = st.floats(-1e3, 1e3, allow_nan=False).map(lambda end: round(end, 3))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([0.1, 1], (0.1, 1)),
        ((0.1, 1), (0.1, 1)),
        (["relu", "elu"], ("relu", "elu")),
        ([[300, 100], 50], ([300, 100], 50)),
        ([None], (None,)),
        ({"linspace": [0, 1, 5]}, (0.0, 0.25, 0.5, 0.75, 1.0)),
        ({"linspace": [1, 0, 2]}, (1.0, 0.0)),
        ({"linspace": [0.5, 9, 1]}, (0.5,)),
        ({"linspace": [0, 1, 3.0]}, (0.0, 0.5, 1.0)),
        ({"logspace": [1, 100, 3]}, (1.0, 10.0, 100.0)),
        ({"logspace": [1, 1e-2, 3]}, (1.0, 0.1, 0.01)),
        ({"logspace": [-1, -4, 3]}, (-1.0, -2.0, -4.0)),
        ({"range": [1, 5, 2]}, (1, 3, 5)),
        ({"range": [1, 6, 2]}, (1, 3, 5)),
        ({"range": [0, 1, 3]}, (0,)),
        ({"range": [2, 2, 1]}, (2,)),
        ({"range": [3, 1, -1]}, (3, 2, 1)),
        ({"range": [0, 1, 0.25]}, (0.0, 0.25, 0.5, 0.75, 1.0)),
        ({"range": [1, 191, 10]}, tuple(range(1, 192, 10))),
    ],
)
def test_what_a_sweep_stands_for(written: Any, expected: tuple[Any, ...]) -> None:
    assert (
        values(written) == pytest.approx(expected, rel=1e-15)
        if "space" in str(written)
        else values(written) == expected
    )
    assert [type(value) for value in values(written)] == [type(value) for value in expected]


@settings(deadline=None)
@given(first=ENDS, last=ENDS, count=st.integers(2, 50))
def test_linspace_holds_both_ends_and_as_many_values_as_asked_for(first: float, last: float, count: int) -> None:
    found = values({"linspace": [first, last, count]})
    assert (found[0], found[-1], len(found)) == (first, last, count)
    assert sorted(found, reverse=last < first) == list(found)


@settings(deadline=None)
@given(first=st.floats(1e-6, 1e6), last=st.floats(1e-6, 1e6), count=st.integers(2, 50))
def test_logspace_holds_both_ends_and_steps_by_one_ratio(first: float, last: float, count: int) -> None:
    found = values({"logspace": [first, last, count]})
    assert (found[0], found[-1], len(found)) == (first, last, count)
    ratio = (last / first) ** (1 / (count - 1))
    assert all(math.isclose(b / a, ratio, rel_tol=1e-9) for a, b in pairwise(found))


@settings(deadline=None)
@given(first=ENDS, steps=st.integers(0, 40), step=st.sampled_from([0.1, 0.2, 0.05, 1e-3, 0.3, -0.1]))
def test_range_includes_its_end_exactly_where_a_step_meets_it(first: float, steps: int, step: float) -> None:
    last = round(first + steps * step, 6)
    found = values({"range": [first, last, step]})
    assert (found[0], found[-1], len(found)) == (first, last, steps + 1)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "expected at least one value, the list is empty"),
        (0.1, "expected a list of values or one of logspace, linspace, range"),
        ("0.1, 1", "expected a list of values or one of logspace, linspace, range"),
        ({"logspce": [1, 2, 3]}, "expected one of logspace, linspace, range (nearest: logspace)"),
        ({"linspace": [0, 1, 2], "range": [0, 1, 1]}, "expected one of logspace, linspace, range"),
        ({"logspace": [1, 10]}, "logspace takes three numbers: [first, last, n]"),
        ({"range": [0, "1", 1]}, "range takes three numbers: [first, last, step]"),
        ({"linspace": [0, 1, 0]}, "linspace [first, last, n] needs a whole number n above 0"),
        ({"logspace": [1, 2, 2.5]}, "logspace [first, last, n] needs a whole number n above 0"),
        (
            {"logspace": [0, 1, 3]},
            "logspace needs end values other than 0 and of one sign (they are values, not exponents)",
        ),
        ({"range": [0, 1, 0]}, "range [first, last, step] never reaches its last value"),
    ],
)
def test_what_is_no_sweep_says_what_was_expected(written: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        values(written)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("odd", [float("inf"), float("nan")])
@pytest.mark.parametrize("kind", ["logspace", "linspace", "range"])
def test_infinities_are_refused_in_every_place(kind: str, odd: float, place: int) -> None:
    arguments: list[float] = [1, 3, 2]
    arguments[place] = odd
    with pytest.raises(ValueError, match=f"^{kind} takes three .*numbers"):
        values({kind: arguments})


def test_the_last_key_of_the_grid_varies_fastest() -> None:
    assert points({"a": (1, 2), "b": ("x", "y")}, {}) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]


def test_zip_pairs_values_up_and_the_grid_crosses_the_pairs() -> None:
    assert points({"c": (5, 6)}, {"a": (1, 2), "b": (3, 4)}) == [
        {"a": 1, "b": 3, "c": 5},
        {"a": 1, "b": 3, "c": 6},
        {"a": 2, "b": 4, "c": 5},
        {"a": 2, "b": 4, "c": 6},
    ]
