"""Findings: what holds, and how far two arrays are apart."""

import math

import pytest

from bnexp.claims.checks.networks import difference, worst
from bnexp.claims.runs import Finding


@pytest.mark.parametrize(
    ("error", "tolerance", "holds"),
    [
        (None, None, True),
        (0.0, 0.0, True),
        (0.5, 1.0, True),
        (1.0, 0.5, False),
        (math.nan, 1.0, False),
        (math.inf, 1.0, False),
        (0.0, None, False),
    ],
)
def test_it_holds_within_its_tolerance(error: float | None, tolerance: float | None, holds: bool) -> None:
    assert Finding("what", "found", error, tolerance).holds == holds


def test_the_difference_is_relative_to_the_largest_expected_number() -> None:
    assert difference([1.0, 9.0], [2.0, 10.0]) == 0.1
    assert difference([0.0, -3.0], [0.0, 0.0]) == 3
    assert difference([1.0, 1.0], [1.0]) == math.inf
    assert math.isnan(difference([math.nan, 1.0], [1.0, 1.0]))


def test_the_worst_error_is_the_largest_or_the_one_that_is_no_number() -> None:
    assert (worst([]), worst([-1.0]), worst(iter([0.5, 2.0, 1.0]))) == (0.0, 0.0, 2.0)
    assert math.isnan(worst([math.inf, math.nan, 2.0]))
