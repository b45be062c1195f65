"""What stands beside a verdict: both arms over all grid points or at each, and what every arm chose."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bnexp.analysis.comparison import ArmRow
from bnexp.analysis.measures import measured
from bnexp.analysis.metrics import choose_metric
from bnexp.analysis.pairing import cells, grid_points, pair_trials, point_numbers
from bnexp.analysis.rows import arm_row
from bnexp.analysis.study import Study
from bnexp.analysis.tuning import choices_at_edges
from bnexp.config.experiment import ExperimentConfig

RATE = "train.lr"
"""What is told of every arm, chosen or not."""


@dataclass(frozen=True)
class Chosen:
    """A value of one setting that an arm chose, or that it was given."""

    arm: str
    point: Mapping[str, Any]
    """Values of the swept settings; empty where nothing was chosen."""
    key: str
    value: Any
    at_edge: bool = False
    """Whether it is the end of what was tried."""


def chosen(config: ExperimentConfig, arms: Sequence[str]) -> Iterator[Chosen]:
    """Yield what arms chose at each grid point; where nothing is tuned, their learning rates, each once."""
    if not config.tuned:
        for arm in arms:
            rates = dict.fromkeys(config.settings(arm, point).train.lr for point in config.points())
            yield from (Chosen(arm, {}, RATE, rate) for rate in rates)
        return
    edges = list(choices_at_edges(config))
    for arm in arms:
        for each in (choice for choice in config.tuned if choice.arm == arm):
            for key, value in each.values.items():
                yield Chosen(arm, each.point, key, value, (each, key) in edges)


def rows_against(
    study: Study, baseline: str, *, threshold: float = 0.9, by: Sequence[str] = ()
) -> tuple[str, tuple[ArmRow, ...]]:
    """Return the metric that trials are compared by, and a row for each arm, over all grid points or by some keys.

    Args:
        study: the trials.
        baseline: the arm that the others are compared to.
        threshold: an accuracy.
        by: the grid keys that get rows of their own.
    """
    metric, trials = choose_metric(study.trials), study.trials
    measures = measured(trials, study.curves, metric, threshold)
    paired = pair_trials(trials, measures, grid_keys=study.grid_keys, baseline=baseline)
    paired["budget"] = paired.groupby("point")["epochs"].transform("max")
    points, places = grid_points(trials, by), point_numbers(trials, by)
    return metric, tuple(arm_row(cell, points[place], baseline, metric) for place, cell in cells(paired, places))
