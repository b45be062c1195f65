"""The ladder: where arms stand between no normalization and whole batch normalization, which they take apart."""

from dataclasses import replace
from typing import Any

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import BestRow, Comparison, Overall, Rung
from bnexp.analysis.study import Study, lower_is_better
from bnexp.config.norm import NormSettings

FEWEST_ARMS = 4
"""Between two arms and the baseline there is nothing to sort."""
FREE = {"placement", "addition", "input", "momentum", "eps", "statistics", "steps", "recurrent"}
"""Settings that may have any value in plain batch normalization."""
DIFFERENCE = ("difference", "difference_low", "difference_high", "p")
"""Fields that a rung takes over from both comparisons."""


def with_ladder(comparison: Comparison, study: Study) -> Comparison:
    """Return the comparison with a rung for each arm, the best first, where an arm is whole batch normalization."""
    full = whole_batch_norm(study)
    settings = study.settings.get(comparison.baseline)
    plain = settings is not None and settings.model.norm.kind == "none"
    if full is None or not plain or len(study.arms) < FEWEST_ARMS or not comparison.overall:
        return comparison
    to_full = compare_arms(study, metric=comparison.metric, baseline=full, threshold=comparison.threshold)
    rungs = [
        Rung(
            arm=row.arm,
            baseline=comparison.baseline,
            full=full,
            mean=row.mean,
            seeds=row.seeds,
            points=row.points,
            **_differences(row),
            **_differences(_of(row.arm, to_full.overall), "to_full_"),
            **_differences(_of(row.arm, comparison.best), "best_"),
            **_differences(_of(row.arm, to_full.best), "best_to_full_"),
        )
        for row in comparison.overall
    ]
    sign = 1 if lower_is_better(comparison.metric) else -1
    rungs.sort(key=lambda rung: (rung.mean is None, sign * (rung.mean or 0)))
    return replace(comparison, ladder=tuple(rungs))


def whole_batch_norm(study: Study) -> str | None:
    """Return the first arm with batch normalization of which nothing is changed or left out; None without one."""
    for arm, settings in study.settings.items():
        changed = {name for name, value in settings.model.norm if value != NormSettings.model_fields[name].default}
        if changed <= FREE and settings.model.norm.kind == "batch":
            return arm
    return None


def _of(arm: str, rows: tuple[Overall, ...] | tuple[BestRow, ...]) -> Overall | BestRow | None:
    return next((row for row in rows if row.arm == arm), None)


def _differences(row: Overall | BestRow | None, prefix: str = "") -> dict[str, Any]:
    return {prefix + name: getattr(row, name, None) for name in DIFFERENCE}
