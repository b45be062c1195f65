"""The comparison of run folders: which runs and trials it is of, and which rows it shows."""

import ast
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cached_property
from math import inf
from typing import Any, TypeVar, get_args

import pandas as pd

from bnexp.analysis.compare import PROBE, compare_arms, evaluation_rows
from bnexp.analysis.comparison import ArmRow, Comparison, EvaluationRow
from bnexp.analysis.fairness import fairness
from bnexp.analysis.joining import join, with_trials
from bnexp.analysis.study import METRICS, Study, full_key, is_number, lower_is_better
from bnexp.errors import BnexpError, InputError, nearest
from bnexp.records import OutcomeKind
from bnexp.store.reader import RunRecord

T = TypeVar("T")
Row = TypeVar("Row", ArmRow, EvaluationRow)


class ComparedRun(RunRecord):
    """A run folder with the comparison of its arms, which is made once."""

    @cached_property
    def study(self) -> Study:
        """Its trials."""
        return study_of([self])

    @cached_property
    def comparison(self) -> Comparison:
        """The comparison that the run folder's summary shows."""
        return compare_study(self.study)


def compare_run(
    run: RunRecord, *, metric: str | None = None, baseline: str | None = None, threshold: float = 0.9
) -> Comparison:
    """Compare the arms of a run; see compare_arms.

    Raises:
        InputError: no such metric or baseline in the run.
    """
    return compare_study(study_of([run], metric=metric), metric=metric, baseline=baseline, threshold=threshold)


def study_of(
    runs: Sequence[RunRecord], *, condition: str | None = None, metric: str | None = None, probed: bool = False
) -> Study:
    """Join the runs that have a metric, and keep the trials that meet a condition; see join and filtered.

    Raises:
        InputError: a damaged folder, no such metric, or a condition that can't be read or leaves no trial.
    """
    study = join(runs, metric, probed=probed or any(map(_evaluated, runs)))
    return study if condition is None else filtered(study, condition)


def _evaluated(run: RunRecord) -> bool:
    """Whether a run's networks were evaluated with other statistics, too, while they trained or afterwards."""
    return any(probe.name == PROBE for probe in run.config.probes) or not run.late_probes.empty


def one_by_one(
    comparisons: Sequence[Sequence[RunRecord]], make: Callable[[Sequence[RunRecord]], T], warn: Callable[[str], None]
) -> list[T]:
    """Return what a function makes of each; runs that it fails for are left out with a warning.

    Args:
        comparisons: the runs that are compared with each other.
        make: turns them into a result.
        warn: told what is left out, and why.

    Raises:
        InputError: nothing can be made of any.
        OSError: the machine refuses what the function writes.
    """
    made: list[T] = []
    failed: list[tuple[str, Exception]] = []
    for runs in comparisons:
        try:
            made.append(make(runs))
        except OSError:
            raise
        except Exception as error:  # whatever one folder holds, the others are shown
            failed.append((", ".join(run.path.name for run in runs), error))
    if failed and not made:
        raise failed[-1][1]
    for name, why in failed:
        warn(f"left out: {name}: {reason(why)}")
    return made


def reason(error: Exception) -> str:
    """Return what an error says; of one that nobody wrote a message for also what it is."""
    return str(error) if isinstance(error, BnexpError) else f"{type(error).__name__}: {error}"


def compare_study(
    study: Study,
    *,
    metric: str | None = None,
    baseline: str | None = None,
    threshold: float = 0.9,
    by: Sequence[str] | None = None,
    only_changed: bool = False,
) -> Comparison:
    """Compare the arms of a study; see compare_arms.

    Args:
        study: the trials.
        metric, baseline, threshold, by: see compare_arms.
        only_changed: leave out grid keys that have a single value.

    Raises:
        InputError: no such metric, baseline or key.
    """
    if by is None and only_changed:
        by = [key for key in study.grid_keys if study.trials[key].nunique(dropna=False) > 1]
    comparison = compare_arms(
        study.trials,
        study.curves,
        grid_keys=study.grid_keys,
        arms=study.arms,
        metric=metric,
        baseline=baseline,
        threshold=threshold,
        by=by,
        chance=study.chance,
    )
    evaluated = evaluation_rows(study, comparison.grid_keys, comparison.baseline)
    if len(study.runs) > 1:  # the runs' own order says nothing
        comparison = replace(comparison, rows=tuple(_by_settings(comparison.rows, comparison.grid_keys)))
        evaluated = tuple(_by_settings(evaluated, comparison.grid_keys))
    comparison = replace(
        comparison,
        evaluations=evaluated,
        tuned=bool(study.tuning),
        differs=study.differs,
        left_out=study.left_out,
        labels=study.labels,
    )
    return replace(comparison, warnings=fairness(study, comparison))


def _by_settings(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """Return rows by their settings: numbers upwards, other values as they first come, arms as they stand."""
    found = list(rows)
    for key in reversed(keys):
        values = [row.point[key] for row in rows]
        if all(map(is_number, values)):
            found.sort(key=lambda row: row.point[key])
        else:
            found.sort(key=lambda row: values.index(row.point[key]))
    return found


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
