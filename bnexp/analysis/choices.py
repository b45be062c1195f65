"""What arms choose on validation images: a grid point, which the metric then measures, and settings that are tuned."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nextafter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bnexp.analysis.comparison import BestRow
from bnexp.analysis.conditions import Cell, Condition
from bnexp.analysis.halving import STOPPED
from bnexp.analysis.pairing import FINISHED, INACTIVE, balanced, grid_points, paired_fields
from bnexp.analysis.stats import ROUNDING, first_reached, mean_interval
from bnexp.analysis.study import Study, bounds, chosen_by, is_number, lower_is_better, units
from bnexp.config.experiment import ExperimentConfig, searches
from bnexp.config.keys import is_key
from bnexp.config.sweep import Point
from bnexp.config.text import counted, listed
from bnexp.config.trial import TrialSettings, with_changes
from bnexp.config.tuning import Choice, TuneSettings
from bnexp.errors import BnexpError
from bnexp.store.reader import RunRecord

FEWEST_VALUES = 3
"""If an axis has fewer values, a choice at its end doesn't suggest that the best lies beyond."""


@dataclass(frozen=True)
class Best:
    """The grid point that an arm's trials choose."""

    point: int
    candidates: tuple[int, ...]
    """Grid points that were compared, in their order."""
    seeds: int
    """Seeds that finished all candidates: those that chose."""
    score: float
    """Their mean at the chosen point."""


def best_rows(paired: pd.DataFrame, study: Study, baseline: str, metric: str) -> Iterator[BestRow]:
    """Yield a row per arm; none with a single grid point, or without validation images beside those that measure.

    Grid points at which an arm trains the same are one candidate.
    """
    points, lower = grid_points(paired, study.grid_keys), lower_is_better(metric)
    if len(points) < 2 or chosen_by(metric) is None:
        return
    paired = paired.assign(point=paired["candidate"])
    usable = paired[paired["finished"] & paired["validation"].notna() & (lower | paired["value"].notna())]
    once = usable.drop_duplicates(["arm", "point", "seed"])
    tried = {arm: once[once["arm"] == arm] for arm in study.arms}
    best = {arm: found for arm in study.arms if (found := best_point(tried[arm], "validation", lower=lower))}
    at_best = {arm: tried[arm][tried[arm]["point"] == found.point].set_index("seed") for arm, found in best.items()}
    for arm, found in best.items():
        mine, other = at_best[arm]["value"], at_best.get(baseline, once[:0])["value"]
        seeds = mine.index.intersection(other.index) if arm != baseline else mine.index[:0]
        values, treated, partners = (_by_unit(study, each) for each in (mine, mine[seeds], other[seeds]))
        yield BestRow(
            arm=arm,
            baseline=baseline,
            point=points[found.point],
            n=len(values),
            **vars(mean_interval(values, bounds(metric))),
            pairs=len(treated),
            **paired_fields(treated, partners, metric),
            **_choice(found, paired[paired["arm"] == arm], tried[arm], points),
        )


def _by_unit(study: Study, values: "pd.Series[float]") -> NDArray[np.float64]:
    """Return the mean of the values of each unit (seed or tuning study); see units."""
    return values.groupby(units(study, values.index)).mean(skipna=False).to_numpy()


def best_point(trials: pd.DataFrame, score: str, *, lower: bool = False) -> Best | None:
    """Return the `point` with the best mean of a column, over the seeds that finished all points; None without trials.

    Seeds that lack a point can't compare it with the others. If fewer than two seeds have all points, the points that
    the fewest seeds finished are no candidates; see `complete`. Of equal points the first is taken.
    """
    if trials.empty:
        return None
    whole = balanced(trials)
    means = whole.groupby("point")[score].mean()
    best, points = int(means.argmin() if lower else means.argmax()), means.index.to_numpy(dtype=int)
    return Best(int(points[best]), tuple(points.tolist()), whole["seed"].nunique(), float(means.iloc[best]))


