"""What every arm chose on validation images, and where a choice lies at the end of what was tried."""

from collections.abc import Iterator

import pandas as pd

from bnexp.analysis.best import CHOSEN_BY, best_point, edges
from bnexp.analysis.pairing import FINISHED
from bnexp.analysis.thresholds import first_reached
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.stages import choosing
from bnexp.config.sweep import points
from bnexp.config.tuning import Choice, TuneSettings
from bnexp.errors import BnexpError
from bnexp.store.reader import RunRecord


def choose(config: ExperimentConfig, run: RunRecord) -> tuple[Choice, ...]:
    """Return what each arm chooses at each grid point: what is best on validation images over the tuning seeds.

    The highest mean accuracy at the end, diverged trials with what they ended with; or the fewest steps to a
    threshold, as `tune.by` says. Of equally good values the first is taken.

    Args:
        config: the experiment with `tune:`.
        run: the finished run of `choosing(config)`.

    Raises:
        BnexpError: an arm has no finished trial to choose from.
    """
    stage = choosing(config)
    tried, results = stage.points(), _results(stage, run, config.tune)
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


def _results(stage: ExperimentConfig, run: RunRecord, tune: TuneSettings) -> pd.DataFrame:
    """Return of every finished trial `arm`, `point`, the grid point's number, and `chosen_by`, the more the better."""
    trials = run.trials[run.trials["outcome"].isin(FINISHED) & run.trials[CHOSEN_BY].notna()]
    per_point = len(stage.arms) * len(stage.seeds)  # trials are numbered grid point by grid point
    chosen_by = trials[CHOSEN_BY] if tune.by == "accuracy" else -_steps_to(trials, run.curves, tune.threshold)
    return trials.assign(point=trials["trial"] // per_point, chosen_by=chosen_by)


def _steps_to(trials: pd.DataFrame, curves: pd.DataFrame, threshold: float) -> pd.Series:
    """Return each trial's steps to a validation accuracy; of those that never got there, or diverged, the longest."""
    there = first_reached(curves, "val_accuracy", threshold)["step"].reindex(trials["trial"])
    there = there.mask((trials["outcome"] == "diverged").to_numpy()).fillna(curves["step"].max())
    return there.set_axis(trials.index)
