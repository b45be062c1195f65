"""The comparison that a run folder holds."""

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import Comparison
from bnexp.store.reader import RunRecord


def compare_run(
    run: RunRecord, *, metric: str | None = None, baseline: str | None = None, threshold: float = 0.9
) -> Comparison:
    """Compare the arms of a run; see compare_arms.

    Raises:
        InputError: no such metric or baseline in the run.
    """
    return compare_arms(
        run.trials,
        run.curves,
        grid_keys=run.config.swept,
        arms=tuple(run.config.arms),
        metric=metric,
        baseline=baseline,
        threshold=threshold,
    )
