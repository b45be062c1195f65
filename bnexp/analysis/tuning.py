"""What every arm chose on validation images, and where a choice lies at the end of what was tried."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.conditions import Cell, Condition
from bnexp.analysis.pairing import FINISHED, balanced
from bnexp.analysis.stats import first_reached
from bnexp.analysis.sweeps import best_point, edges
from bnexp.config.experiment import Choice, ExperimentConfig, TuneSettings, search_config
from bnexp.config.sweep import Point, points
from bnexp.config.text import counted, listed
from bnexp.errors import BnexpError
from bnexp.store.reader import RunRecord

CHOSEN_BY = "final_val_accuracy"
"""What `tune.by: accuracy` looks at."""


def choose(config: ExperimentConfig, run: RunRecord) -> tuple[Choice, ...]:
    """Return what each arm chooses at each grid point, from the finished run of `search_config(config)`.

    The highest mean accuracy at the end, diverged trials with what they ended with; or the fewest steps to a
    threshold, as `tune.by` says. The means are over the tuning seeds that finished with all values that were tried;
    see best_point. Of equally good values, and of values with which an arm trains the same, the first is taken.

    Raises:
        BnexpError: an arm has no finished trial to choose from.
    """
    stage = search_config(config)
    tried, results = stage.points(), _results(stage, run, config.tune)
    found = []
    for point in config.points():
        here = [number for number, each in enumerate(tried) if all(each[key] == value for key, value in point.items())]
        for arm in config.arms:
            first = _first_of_equals(stage, arm, {number: tried[number] for number in here})
            finished = results[(results["arm"] == arm) & results["point"].isin(here)]
            finished = finished.assign(point=finished["point"].map(first)).drop_duplicates(["point", "seed"])
            candidates = balanced(finished)
            best = best_point(candidates, "chosen_by")
            if best is None:
                raise BnexpError(f"{run.path}: no trial of {arm} has finished, so there is nothing to choose from")
            values = {key: tried[best.point][key] for key in config.tune.grid}
            left_out = len(set(first.values())) - len(best.candidates)
            how = {"left_out": left_out, "seeds": best.seeds, **_how_close(candidates, best.point)}
            found.append(Choice(arm=arm, point=point, values=values, **how))
    return tuple(found)


def _results(stage: ExperimentConfig, run: RunRecord, tune: TuneSettings) -> pd.DataFrame:
    """Return of every finished trial `arm`, `point`, the grid point's number, and `chosen_by`, the more the better."""
    trials = run.trials[run.trials["outcome"].isin(FINISHED) & run.trials[CHOSEN_BY].notna()]
    per_point = len(stage.arms) * len(stage.seeds)  # trials are numbered grid point by grid point
    chosen_by = trials[CHOSEN_BY]
    if tune.by != "accuracy":  # steps; those that never got there, or diverged, take the longest
        there = first_reached(run.curves, "val_accuracy", tune.threshold)["step"].reindex(trials["trial"])
        there = there.set_axis(trials.index).mask(trials["outcome"] == "diverged")
        chosen_by = -there.fillna(run.curves["step"].max())
    return trials.assign(point=trials["trial"] // per_point, chosen_by=chosen_by)


def _first_of_equals(config: ExperimentConfig, arm: str, tried: Mapping[int, Point]) -> dict[int, int]:
    """Return for each grid point, by its number, the first one at which the arm trains the same."""
    first: dict[str, int] = {}
    found = {}
    for number, point in tried.items():
        _, identity = Cell(Condition(0, point, config.base), arm, config.arms[arm]).effects(config.grid)
        found[number] = first.setdefault(identity, number)
    return found


def _how_close(candidates: pd.DataFrame, best: int) -> dict[str, Any]:
    """Return how many values were tried, how many tie with the best, and how far it leads the best that doesn't tie.

    A value ties if it is behind by at most one standard error of the difference. With one seed there is no such error,
    so ties aren't known, and the lead is over the second best.
    """
    by_value = candidates.groupby("point")["chosen_by"].agg(["mean", "sem"])
    behind = (by_value["mean"][best] - by_value["mean"]).to_numpy()
    error = np.hypot(by_value["sem"][best], by_value["sem"]).to_numpy()
    known, itself = bool(np.isfinite(error).all()), (by_value.index == best)
    ties = itself | (known & (behind <= error))
    return {
        "tried": len(by_value),
        "ties": int(ties.sum()) if known else None,
        "lead": None if ties.all() else float(behind[~ties].min()),
    }


def tuning_noise(config: ExperimentConfig, arms: Mapping[str, str]) -> str:
    """Say in one line how sure the choices are: the tuning seeds, and how close others came; empty if none was made.

    `arms` has the names to show, by the names of the arms in the experiment.
    """
    if not config.tuned:
        return ""
    seeds, keys = counted(len(config.tune.seeds), "tuning seed"), listed(config.tune.grid)
    close = {shown: _ties([each for each in config.tuned if each.arm == arm], config) for arm, shown in arms.items()}
    known = "; ".join(f"{arm}: {text}" for arm, text in close.items() if text)
    return (
        f"each arm chose its {keys} with {seeds}, and the noise of that choice is not in the interval "
        f"({known or 'how close the choice was is not recorded'})"
    )


def _ties(choices: Sequence[Choice], config: ExperimentConfig) -> str:
    """Say what chose, how many values tie with the best and how far the next one is, as ranges over the grid points."""
    if len(points(config.tune.grid, {})) > 1 and all((each.tried, each.left_out) == (1, 0) for each in choices):
        return "nothing to choose, as it trains the same with every value"
    planned, said, lost = len(config.tune.seeds), [], []
    seeds, ties, leads = ({getattr(each, name) for each in choices} - {None} for name in ("seeds", "ties", "lead"))
    counts = [(each.tried, each.tried + each.left_out) for each in choices if each.tried and each.left_out is not None]
    if any(tried < every for tried, every in counts):
        compared, every = zip(*counts, strict=True)
        lost.append(f"from {_range(compared)} of {_range(every)} values")
    if any(count < planned for count in seeds):
        lost.append(f"by {_range(seeds)} of {planned} seeds")
    if lost:
        said.append(f"chosen {' '.join(lost)} because trials failed")
    if ties:
        tried = [each.tried for each in choices]
        among = f"{_range(tried)} {'value' if set(tried) == {1} else 'values'}"
        said.append(f"no tie among {among}" if ties == {1} else f"{_range(ties)} of {among} tie for the best")
    if leads:
        lead = _range(leads, ".3f") if config.tune.by == "accuracy" else f"{_range(leads, '.0f')} steps"
        said.append(f"the next is {lead} behind")
    return ", ".join(said)


def _range(values: Collection[Any], form: str = "") -> str:
    return " to ".join(dict.fromkeys(format(end, form) for end in (min(values), max(values))))


def choices_at_edges(config: ExperimentConfig) -> Iterator[tuple[Choice, str]]:
    """Yield every choice whose value of a key is an end of those that were tried, and the key."""
    tried = points(config.tune.grid, {})
    for choice in config.tuned:
        yield from ((choice, key) for key in edges(tried, _active(config, choice)))


def _active(config: ExperimentConfig, choice: Choice) -> Point:
    """Return the chosen values that have an effect on the arm."""
    condition = Condition(0, {**choice.point, **choice.values}, config.base)
    inactive, _ = Cell(condition, choice.arm, config.arms[choice.arm]).effects(config.tune.grid)
    return {key: value for key, value in choice.values.items() if key not in inactive}


def choices_text(config: ExperimentConfig) -> str:
    """Say in one line what was chosen, and what of it is an end of what was tried."""
    ends = [(choice, key) for choice, key in choices_at_edges(config)]
    texts = []
    for choice in config.tuned:
        values = _active(config, choice)
        chosen = [f"{key} {value}{' (edge)' * ((choice, key) in ends)}" for key, value in values.items()]
        texts.append(" ".join([choice.arm, *(f"at {key} {value}" for key, value in choice.point.items()), *chosen]))
    return "; ".join(texts)
