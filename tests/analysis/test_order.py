"""`--sort` and `--top`: the best rows first, whatever best means in a column."""

from dataclasses import fields, replace

import pytest

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.runs import OF_THE_METRIC, SMALL_IS_GOOD, ordered
from bnexp.errors import InputError
from tests.analysis.conftest import a_study

COLUMNS = [field.name for field in fields(ArmRow) if field.name != "point"]
LARGE_IS_GOOD = ["n", "pairs", "better", "trials", "reached", "first"]
NAMES = ["arm", "baseline"]
VALUES = {
    **dict.fromkeys((*SMALL_IS_GOOD, *OF_THE_METRIC), (0.5, None, -1.0, 2.0)),
    **dict.fromkeys(LARGE_IS_GOOD, (1, 5, 0, 2)),
    **dict.fromkeys(NAMES, ("b", "c", "none", "a")),
}


@pytest.fixture
def comparison() -> Comparison:
    rows = [{"arm": "none", "seed": 0, "train.lr": lr, "accuracy": 0.5} for lr in (3, 1, 2, 4)]
    return compare_arms(a_study(rows, ["none"]))


def rates(comparison: Comparison, column: str, *values: object) -> list[float]:
    """Sort rows with these values of a column; return their rates."""
    rows = [replace(row, **{column: value}) for row, value in zip(comparison.rows, values, strict=True)]
    found = ordered(replace(comparison, rows=tuple(rows)), column, None)
    return [row.point["train.lr"] for row in found.rows]


@pytest.mark.parametrize("column", COLUMNS)
def test_the_best_comes_first_and_the_unknown_last(comparison: Comparison, column: str) -> None:
    downwards = [1, 4, 3, 2] if column in LARGE_IS_GOOD else [4, 3, 2, 1]
    upwards = {"arm": [4, 3, 1, 2], "baseline": [4, 3, 1, 2]}.get(column, [2, 3, 4, 1])
    small, metrics = column in (*SMALL_IS_GOOD, *NAMES), column in OF_THE_METRIC
    assert rates(comparison, column, *VALUES[column]) == (upwards if small else downwards)
    loss = replace(comparison, metric="final_train_loss")
    assert rates(loss, column, *VALUES[column]) == (upwards if small or metrics else downwards)
    for same in (0.5, None):  # equal rows stay in their order
        assert rates(comparison, column, *[same] * 4) == [3, 1, 2, 4]


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


@pytest.mark.parametrize(("top", "left"), [(1, [1]), (9, [1, 2, 3, 4])])
def test_top_cuts_after_sorting_and_only_the_rows(comparison: Comparison, top: int, left: list[int]) -> None:
    found = ordered(comparison, "lr", top)
    assert [row.point["train.lr"] for row in found.rows] == left
    assert replace(found, rows=comparison.rows) == comparison


@pytest.mark.parametrize(("sort", "near"), [("menn", " (nearest: mean)"), ("point", "")])
def test_an_unknown_column_is_refused(comparison: Comparison, sort: str, near: str) -> None:
    with pytest.raises(InputError) as error:
        ordered(comparison, sort, 1)
    assert str(error.value) == f"{sort}: no such column{near}; there are {', '.join([*COLUMNS, 'train.lr'])}"
