"""The comparison of run folders: which runs and trials it is of, and which rows it shows."""

import ast
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cached_property, reduce
from math import inf
from typing import Any, TypeVar, get_args

import pandas as pd

from bnexp.analysis.compare import PROBE, compare_arms
from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.fairness import fairness
from bnexp.analysis.joining import join
from bnexp.analysis.ladder import with_ladder
from bnexp.analysis.sequential import with_sequence
from bnexp.analysis.study import METRICS, Study, full_key, is_number, lower_is_better
from bnexp.errors import BnexpError, InputError, nearest
from bnexp.records import OutcomeKind
from bnexp.store.reader import RunRecord

T = TypeVar("T")


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


def compare_run(run: RunRecord, *, metric: str | None = None, **options: Any) -> Comparison:
    """Compare the arms of a run; see compare_study."""
    return compare_study(study_of([run], metric=metric), metric=metric, **options)


def study_of(
    runs: Sequence[RunRecord], *, condition: str | None = None, metric: str | None = None, probed: bool = False
) -> Study:
    """Join the runs that have a metric, and keep the trials that meet a condition; see join and filtered.

    Raises:
        InputError: a damaged folder, no such metric, or a condition that can't be read or leaves no trial.
    """
    # Networks may have been evaluated with other statistics, too, while they trained or afterwards.
    evaluated = (PROBE in {probe.name for probe in run.config.probes} or not run.late_probes.empty for run in runs)
    study = join(runs, metric, probed=probed or any(evaluated))
    return study if condition is None else filtered(study, condition)


