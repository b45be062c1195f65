"""What every arm chose on validation images, and where a choice lies at the end of what was tried."""

from collections.abc import Iterator

import pandas as pd

from bnexp.analysis.best import CHOSEN_BY, best_point, edges
from bnexp.analysis.pairing import FINISHED
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.stages import choosing
from bnexp.config.sweep import points
from bnexp.config.tuning import Choice
from bnexp.errors import BnexpError
from bnexp.store.reader import RunRecord


def choose(config: ExperimentConfig, run: RunRecord) -> tuple[Choice, ...]:
    """Return what each arm chooses at each grid point: the highest mean validation accuracy over the tuning seeds.

    Diverged trials count with the accuracy that they ended with. Of equally good values the first is taken.

    Args:
        config: the experiment with `tune:`.
        run: the finished run of `choosing(config)`.

    Raises:
        BnexpError: an arm has no finished trial to choose from.
    """
    stage = choosing(config)
    tried, results = stage.points(), _results(stage, run)
    found = []
    for point in config.points():
        here = [number for number, each in enumerate(tried) if all(each[key] == value for key, value in point.items())]
        for arm in config.arms:
            best = best_point(results[(results["arm"] == arm) & results["point"].isin(here)])
            if best is None:
                raise BnexpError(f"{run.path}: no trial of {arm} has finished, so there is nothing to choose from")
            values = {key: tried[best][key] for key in config.tune.grid}
            found.append(Choice(arm=arm, point=point, values=values))
    return tuple(found)


def choices_at_edges(config: ExperimentConfig) -> Iterator[tuple[Choice, str]]:
    """Yield every choice whose value of a key is an end of those that were tried, and the key."""
    tried = points(config.tune.grid, {})
    for choice in config.tuned:
        yield from ((choice, key) for key in edges(tried, choice.values))


def choices_text(config: ExperimentConfig) -> str:
    """Say in one line what was chosen, and what of it is an end of what was tried."""
    edges = [(choice, key) for choice, key in choices_at_edges(config)]
    return "; ".join(
        " ".join(
            [
                choice.arm,
                *(f"at {key} {value}" for key, value in choice.point.items()),
                *(f"{key} {value}{' (edge)' * ((choice, key) in edges)}" for key, value in choice.values.items()),
            ]
        )
        for choice in config.tuned
    )


def _results(stage: ExperimentConfig, run: RunRecord) -> pd.DataFrame:
    """Return `arm`, `point`, the number of the grid point, and `chosen_by` of every finished trial."""
    trials = run.trials[run.trials["outcome"].isin(FINISHED) & run.trials[CHOSEN_BY].notna()]
    per_point = len(stage.arms) * len(stage.seeds)  # trials are numbered grid point by grid point
    return trials.assign(point=trials["trial"] // per_point, chosen_by=trials[CHOSEN_BY])
