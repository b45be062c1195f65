"""Means over grid points take the seeds that have all of them."""

import numpy as np
import pytest

from bnexp.analysis.pairing import FOR_A_SPREAD, complete


def kept(table: str, fewest: int = FOR_A_SPREAD) -> str:
    """Return a table of places (rows) and seeds (columns) with what is left: x a trial, - none."""
    rows = table.split()
    there = np.array([[mark == "x" for mark in row] for row in rows])
    places, seeds = np.nonzero(there)
    marked = np.zeros_like(there)
    marked[places, seeds] = complete(places, seeds, fewest)
    return " ".join("".join("-x"[mark] for mark in row.astype(int)) for row in marked)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("xxx xxx xxx", "xxx xxx xxx"),
        ("xxx x-x xxx", "x-x x-x x-x"),
        ("xxxxxx xx---- xx----", "xx---- xx---- xx----"),
        ("xxx--- xxxxxx xxx---", "xxx--- xxx--- xxx---"),
        ("x x x", "x x x"),
        ("x", "x"),
        # Fewer than two seeds have all places: the place with the fewest goes.
        ("xxxx xxxx x---", "xxxx xxxx ----"),
        ("xxx--- ---xxx", "xxx--- ------"),
        ("xx---- --xxxx", "------ --xxxx"),
        ("x- -x", "x- --"),
        ("xx-- -xx- --xx xxxx", "xx-- ---- ---- xx--"),
    ],
)
def test_what_is_left(table: str, expected: str) -> None:
    assert kept(table) == expected


def test_one_seed_may_be_enough() -> None:
    assert kept("xxxx xxxx x---", fewest=1) == "x--- x--- x---"
    assert kept("xxx--- ---xxx", fewest=1) == "xxx--- ------"


def test_nothing_has_nothing() -> None:
    assert complete([], []).tolist() == []


def test_names_and_order_do_not_matter() -> None:
    places, seeds = np.array([5, 5, 9, 9, 5]), np.array(["b", "a", "a", "b", "c"])
    assert complete(places, seeds).tolist() == [True, True, True, True, False]
