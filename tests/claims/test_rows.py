"""What was found as rows of plain values: how numbers are written, and which verdict stands first."""

from dataclasses import replace
from math import exp

import pytest

from bnexp.claims.evidence import Chosen, Judgement
from bnexp.claims.rows import (
    change_cell,
    choices_text,
    format_number,
    headline,
    margin_text,
    rows_json,
    rows_of,
    spread_text,
    where_text,
)
from tests.claims.made_up import from_data, head, judged, measure
from tests.helpers import EXACT_FLOAT64


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
    assert str(change_cell((0.1234, -0.5, 0.7), ratio=False)) == "+0.123 [-0.5, +0.7]"
    assert str(change_cell((2.0, 1.5, 2500.0), ratio=True)) == "×2 [×1.5, ×2500]"
    assert str(change_cell((0.5, None, None), ratio=False)) == "+0.5"
    assert (str(change_cell(None, ratio=True)), margin_text(None, ratio=True), spread_text(None)) == ("-", "-", "-")
    assert (margin_text(1.25, ratio=True), margin_text(0.005, ratio=False)) == ("×1.25", "0.005")
    assert (spread_text((660.0, 112.0)), spread_text((0.5, None))) == ("660 ± 110", "0.5")


MANY = [lr(value, edge=value in (0.01, 10.0), depth=depth) for depth, value in enumerate((1.0, 10.0, 0.01, 0.1, 10.0))]


STUDIES = [replace(lr(value, edge=value > 0.5), study=study) for study, value in enumerate((0.1, 1.0, 0.1))]


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ([lr(0.3, depth=2), lr(0.3, depth=9)], "lr 0.3"),
        ([lr(0.3, edge=True)], "lr 0.3 (edge)"),
        ([lr(0.3, edge=True, depth=2), lr(0.3, depth=9)], "lr 0.3, 1 of 2 at an edge"),
        # A few choices are listed with their settings; many are summed up as a range.
        (
            [lr(0.01, depth=11, width=5), lr(1e-6, edge=True, depth=41, width=5)],
            "lr 0.01 at depth 11, 1e-06 at depth 41 (edge)",
        ),
        ([lr(0.01), lr(0.1)], "lr 0.01, 0.1"),
        (MANY, "lr 0.01 … 10, 3 of 5 at an edge"),
        ([lr(value) for value in (3.0, 0.1, 1.0, 0.3, 10.0)], "lr 0.1 … 10"),
        ([lr(0.3), lr(0.9, key="train.momentum")], "lr 0.3; momentum 0.9"),
        # A tuning that was repeated may choose differently.
        (STUDIES, "lr 0.1 in 2 of 3 studies, 1 (edge) in 1 of 3 studies"),
        ([replace(each, value=0.1, at_edge=False) for each in STUDIES], "lr 0.1"),
    ],
)
def test_choices_are_told_in_short(choices: list[Chosen], text: str) -> None:
    assert choices_text(choices) == text


SECOND = measure(label="second")
CLOSE, FAR = ((0.5, 0.5, 0.5), (0.505, 0.506, 0.507)), ((0.5, 0.5, 0.5), (0.7, 0.71, 0.72))


def test_a_margin_is_a_ratio_where_changes_are() -> None:
    logs = head(from_data(judged((1, 1, 1), (2, 2.1, 2.2), of=measure(log=True, margin=0.5))))
    assert logs.ratio
    assert logs.margin == pytest.approx(exp(0.5), rel=EXACT_FLOAT64)
    assert logs.change
    assert logs.change[0] == pytest.approx((2 * 2.1 * 2.2) ** (1 / 3), rel=EXACT_FLOAT64)
    assert head(from_data(judged(*FAR))).margin == 0.01


def test_a_published_number_stands_with_its_setting() -> None:
    ours = {"study": "A", "setting": "as here", "found": "97 %", "same_setting": True}
    theirs = {"study": "B", "setting": "ImageNet", "found": "6 %", "unverified": True}
    row = head(from_data(judged(*FAR), published=[ours, theirs]))
    assert row.published == ("97 % (A: as here; same setting)", "6 %† (B: ImageNet)")


def test_for_scripts_what_is_not_finite_is_null() -> None:
    (row,) = rows_json([from_data(judged((1, float("inf")), (1, 2)))])
    assert row["baseline"] == [None, None]
    assert row["decides"] is True


# A row for each value of a setting

ACTIVATION, DEPTH = "model.activation", "model.depth"


def by_activation(**pairs: tuple[tuple[float, ...], tuple[float, ...]]) -> list[Judgement]:
    of = measure(label="first", each=ACTIVATION)
    return [judged(*values, "tuned", of=of, point={ACTIVATION: name}) for name, values in pairs.items()]


def test_where_rows_differ_the_first_one_says_what_the_verdict_depends_on() -> None:
    found = from_data(*by_activation(sigmoid=FAR, tanh=FAR, relu=CLOSE, elu=FAR[::-1]))
    first, *rows = rows_of(found)
    assert (first.verdict, first.arms, first.decides) == ("DEPENDS", None, True)
    assert first.reasons == ("SUPPORTED with sigmoid and tanh", "EQUIVALENT with relu", "OPPOSITE with elu")
    assert [(row.where, row.verdict, row.decides) for row in rows] == [
        ("sigmoid", "SUPPORTED", True),
        ("tanh", "SUPPORTED", True),
        ("relu", "EQUIVALENT", True),
        ("elu", "OPPOSITE", True),
    ]
    assert headline(found) == f"DEPENDS: {'; '.join(first.reasons)}"


def test_where_some_rows_are_undecided_it_is_said_where_the_others_are_decided() -> None:
    found = from_data(*by_activation(sigmoid=FAR, relu=((0.5, 0.5, 0.5), (0.4, 0.5, 0.7))))
    assert headline(found) == "INCONCLUSIVE, but SUPPORTED with sigmoid"


def test_where_rows_agree_the_first_one_has_their_verdict() -> None:
    found = from_data(*by_activation(sigmoid=FAR, relu=FAR), judged(*CLOSE, decides=False, of=SECOND))
    assert (head(found).verdict, head(found).reasons, headline(found)) == ("SUPPORTED", (), "SUPPORTED")
    assert [row.where for row in rows_of(found)] == ["", "sigmoid", "relu", ""]


def test_a_place_is_told_by_its_value_or_by_its_name_and_value() -> None:
    assert where_text({ACTIVATION: "relu", DEPTH: 20}) == "relu · depth 20"
    assert where_text({"model.norm.affine": "both", "model.residual": True}) == "both · residual true"
    assert where_text({}) == ""