def _choice(
    found: Best, mine: pd.DataFrame, tried: pd.DataFrame, points: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the fields of a row about its choice, from an arm's trials and those that were compared."""
    inactive = dict(zip(mine["point"], mine[INACTIVE], strict=True))
    shown = {
        number: {key: value for key, value in points[number].items() if key not in inactive[number]}
        for number in sorted(inactive)
    }
    excluded = [point for number, point in shown.items() if number not in found.candidates]
    without = [set(keys) for keys in tried[INACTIVE].drop_duplicates()]
    return {
        "inactive": tuple(tried.loc[tried["point"] == found.point, INACTIVE].iloc[0]),
        "partly_inactive": tuple(sorted(set().union(*without) - set(without[0]).intersection(*without))),
        "validation": found.score if isfinite(found.score) else None,
        "candidates": len(found.candidates),
        "excluded": tuple(", ".join(f"{key} {value}" for key, value in point.items()) for point in excluded),
        "seeds": found.seeds,
        "seeds_left_out": tried["seed"].nunique() - found.seeds,
        "epochs": int(tried.drop_duplicates("training")["epochs"].sum()),
        "edges": tuple(edges([shown[number] for number in found.candidates], shown[found.point])),
    }


def edges(tried: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys whose chosen value is the smallest or the largest of the FEWEST_VALUES or more that were tried.

    If the setting can't be smaller, or larger, nothing lies beyond, so the value is no edge.
    """
    for key, value in chosen.items():
        values = {point[key] for point in tried if key in point}
        if len(values) < FEWEST_VALUES or not all(map(is_number, values)):
            continue
        beyond = {min(values): -1, max(values): 1}.get(value)
        if beyond and _allowed(key, value + beyond if isinstance(value, int) else nextafter(value, beyond * inf)):
            yield key


def _allowed(key: str, value: float) -> bool:
    try:
        with_changes(TrialSettings(), {key: value})
    except ValueError:
        return not is_key(TrialSettings, key)
    return True


CHOSEN_BY = "final_val_accuracy"
"""The result that `tune.by: accuracy` compares."""


def choose(config: ExperimentConfig, *runs: RunRecord) -> tuple[Choice, ...]:
    """Return what each arm chooses at each grid point, from the finished runs of `searches(config)`.

    The best mean is the highest accuracy at the end (also of diverged trials) or the fewest steps to a threshold, as
    `tune.by` says. The means are over the tuning seeds that finished with all values; see balanced. Of the values that
    tie with the best, see tied, and have no more diverged trials, the smallest is taken: the first in ascending order,
    by the first key that is tuned, then by the second, and so on. Values that aren't numbers keep their order in the
    list. Several values with which an arm trains the same count as the first of them. Every study of `tune.studies`
    chooses for itself.

    Raises:
        BnexpError: an arm has no finished trial to choose from.
    """
    found = []
    for search in each_search(config, *runs):
        if search.candidates.empty:
            path, arm = search.run.path, search.arm
            raise BnexpError(f"{path}: no trial of {arm} has finished, so there is nothing to choose from")
        order = [_order(each, config.tune.options) for each in search.combinations]
        number, how = _chosen(search.candidates, order.__getitem__)
        how["left_out"] = search.planned - how["tried"] - search.stopped
        how |= {"stopped": search.stopped, "epochs": search.epochs}
        values = {key: search.combinations[number][key] for key in config.tune.options}
        found.append(Choice(arm=search.arm, point=search.point, study=search.study, values=values, **how))
    return tuple(found)


@dataclass(frozen=True)
class Search:
    """What one arm tried in one study of a tuning, at one grid point of the experiment."""

    arm: str
    point: Point
    study: int
    run: RunRecord
    """The run in which it tried them."""
    combinations: list[Point]
    """Every grid point of that run."""
    planned: int
    """How many of them belong to this search; several with which the arm trains the same count once."""
    stopped: int
    """How many of these halving stopped early, with all their tuning seeds."""
    epochs: int
    """Epochs that all trials of this search trained."""
    candidates: pd.DataFrame
    """The finished trials of those that can be compared, each with the same tuning seeds; see balanced. `point` is the
    number of the combination, and `chosen_by` what is compared: the larger, the better."""


def each_search(config: ExperimentConfig, *runs: RunRecord) -> Iterator[Search]:
    """Yield what each arm tried at each grid point and in each study, from the runs of `searches(config)`."""
    stages = [
        (run, stage, stage.points(), _results(stage, run, config.tune))
        for run, stage in zip(runs, searches(config), strict=True)
    ]
    for point in config.points():
        for arm in config.arms:
            tried = [_tried(config, stage, arm, point, results) for _, stage, _, results in stages]
            for study in range(config.tune.studies):
                run, _, combinations, _ = stages[study % len(stages)]  # one for each study, or for all
                ended, planned = tried[study % len(stages)]
                mine = ended[ended["seed"].isin(config.tune.seeds_of(study))]
                stopped = set(mine.loc[mine["outcome"] == STOPPED, "point"])
                candidates = balanced(mine[~mine["point"].isin(stopped)])
                epochs = int(mine["epochs"].sum())
                yield Search(arm, point, study, run, combinations, planned, len(stopped), epochs, candidates)


def _tried(
    config: ExperimentConfig, stage: ExperimentConfig, arm: str, point: Point, results: pd.DataFrame
) -> tuple[pd.DataFrame, int]:
    """Return the results of an arm at a grid point, and how many different trainings it tried there.

    If the arm trains the same with several combinations, only the results of the first are returned.
    """
    tried, axes = stage.points(), {**config.grid, **config.tune.options}
    here = [number for number, each in enumerate(tried) if point.items() <= each.items()]
    trainings = pd.Series({number: _effects(stage, arm, tried[number], axes)[1] for number in here})
    first = trainings.index.to_series().groupby(trainings).transform("min")
    mine = results[(results["arm"] == arm) & results["point"].isin(here)]
    return mine.assign(point=mine["point"].map(first)).drop_duplicates(["point", "seed"]), first.nunique()


def _results(stage: ExperimentConfig, run: RunRecord, tune: TuneSettings) -> pd.DataFrame:
    """Return the trials that finished or were stopped.

    They have `point`, the grid point's number, `epochs` that they trained, and `chosen_by`: the larger, the better.
    """
    trials = run.trials[run.trials["outcome"].isin((*FINISHED, STOPPED)) & run.trials[CHOSEN_BY].notna()]
    per_point = len(stage.arms) * len(stage.seeds)  # trials are numbered grid point by grid point
    chosen_by = trials[CHOSEN_BY]
    if tune.by != "accuracy":  # steps; those that never got there, or diverged, take the longest
        there = first_reached(run.curves, "val_accuracy", tune.threshold)["step"].reindex(trials["trial"])
        there = there.set_axis(trials.index).mask(trials["outcome"] == "diverged")
        chosen_by = -there.fillna(run.curves["step"].max())
    epochs = run.curves.groupby("trial")["epoch"].max().reindex(trials["trial"]).set_axis(trials.index)
    return trials.assign(point=trials["trial"] // per_point, chosen_by=chosen_by, epochs=epochs)


def _effects(config: ExperimentConfig, arm: str, point: Point, grid: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Return which keys of a grid have no effect on an arm at a point, and what is equal where it trains the same."""
    return Cell(Condition(0, point, config.base), arm, config.arms[arm]).effects(grid)


def _chosen(candidates: pd.DataFrame, order: Callable[[int], tuple[float, ...]]) -> tuple[int, dict[str, Any]]:
    """Return the grid point that candidates choose, and how close that was; `order` sorts the points."""
    scores = candidates.pivot(index="seed", columns="point", values="chosen_by")
    best: Any = scores.mean().idxmax()
    behind = scores[best].mean() - scores.mean()
    diverged = (candidates["outcome"] == "diverged").groupby(candidates["point"]).sum()
    ties = tied(scores.to_numpy()) & (diverged <= diverged[best]).to_numpy() | (scores.columns == best)
    return min(scores.columns[ties], key=order), {
        "tried": len(behind),
        "seeds": len(scores),
        "ties": int(ties.sum()) if len(scores) > 1 else None,
        "lead": None if ties.all() else float(behind[~ties].min()),
    }


def tied(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values tie with the best mean, of scores (..., seeds, values): the larger, the better.

    A value ties if its mean is behind by at most one standard error, that of the differences paired over the seeds:
    the one-standard-error rule (Breiman, Friedman, Olshen & Stone 1984, Classification and Regression Trees, section
    3.4.3). With one seed there is no such error, and only the best, the first of several, ties with itself.
    """
    best = scores.mean(axis=-2, keepdims=True).argmax(axis=-1, keepdims=True)
    gaps, seeds = np.take_along_axis(scores, best, axis=-1) - scores, scores.shape[-2]
    itself = np.arange(scores.shape[-1]) == best[..., 0, :]
    if seeds < 2:
        return np.asarray(itself)
    error = gaps.std(axis=-2, ddof=1) / np.sqrt(seeds)
    return np.asarray(itself | (gaps.mean(axis=-2) <= error * (1 + ROUNDING)))


def _order(point: Point, options: Mapping[str, Sequence[Any]]) -> tuple[float, ...]:
    """Return a sort key for grid points, ascending: numbers, or the place in the list of other values."""
    return tuple(
        point[key] if all(map(is_number, values)) else values.index(point[key]) for key, values in options.items()
    )


FALSE_VERDICTS = "in 25 of 100 studies of digits"
"""How often an arm that was tuned twice won or lost against itself; see docs/tuning.md, "The same in real studies"."""


def tuning_caveat(config: ExperimentConfig, arms: Mapping[str, str]) -> str:
    """Say in one line how sure the choices are: the tuning seeds, and how close others came.

    Empty if none was made. With several studies the intervals include the noise of the choice; then the line says what
    tune.halve stopped early, and is empty without it.

    `arms` has the names to show, by the names of the arms in the experiment.
    """
    if not config.tuned:
        return ""
    made = {shown: [each for each in config.tuned if each.arm == arm] for arm, shown in arms.items()}
    keys = listed(config.tune.options)
    if config.studies > 1:
        stopped = "; ".join(f"{arm}: {text}" for arm, choices in made.items() if (text := _halved(choices, config)))
        early = f"tune.halve stopped values of {keys} early in each of {config.studies} tunings"
        return stopped and f"{early}, and some might have caught up ({stopped})"
    known = "; ".join(f"{arm}: {text}" for arm, choices in made.items() if (text := _ties(choices, config)))
    return (
        f"each arm chose its {keys} once, with {counted(len(config.tune.seeds), 'tuning seed')}, and the luck of that "
        f"choice is not in the interval, so that even equal arms can seem to differ ({FALSE_VERDICTS}); "
        f"tune.studies: 6 puts it in ({known or 'how close the choice was is not recorded'})"
    )


def _halved(choices: Sequence[Choice], config: ExperimentConfig) -> str:
    """Say how many values tune.halve stopped early, and how many epochs all of them trained; empty without it."""
    if not (stopped := {each.stopped for each in choices} - {None, 0}):
        return ""
    spent = {each.epochs for each in choices}
    return f"in {_range(spent)} epochs, {_range(stopped)} of {config.tune.trials} values were stopped early"


def _ties(choices: Sequence[Choice], config: ExperimentConfig) -> str:
    """Say what chose, how many values tie with the best and how far the next one is, as ranges over the grid points."""
    if len(config.tune.candidates()) > 1 and all((each.tried, each.left_out) == (1, 0) for each in choices):
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
    said += filter(None, [_halved(choices, config)])
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
    tried = [config.tune.candidates(study) for study in range(config.studies)]
    for choice in config.tuned:
        yield from ((choice, key) for key in edges(tried[choice.study], _active(config, choice)))


def _active(config: ExperimentConfig, choice: Choice) -> Point:
    """Return the chosen values that have an effect on the arm."""
    inactive, _ = _effects(config, choice.arm, {**choice.point, **choice.values}, config.tune.options)
    return {key: value for key, value in choice.values.items() if key not in inactive}


def choices_text(config: ExperimentConfig) -> str:
    """Say in one line what was chosen, and mark the smallest and largest values that were tried."""
    ends, texts = list(choices_at_edges(config)), dict[str, list[str]]()
    for choice in config.tuned:
        values = _active(config, choice)
        chosen = [f"{key} {value}{' (edge)' * ((choice, key) in ends)}" for key, value in values.items()]
        where = " ".join([choice.arm, *(f"at {key} {value}" for key, value in choice.point.items())])
        texts.setdefault(where, []).append(" ".join(chosen))
    return "; ".join(" ".join(filter(None, (where, ", ".join(_times(found))))) for where, found in texts.items())


def _times(texts: Sequence[str]) -> list[str]:
    """Return each text once, with the number of studies that have it, the most frequent first."""
    counts = Counter(texts).most_common()
    return [f"{text} ({count} of {len(texts)} studies)" if len(texts) > 1 else text for text, count in counts]