def one_by_one(
    comparisons: Sequence[Sequence[RunRecord]], make: Callable[[Sequence[RunRecord]], T], warn: Callable[[str], None]
) -> list[T]:
    """Return what a function makes of each comparison of runs; warn of those for which it fails.

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
    """Return the message of an error, with the type of one that is not our own."""
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
    """Compare the arms of a study, see compare_arms, and say where the tables could mislead.

    If only_changed, grid keys that have a single value are left out.
    """
    if by is None and only_changed:
        by = [key for key in study.grid_keys if study.trials[key].nunique(dropna=False) > 1]
    comparison = compare_arms(study, metric=metric, baseline=baseline, threshold=threshold, by=by)
    if len(study.runs) > 1:  # the runs' own order says nothing
        rows, evaluations = (_by_settings(found, comparison) for found in (comparison.rows, comparison.evaluations))
        comparison = replace(comparison, rows=rows, evaluations=evaluations)
    comparison = with_ladder(with_sequence(comparison, study), study)
    return replace(comparison, warnings=fairness(study, comparison))


def _by_settings(rows: Sequence[Any], comparison: Comparison) -> tuple[Any, ...]:
    """Return rows by their settings: numbers upwards, other values as they first come, arms as they stand."""
    order: dict[str, list[Any]] = {}
    for key in comparison.grid_keys:
        values = list(dict.fromkeys(row.point[key] for row in rows))
        order[key] = sorted(values) if all(map(is_number, values)) else values
    return tuple(sorted(rows, key=lambda row: [values.index(row.point[key]) for key, values in order.items()]))


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
    reader = _Reader(study, condition)
    try:
        mask = reader.mask(ast.parse(condition.strip(), mode="eval").body)
    except SyntaxError as error:
        equal = re.search(r"(?<![=!<>])=(?!=)", condition)
        raise reader.refusal(f"can't be read ({'write == for equal' if equal else error.msg})") from None
    except (RecursionError, MemoryError):
        raise reader.refusal("can't be read (too deeply nested)") from None
    kept = study.trials[mask]
    if kept.empty:
        raise InputError(f"--filter {condition}: no trial is left of {len(study.trials)}")
    trials, there, probes = kept.reset_index(drop=True), set(kept["arm"]), study.probes
    if probes is not None:
        probes = probes[probes["trial"].isin(trials["trial"])].reset_index(drop=True)
    return replace(
        study,
        trials=trials,
        curves=study.curves[study.curves["trial"].isin(trials["trial"])],
        arms=tuple(arm for arm in study.arms if arm in there),
        probes=None if probes is None or probes.empty else probes,
        chosen_by=tuple(name for name in RESULTS if name in reader.used),
    )


class _Reader:
    """Turns a parsed condition into a column of booleans; nothing that is written is run."""

    def __init__(self, study: Study, condition: str):
        self._trials, self._place = study.trials, f"--filter {condition}: "
        self._known = ("arm", "seed", "run", "outcome", *study.grid_keys, *METRICS)
        self.used: set[str] = set()
        """Columns that the condition names."""

    def refusal(self, why: str) -> InputError:
        """Return the error that names the condition and what is wrong with it."""
        return InputError(f"{self._place}{why}; {EXAMPLE}")

    def mask(self, node: ast.expr) -> "pd.Series[bool]":
        """Return whether each trial meets the condition that a node says."""
        if isinstance(node, ast.BoolOp):
            joined = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            return reduce(joined, map(self.mask, node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.mask(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return reduce(operator.and_, map(self._compared, sides, node.ops, sides[1:]))
        raise self.refusal("expected a comparison")

    def _compared(self, left: ast.expr, comparison: ast.cmpop, right: ast.expr) -> "pd.Series[bool]":
        column = self._column(left) or self._column(right)
        if not column:
            wrong = right if isinstance(right, ast.Name) and not isinstance(left, ast.Name) else left
            full_key(ast.unparse(wrong), self._known, self._place)  # raises, and names what is near
        a, b = self._operand(left, column), self._operand(right, column)
        among = isinstance(comparison, ast.In | ast.NotIn)
        if isinstance(a, list) or among != isinstance(b, list):
            raise self.refusal(f"{ast.unparse(right)}: `in` takes a list, as in arm in [none, before]")
        if not among and type(comparison) not in COMPARISONS:
            raise self.refusal("expected ==, !=, <, <=, >, >= or in")
        null = a is None or b is None
        if among or (null and isinstance(comparison, ast.Eq | ast.NotEq)):
            column_, values = (b, [None]) if a is None else (a, b if among else [None])
            found: pd.Series[bool] = column_.isin(values) | (column_.isna() & (None in values))
            return ~found if isinstance(comparison, ast.NotIn | ast.NotEq) else found
        try:
            if null:
                raise TypeError
            result: pd.Series[bool] = COMPARISONS[type(comparison)](a, b)
        except TypeError:
            raise self.refusal(f"{ast.unparse(left)} and {ast.unparse(right)} have no order") from None
        return result

    def _column(self, node: ast.expr) -> str | None:
        if not isinstance(node, ast.Name | ast.Attribute):
            return None
        written = ast.unparse(node)
        ending = [key for key in self._known if key == written or key.endswith(f".{written}")]
        return full_key(written, self._known, self._place) if ending or "." in written else None

    def _operand(self, node: ast.expr, compared: str | None) -> Any:
        """Return a column, or a value or a list of values that a column is compared with."""
        if column := self._column(node):
            self.used.add(column)
            return self._trials[column]
        if isinstance(node, ast.List | ast.Tuple):
            return [self._value(item, compared) for item in node.elts]
        return self._value(node, compared)

    def _value(self, node: ast.expr, compared: str | None) -> Any:
        try:
            value = WORDS.get(node.id, node.id) if isinstance(node, ast.Name) else ast.literal_eval(node)
            if isinstance(value, str):
                self._check_text(value, str(compared))
            if value is None or isinstance(value, str) or math.isfinite(value):  # a whole number may be too large
                return value
        except (ValueError, TypeError, OverflowError):
            pass
        raise self.refusal(f"{ast.unparse(node)}: expected a number, a text or a list")

    def _check_text(self, text: str, column: str) -> None:
        """Refuse a text that the column never holds: a misspelt arm would select everything, or nothing."""
        held = [*get_args(OutcomeKind)] if column == "outcome" else [*map(str, self._trials[column].dropna().unique())]
        if text not in held:
            raise self.refusal(f"{column} is never {text!r}{nearest(text, held)}; it is one of {', '.join(held)}")


SMALL_IS_GOOD = (
    "deviation",
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
"""Columns that are sorted with the smallest first."""
OF_THE_METRIC = ("mean", "low", "high", "difference", "difference_low", "difference_high", "effect", "survivors_mean")
"""Columns that are sorted like the metric: the smallest loss first, or the largest accuracy."""


def ordered(comparison: Comparison, sort: str | None, top: int | None) -> Comparison:
    """Return the comparison with its rows sorted, the best first and unknown values last, and cut after `top`.

    Grid keys and names go upwards. Rows that are equal stay in their order.

    Raises:
        InputError: no such column.
    """
    if sort is None:
        return replace(comparison, rows=comparison.rows[:top])
    columns = [field.name for field in fields(ArmRow) if field.name != "point"]
    column = full_key(sort, [*columns, *comparison.grid_keys], "--sort ")
    upwards = column in SMALL_IS_GOOD or column in comparison.grid_keys
    upwards = upwards or (column in OF_THE_METRIC and lower_is_better(comparison.metric))

    def rank(row: ArmRow) -> tuple[bool, float, str]:
        value: Any = row.point[column] if column in row.point else getattr(row, column)
        if value is None:
            # If the baseline's loss isn't finite and the arm's is, that is the best difference.
            best = column == "difference" and row.pairs and row.mean is not None
            return not best, -inf, ""
        return (False, float(value) * (1 if upwards else -1), "") if is_number(value) else (False, 0.0, str(value))

    return replace(comparison, rows=tuple(sorted(comparison.rows, key=rank)[:top]))
