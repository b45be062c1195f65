"""The comparison that run folders hold."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import ArmRow, Comparison, EvaluationRow
from bnexp.analysis.evaluations import PROBE, evaluation_rows
from bnexp.analysis.fairness import fairness
from bnexp.analysis.filters import filtered
from bnexp.analysis.joining import join
from bnexp.analysis.study import Study, is_number
from bnexp.errors import BnexpError
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
