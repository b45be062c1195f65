"""Findings: what holds, and how far two arrays are apart."""

import math

import pytest

from bnexp.claims.checks.networks import difference, short, worst
from bnexp.claims.results import Finding


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
    assert difference([-4.0], [-2.0]) == 1


def test_arrays_of_other_shapes_are_infinitely_far_apart() -> None:
    assert difference([1.0, 1.0], [1.0]) == math.inf


def test_what_is_no_number_is_no_agreement() -> None:
    assert math.isnan(difference([math.nan, 1.0], [1.0, 1.0]))


@pytest.mark.parametrize("errors", [[0.0, math.nan], [math.inf, math.nan, 2.0]], ids=str)
def test_among_errors_one_that_is_no_number_is_the_worst(errors: list[float]) -> None:
    assert math.isnan(worst(errors))
    assert math.isnan(worst(iter(errors)))


@pytest.mark.parametrize(("errors", "expected"), [([], 0.0), ([-1.0], 0.0), ([0.5, 2.0, 1.0], 2.0)])
def test_else_it_is_the_largest(errors: list[float], expected: float) -> None:
    assert worst(errors) == expected


def test_numbers_have_one_digit() -> None:
    assert [short(number) for number in (2.34e-16, 0.0, 3.0)] == ["2e-16", "0", "3"]
