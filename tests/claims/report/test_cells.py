"""Numbers as people read them, and choices as data in words."""

import pytest

from bnexp.claims.evidence import Chosen
from bnexp.claims.report.tables import change_text, choices_text, format_number, margin_text, spread_text


def lr(value: float, edge: bool = False, key: str = "train.lr", **point: object) -> Chosen:
    return Chosen("none", {f"model.{name}": each for name, each in point.items()}, key, value, edge)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (660.4, 3, "660"),
        (110.2, 2, "110"),
        (0.01234, 2, "0.012"),
        (1e-6, 2, "1e-06"),
        (0.0, 2, "0"),
        (25.56, 3, "25.6"),
    ],
)
def test_a_number_has_the_digits_that_count_and_no_more(value: float, digits: int, text: str) -> None:
    assert format_number(value, digits) == text


def test_changes_margins_and_spreads() -> None:
    assert change_text((0.1234, -0.5, 0.7), ratio=False) == "+0.123 [-0.5, +0.7]"
    assert change_text((2.0, 1.5, 2500.0), ratio=True) == "×2 [×1.5, ×2500]"
    assert change_text((0.5, None, None), ratio=False) == "+0.5"
    assert (change_text(None, ratio=True), margin_text(None, ratio=True), spread_text(None)) == ("-", "-", "-")
    assert (margin_text(1.25, ratio=True), margin_text(0.005, ratio=False)) == ("×1.25", "0.005")
    assert (spread_text((660.0, 112.0)), spread_text((0.5, None))) == ("660 ± 110", "0.5")


def test_one_choice_everywhere_is_said_once() -> None:
    assert choices_text([lr(0.3, depth=2), lr(0.3, depth=9)]) == "lr 0.3"
    assert choices_text([lr(0.3, edge=True)]) == "lr 0.3 (edge)"
    assert choices_text([lr(0.3, edge=True, depth=2), lr(0.3, depth=9)]) == "lr 0.3, 1 of 2 at an edge"


def test_a_few_choices_are_said_with_where_they_were_made() -> None:
    few = [lr(0.01, depth=11, width=5), lr(1e-6, edge=True, depth=41, width=5)]
    assert choices_text(few) == "lr 0.01 at depth 11, 1e-06 at depth 41 (edge)"
    assert choices_text([lr(0.01), lr(0.1)]) == "lr 0.01, 0.1"


def test_of_many_choices_the_range_is_said_and_how_many_are_ends() -> None:
    many = [
        lr(value, edge=value in (0.01, 10.0), depth=depth) for depth, value in enumerate((1.0, 10.0, 0.01, 0.1, 10.0))
    ]
    assert choices_text(many) == "lr 0.01 … 10, 3 of 5 at an edge"
    assert choices_text([lr(value) for value in (3.0, 0.1, 1.0, 0.3, 10.0)]) == "lr 0.1 … 10"


def test_several_settings_are_told_one_by_one() -> None:
    assert choices_text([lr(0.3), lr(0.9, key="train.momentum")]) == "lr 0.3; momentum 0.9"
