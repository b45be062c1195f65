"""The comparison that run folders hold."""

from collections.abc import Sequence
from dataclasses import replace

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import Comparison
from bnexp.analysis.evaluations import PROBE, evaluation_rows
from bnexp.analysis.fairness import fairness
from bnexp.analysis.filters import filtered
from bnexp.analysis.joining import join
from bnexp.analysis.study import Study
from bnexp.store.reader import RunRecord


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
    comparison = replace(comparison, evaluations=evaluated, differs=study.differs, left_out=study.left_out)
    return replace(comparison, warnings=fairness(study, comparison))
