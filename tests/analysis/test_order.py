"""`--sort` and `--top`: the best rows first, whatever best means in a column."""

from dataclasses import fields, replace

import pytest

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.runs import OF_THE_METRIC, SMALL_IS_GOOD, ordered
from bnexp.errors import InputError

COLUMNS = [field.name for field in fields(ArmRow) if field.name != "point"]
LARGE_IS_GOOD = ["n", "pairs", "better", "trials", "reached", "first"]
NAMES = ["arm", "baseline"]


@pytest.fixture
def comparison(make_run) -> Comparison:
    rows = [{"arm": "none", "seed": 0, "train.lr": lr, "accuracy": 0.5} for lr in (3, 1, 2, 4)]
    return compare_arms(*make_run(*rows), grid_keys=["train.lr"], arms=["none"])


def with_values(comparison: Comparison, column: str, *values: object) -> Comparison:
    rows = [replace(row, **{column: value}) for row, value in zip(comparison.rows, values, strict=True)]
    return replace(comparison, rows=tuple(rows))


def rates(comparison: Comparison) -> list[float]:
    return [row.point["train.lr"] for row in comparison.rows]


def test_every_column_is_of_one_kind() -> None:
    assert sorted(COLUMNS) == sorted([*SMALL_IS_GOOD, *OF_THE_METRIC, *LARGE_IS_GOOD, *NAMES])


@pytest.mark.parametrize("column", LARGE_IS_GOOD)
def test_of_counts_the_largest_comes_first(comparison: Comparison, column: str) -> None:
    for metric in ("final_test_accuracy", "final_train_loss"):
        given = replace(with_values(comparison, column, 1, 5, 0, 2), metric=metric)
        assert rates(ordered(given, column, None)) == [1, 4, 3, 2]


@pytest.mark.parametrize("column", SMALL_IS_GOOD)
def test_of_costs_the_smallest_comes_first_and_the_unknown_last(comparison: Comparison, column: str) -> None:
    assert rates(ordered(with_values(comparison, column, 0.5, None, -1.0, 2.0), column, None)) == [2, 3, 4, 1]


@pytest.mark.parametrize("column", OF_THE_METRIC)
def test_values_of_the_metric_go_its_way_and_the_unknown_last(comparison: Comparison, column: str) -> None:
    given = with_values(comparison, column, 0.5, None, -1.0, 2.0)
    assert rates(ordered(given, column, None)) == [4, 3, 2, 1]
    assert rates(ordered(replace(given, metric="final_train_loss"), column, None)) == [2, 3, 4, 1]


@pytest.mark.parametrize("column", NAMES)
def test_names_go_upwards(comparison: Comparison, column: str) -> None:
    assert rates(ordered(with_values(comparison, column, "b", "c", "none", "a"), column, None)) == [4, 3, 1, 2]


@pytest.mark.parametrize(
    ("values", "order"),
    [
        ((None, 0.5, 10.0, 2.0), [0.5, 2.0, 10.0, None]),
        (("relu", None, "elu", "tanh"), ["elu", "relu", "tanh", None]),
        ((True, False, None, False), [False, False, True, None]),
    ],
)
def test_grid_values_of_every_kind_have_an_order(comparison: Comparison, values: tuple, order: list) -> None:
    rows = [replace(row, point={"k": value}) for row, value in zip(comparison.rows, values, strict=True)]
    given = replace(comparison, grid_keys=("k",), rows=tuple(rows))
    assert [row.point["k"] for row in ordered(given, "k", None).rows] == order


@pytest.mark.parametrize("column", ["reached", "p", "mean", "arm"])
def test_equal_rows_stay_in_their_order(comparison: Comparison, column: str) -> None:
    value = "same" if column == "arm" else 0.5
    assert rates(ordered(with_values(comparison, column, *[value] * 4), column, None)) == [3, 1, 2, 4]
    assert rates(ordered(with_values(comparison, column, *[None] * 4), column, None)) == [3, 1, 2, 4]


@pytest.mark.parametrize(("top", "left"), [(1, [1]), (3, [1, 2, 3]), (9, [1, 2, 3, 4])])
def test_top_cuts_after_sorting_and_only_the_rows(comparison: Comparison, top: int, left: list[int]) -> None:
    found = ordered(comparison, "lr", top)
    assert rates(found) == left
    assert replace(found, rows=comparison.rows) == comparison


@pytest.mark.parametrize("sort", ["menn", "point", "xyz"])
def test_an_unknown_column_is_refused(comparison: Comparison, sort: str) -> None:
    with pytest.raises(InputError) as error:
        ordered(comparison, sort, 1)
    near = {"menn": " (nearest: mean)", "point": "", "xyz": ""}[sort]
    assert str(error.value) == f"{sort}: no such column{near}; there are {', '.join([*COLUMNS, 'train.lr'])}"
