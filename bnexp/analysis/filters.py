"""Which rows to show: `--filter`, `--sort` and `--top`."""

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import fields, replace
from math import inf
from typing import Any, get_args

import pandas as pd

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.joining import with_trials
from bnexp.analysis.study import METRICS, Study, full_key, is_number, lower_is_better
from bnexp.errors import InputError, nearest
from bnexp.records import OutcomeKind

EXAMPLE = 'for example --filter "train.lr>0.1 and arm!=after"'
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
RESULTS = ("outcome", *METRICS)
"""Columns that are known only after training."""
WORDS = {"true": True, "false": False, "null": None}


def filtered(study: Study, condition: str) -> Study:
    """Return the study of the trials that meet a condition.

    Columns are `arm`, `seed`, `run`, `outcome`, grid keys (whole, or their last part) and metrics; they are
    compared with ==, !=, <, <=, >, >= or `in [...]`, joined by and, or, not and brackets. A word that is no
    column is a text: `arm!=after`.

    Raises:
        InputError: it can't be read, names no column, compares what has no order, or leaves no trial.
    """
    known = ("arm", "seed", "run", "outcome", *study.grid_keys, *METRICS)
    reader = _Reader(study.trials, known, condition)
    try:
        mask = reader.mask(ast.parse(condition.strip(), mode="eval").body)
    except SyntaxError as error:
        raise InputError(f"--filter {condition}: can't be read ({error.msg}); {EXAMPLE}") from None
    except (RecursionError, MemoryError):
        raise InputError(f"--filter {condition}: can't be read (too deeply nested); {EXAMPLE}") from None
    kept = study.trials[mask]
    if kept.empty:
        raise InputError(f"--filter {condition}: no trial is left of {len(study.trials)}")
    looked_at = tuple(name for name in RESULTS if name in reader.used)
    return replace(with_trials(study, kept.reset_index(drop=True)), chosen_by=looked_at)


class _Reader:
    """Turns a parsed condition into a column of booleans."""

    def __init__(self, trials: pd.DataFrame, known: tuple[str, ...], condition: str):
        self._trials, self._known, self._condition = trials, known, condition
        self.used: set[str] = set()
        """Columns that the condition names."""

    def mask(self, node: ast.expr) -> "pd.Series[bool]":
        """Return whether each trial meets the condition that a node says."""
        if isinstance(node, ast.BoolOp):
            masks = [self.mask(value) for value in node.values]
            join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            for other in masks[1:]:
                masks[0] = join(masks[0], other)
            return masks[0]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.mask(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            masks = [self._compared(a, op, b) for a, op, b in zip(sides, node.ops, sides[1:], strict=False)]
            return pd.concat(masks, axis=1).all(axis=1)
        raise self._refuse("expected a comparison")

    def _compared(self, left: ast.expr, comparison: ast.cmpop, right: ast.expr) -> "pd.Series[bool]":
        if not self._column(left) and not self._column(right):
            wrong = right if isinstance(right, ast.Name) and not isinstance(left, ast.Name) else left
            full_key(ast.unparse(wrong), self._known)  # raises, and names what is near
        a, b = self._side(left), self._side(right)
        self._check_texts(self._column(left) or self._column(right), b if self._column(left) else a)
        if isinstance(comparison, ast.In | ast.NotIn) and isinstance(b, list):
            inside: pd.Series[bool] = a.isin(b) | (a.isna() & (None in b))
            return inside if isinstance(comparison, ast.In) else ~inside
        if isinstance(comparison, ast.In | ast.NotIn) or isinstance(a, list) or isinstance(b, list):
            raise self._refuse(f"{ast.unparse(right)}: `in` takes a list, as in arm in [none, before]")
        if type(comparison) not in COMPARISONS:
            raise self._refuse("expected ==, !=, <, <=, >, >= or in")
        if (a is None or b is None) and isinstance(comparison, ast.Eq | ast.NotEq):
            blank: pd.Series[bool] = (b if a is None else a).isna()
            return blank if isinstance(comparison, ast.Eq) else ~blank
        if a is None or b is None:
            raise self._refuse("null has no order")
        try:
            result: pd.Series[bool] = COMPARISONS[type(comparison)](a, b)
        except TypeError:
            raise self._refuse(f"{ast.unparse(left)} and {ast.unparse(right)} have no order") from None
        return result

    def _check_texts(self, column: str | None, value: Any) -> None:
        """Refuse a text that the column never holds: a misspelt arm would select everything, or nothing."""
        if column is None or isinstance(value, pd.Series):
            return
        held = [*get_args(OutcomeKind)] if column == "outcome" else [*map(str, self._trials[column].dropna().unique())]
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and text not in held:
                raise self._refuse(f"{column} is never {text!r}{nearest(text, held)}; it is one of {', '.join(held)}")

    def _side(self, node: ast.expr) -> Any:
        column = self._column(node)
        self.used |= {column} if column else set()
        return self._trials[column] if column else self._value(node)

    def _column(self, node: ast.expr) -> str | None:
        if not isinstance(node, ast.Name | ast.Attribute):
            return None
        written = ast.unparse(node)
        ending = [key for key in self._known if key == written or key.endswith(f".{written}")]
        return full_key(written, self._known) if ending or "." in written else None

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.List | ast.Tuple):
            return [self._single(item) for item in node.elts]
        return self._single(node)

    def _single(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return WORDS.get(node.id, node.id)
        try:
            value = ast.literal_eval(node)
            if value is None or isinstance(value, str) or math.isfinite(value):  # a whole number may be too large
                return value
        except (ValueError, TypeError, OverflowError):
            pass
        raise self._refuse(f"{ast.unparse(node)}: expected a number, a text or a list")

    def _refuse(self, why: str) -> InputError:
        return InputError(f"--filter {self._condition}: {why}; {EXAMPLE}")


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
