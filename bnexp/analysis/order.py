"""`--sort` and `--top`: the rows of a comparison from the best on."""

from dataclasses import fields, replace
from math import inf
from typing import Any

from bnexp.analysis.columns import full_key, is_number
from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.metrics import lower_is_better

SMALL_IS_GOOD = (
    "p",
    "diverged",
    "diverged_low",
    "diverged_high",
    "failed",
    "gap",
    "epochs_to_threshold",
    "restricted_epochs",
    "seconds_to_threshold",
    "seconds_per_epoch",
    "step_cost",
)
"""Columns of which the smallest comes first."""
OF_THE_METRIC = ("mean", "low", "high", "difference", "difference_low", "difference_high", "effect", "survivors_mean")
"""Columns that go the way of the metric: the smallest loss comes first, the largest accuracy."""


def ordered(comparison: Comparison, sort: str | None, top: int | None) -> Comparison:
    """Return the comparison with its rows sorted, the best first and unknown values last, and cut after `top`.

    Grid keys and names go upwards. Rows that are equal stay in their order.

    Raises:
        InputError: no such column.
    """
    rows = comparison.rows
    if sort is not None:
        columns = [field.name for field in fields(ArmRow) if field.name != "point"]
        column = full_key(sort, [*columns, *comparison.grid_keys])
        rows = tuple(sorted(rows, key=lambda row: _rank(row, column, _sign(column, comparison))))
    return replace(comparison, rows=rows[:top])


def _sign(column: str, comparison: Comparison) -> int:
    upwards = column in SMALL_IS_GOOD or column in comparison.grid_keys
    return 1 if upwards or (column in OF_THE_METRIC and lower_is_better(comparison.metric)) else -1


def _rank(row: ArmRow, column: str, sign: int) -> tuple[bool, float, str]:
    value: Any = row.point[column] if column in row.point else getattr(row, column)
    if value is None and column == "difference" and row.pairs and row.mean is not None:
        return False, -inf, ""  # the baseline's loss isn't finite, and the arm's is
    if value is None:
        return True, inf, ""
    return (False, sign * float(value), "") if is_number(value) else (False, 0.0, str(value))
