"""One study from one run or from several: trials joined by their settings, whichever run trained them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from bnexp.analysis.conditions import Alignment, Cell, Changes, Condition, align
from bnexp.analysis.pairing import FINISHED, IDENTITY, INACTIVE
from bnexp.analysis.study import METRICS, Study, chance, choose_metric, lower_is_better
from bnexp.analysis.tuning import choices_at_edges, tuning_noise
from bnexp.config.dotted import below
from bnexp.config.effective import RECORDS
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.text import counted
from bnexp.config.trial import TrialSettings, with_changes
from bnexp.config.yaml import flow
from bnexp.store.reader import RunRecord, grid_column
from bnexp.store.tables import RESULT_COLUMNS, escape_cell


@dataclass(frozen=True)
class _Meaning:
    """What an arm of a run stands for."""

    condition: Condition
    """The first of its run."""
    changes: Changes
    tuned: frozenset[str]
    """Settings that the run's arms chose."""

    def same(self, other: "_Meaning") -> bool:
        """Tell whether two arms come to the same where one of them is at home.

        A setting that only one of them decides must be the same for both in their own runs, and swept in neither.
        """
        if (self.changes, self.tuned) == (other.changes, other.tuned):
            return True
        lone = (self.changes.keys() | self.tuned) ^ (other.changes.keys() | other.tuned)
        varying = self.tuned | other.tuned | self.condition.point.keys() | other.condition.point.keys()
        if any(below(key, each) or below(each, key) for key in lone for each in varying):
            return False
        if self._effective(lone) != other._effective(lone):
            return False
        homes = (self.condition, other.condition)
        trainings = [(home.training(self.changes), home.training(other.changes)) for home in homes]
        return any(first and first == second for first, second in trainings)

    def _effective(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the arm's values of some settings at home, as far as they have an effect."""
        training = self.condition.training(self.changes) or {}
        return {leaf: value for leaf, value in training.items() if any(below(leaf, key) for key in keys)}


def arm_names(runs: Sequence[str], configs: Sequence[ExperimentConfig]) -> list[dict[str, str]]:
    """Return, run by run, what each arm is called: by its name, unless an earlier run means something else by it."""
    meanings: dict[str, dict[str, _Meaning]] = {}
    named: list[dict[str, str]] = []
    for number, (run, config) in enumerate(zip(runs, configs, strict=True)):
        own, condition = {}, Condition(number, config.points()[0], config.base)
        tuned = frozenset(config.tune.grid if config.tuned else ())
        for arm, changes in config.arms.items():
            meaning = _Meaning(condition, changes, tuned)
            known = meanings.setdefault(arm, {arm: meaning})
            new = f"{arm} of {config.name}"
            new = f"{arm} of {run}" if new in known else new
            own[arm] = next((name for name, other in known.items() if meaning.same(other)), new)
            known.setdefault(own[arm], meaning)
        named.append(own)
    return named


def arm_settings(configs: Sequence[ExperimentConfig], names: Sequence[Mapping[str, str]]) -> dict[str, TrialSettings]:
    """Return every arm's settings under the first run's first condition, or its own run's where it is impossible there.

    An arm with group norm is impossible where the groups don't divide the width.
    """
    own = {name: (config, arm) for config, named in zip(configs, names, strict=True) for arm, name in named.items()}
    base, point, found = configs[0].base, configs[0].points()[0], {}
    for name, (config, arm) in own.items():
        try:
            found[name] = with_changes(base, {**point, **config.changes(arm, config.points()[0])})
        except ValidationError:
            found[name] = config.settings(arm, config.points()[0])
    return found


def repeated_trials(trials: pd.DataFrame, keys: list[str], formats: np.ndarray) -> np.ndarray:
    """Mark the trials that are left out because another one has the same values in the key columns.

    One that finished stays before one that didn't. Then the newest format decides, since `diverged` means there what
    it means today, and then the order.

    Args:
        trials: with `outcome`.
        keys: the key columns.
        formats: the format of each trial's run folder.
    """
    open_ = ~trials["outcome"].isin(FINISHED).to_numpy()
    order = np.lexsort((-formats, open_))  # sorts by open_, then by format; stable
    repeated = np.empty(len(trials), dtype=bool)
    repeated[order] = trials.iloc[order].duplicated(keys)
    return repeated


def why_left_out(trials: pd.DataFrame, keys: list[str], formats: np.ndarray, repeated: np.ndarray) -> Iterator[str]:
    """Yield a line for each run and reason: how many of its trials are left out, and which ones stay instead."""
    places = trials.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
    stays = np.empty(places.max(initial=-1) + 1, dtype=int)
    stays[places[~repeated]] = np.flatnonzero(~repeated)
    other = stays[places]  # the row of the trial that stays
    newer, earlier = formats[other] > formats, other < np.arange(len(trials))
    finished = trials["outcome"].isin(FINISHED).to_numpy()
    why = np.select(
        [finished & newer, earlier], ["a newer bnexp trained again", "an earlier run has too"], "a later run finished"
    )
    for run in trials["run"].unique():
        for reason in dict.fromkeys(why[repeated]):
            if count := trials.loc[repeated & (why == reason) & (trials["run"] == run), "trial"].nunique():
                yield f"{run}: {counted(count, 'trial')} that {reason} (same arm, seed and settings)"


VERSIONS = ("bnexp", "torch", "device_name")
"""What of environment.json is said where it differs."""


def join(runs: Sequence[RunRecord], metric: str | None = None, *, probed: bool = False) -> Study:
    """Return the trials of all runs under one set of columns.

    Settings that are swept in one of the runs, or differ between them and matter to trials of both, become grid keys;
    a trial stands at every grid point at which it would have been the same training. Several trials with the same arm,
    seed and settings count once; `repeated_trials` says which stays. A run without a finished trial or
    without the metric, by default that of `choose_metric`, is left out. What was measured inside the networks is read
    only where `probed` asks for it.

    Raises:
        InputError: a run folder is damaged, or no such metric.
    """
    metric = choose_metric(pd.concat([run.trials[list(METRICS)] for run in runs]), metric)
    finished = [run for run in runs if not _useless(run, metric)] or list(runs[:1])
    left_out = [f"{run.path.name}: {_useless(run, metric)}" for run in runs if run not in finished]
    names, configs = _names(finished), [run.config for run in finished]
    arms = arm_names(names, configs)
    # What an accuracy is the best of depends on when it was recorded.
    alignment = align(configs, arms, [RECORDS] if "best" in metric else [])
    labels = _labels(configs, arms)
    labelled = [{arm: labels.get(name, name) for arm, name in names.items()} for names in arms]
    if len(finished) == 1:
        trials, differs = _alone(finished[0], names[0], alignment), tuple[str, ...]()
    else:
        trials, repeated = _together(finished, names, alignment)
        differs = tuple(_differences(finished, names, alignment))
        left_out += repeated
    return Study(
        name=" + ".join(dict.fromkeys(names)),
        question=_question(finished),
        runs=tuple(dict.fromkeys(names)),
        trials=trials.drop(columns="source"),
        curves=_of_sources([run.curves for run in finished], trials),
        grid_keys=alignment.keys,
        arms=tuple(dict.fromkeys(name for named in arms for name in named.values())),
        settings=arm_settings(configs, arms),
        chance=chance(configs),
        configs=dict(zip(names, configs, strict=True)),
        environments={name: run.environment for name, run in zip(names, finished, strict=True)},
        tuning=tuple(dict.fromkeys(filter(None, map(tuning_noise, configs, labelled)))),
        at_edges=tuple(dict.fromkeys(_at_edges(configs, arms))),
        differs=differs,
        left_out=tuple(left_out),
        labels=labels,
        probes=_blank_as_none(_of_sources([run.probes for run in finished], trials)) if probed else None,
    )


def _question(runs: Sequence[RunRecord]) -> str:
    """Return what the runs ask; of a single one with its overrides, which are grid keys where there are several."""
    if len(runs) == 1:
        return runs[0].question
    return " ".join(dict.fromkeys(run.config.question for run in runs if run.config.question))


def _labels(configs: Sequence[ExperimentConfig], arms: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return what to call the arms that have a label; of two arms with one label the later goes by its name."""
    labels: dict[str, str] = {}
    for config, names in zip(configs, arms, strict=True):
        for arm, name in names.items():
            if config.label(arm) != arm and config.label(arm) not in labels.values():
                labels.setdefault(name, config.label(arm))
    return labels


def with_trials(study: Study, trials: pd.DataFrame) -> Study:
    """Return the study of some of its trials; arms that none of them has are gone."""
    there = set(trials["arm"])
    return replace(
        study,
        trials=trials,
        curves=study.curves[study.curves["trial"].isin(trials["trial"])],
        arms=tuple(arm for arm in study.arms if arm in there),
        probes=_of_trials(study.probes, trials),
    )


def _of_trials(probes: pd.DataFrame | None, trials: pd.DataFrame) -> pd.DataFrame | None:
    """Return the rows of probes that are about some trials, None where there are none at all."""
    if probes is None:
        return None
    return _blank_as_none(probes[probes["trial"].isin(trials["trial"])].reset_index(drop=True))


def _blank_as_none(probes: pd.DataFrame) -> pd.DataFrame | None:
    return None if probes.empty else probes


def _of_sources(tables: Sequence[pd.DataFrame], trials: pd.DataFrame) -> pd.DataFrame:
    """Return the runs' tables as one, under the study's numbers of the trials; those of no trial are left out."""
    found = []
    for source, table in enumerate(tables):
        numbers = trials.loc[trials["source"] == source, ["number", "trial"]]
        numbered = table.merge(numbers.rename(columns={"number": "trial", "trial": "new"}), on="trial")
        found.append(numbered.assign(trial=numbered["new"]).drop(columns="new"))
    return pd.concat(found, ignore_index=True)


def _useless(run: RunRecord, metric: str) -> str:
    if not run.finished:
        return "no trial has finished"
    if (run.trials["outcome"].dropna() == "failed").all():
        return "all its trials so far have failed"
    # A blank loss is one that is not finite.
    measured = lower_is_better(metric) or run.trials[metric].notna().any()
    return "" if measured else f"{metric} was not measured"


def _names(runs: Sequence[RunRecord]) -> list[str]:
    """Return what each run is called: its folder's name, or its path where two folders have one name."""
    folders = [path.name for path in {run.path for run in runs}]
    return [str(run.path) if folders.count(run.path.name) > 1 else run.path.name for run in runs]


def _alone(run: RunRecord, name: str, alignment: Alignment) -> pd.DataFrame:
    """Return the trials of the only run."""
    cells = _cell_by_trial([run], alignment)
    within = {
        key: grid_column(alignment.label(each.condition, key) for each in cells)
        for key in alignment.keys
        if key not in run.config.swept
    }
    return run.trials.assign(**within, run=name, number=run.trials["trial"], source=0, **_effects(cells, alignment))


def _effects(cells: Sequence[Cell], alignment: Alignment) -> dict[str, pd.Series]:
    """Return the columns that say of every trial what has no effect on it, and which others train the same."""
    return {
        INACTIVE: pd.Series([alignment.inactive[each] for each in cells], dtype=object),
        IDENTITY: pd.Series([alignment.identities[each] for each in cells], dtype=object),
    }


def _cell_by_trial(runs: Sequence[RunRecord], alignment: Alignment) -> list[Cell]:
    """Return the cell of every trial, run by run."""
    return [each for own, run in zip(alignment.cells, runs, strict=True) for each in own for _ in run.config.seeds]


def _together(runs: Sequence[RunRecord], names: Sequence[str], alignment: Alignment) -> tuple[pd.DataFrame, list[str]]:
    """Return the trials under all their conditions, and what is left out; `source` is the number of the run."""
    tables = [
        run.trials[["seed", *RESULT_COLUMNS]].assign(run=name, number=run.trials["trial"], source=source)
        for source, (run, name) in enumerate(zip(runs, names, strict=True))
    ]
    cells = _cell_by_trial(runs, alignment)
    trials = pd.concat(tables, ignore_index=True)
    trials = trials.assign(arm=[each.arm for each in cells], **_effects(cells, alignment))
    trials.insert(0, "trial", trials.index)
    homes = [(row, condition) for row, each in enumerate(cells) for condition in alignment.homes[each]]
    stands, keys = _under(trials, homes, alignment), ["arm", "seed", *alignment.keys]
    format_ = stands["source"].map([run.environment.get("format") or 0 for run in runs].__getitem__).to_numpy()
    repeated = repeated_trials(stands, keys, format_)
    left_out = list(why_left_out(stands, keys, format_, repeated))
    stand_ins = _stand_ins(stands[~repeated], cells, alignment)
    kept = [stand for stand, again in zip(homes, repeated, strict=True) if not again]
    found = _under(trials, [*kept, *stand_ins], alignment).drop(columns="condition")
    # A trial under several conditions counts as one trial for each.
    again = found.duplicated("trial")
    found.loc[again, "trial"] = len(trials) + np.arange(again.sum())
    return found, left_out


def _under(trials: pd.DataFrame, stands: Sequence[tuple[int, Condition]], alignment: Alignment) -> pd.DataFrame:
    """Return a row for each pair of a trial's row and a condition, with the values of the grid keys."""
    conditions = [condition for _, condition in stands]
    labels = {key: grid_column(alignment.label(condition, key) for condition in conditions) for key in alignment.keys}
    found = trials.iloc[[row for row, _ in stands]].reset_index(drop=True)
    return pd.concat([found.assign(condition=pd.Series(conditions, dtype=object)), pd.DataFrame(labels)], axis=1)


def _stand_ins(stands: pd.DataFrame, cells: Sequence[Cell], alignment: Alignment) -> Iterator[tuple[int, Condition]]:
    """Yield finished trials for conditions that have their seed but lack their arm, though it fits."""
    seeds = stands.groupby("condition", sort=False)["seed"].agg(set).to_dict()
    there = set(stands[["condition", "arm", "seed"]].itertuples(index=False, name=None))
    finished = stands[stands["outcome"].isin(FINISHED)]
    for row, arm, seed in finished[["trial", "arm", "seed"]].itertuples(index=False, name=None):
        for condition in alignment.spare[cells[row]]:
            if seed in seeds.get(condition, ()) and (condition, arm, seed) not in there:
                there.add((condition, arm, seed))
                yield row, condition


def _at_edges(configs: Sequence[ExperimentConfig], arms: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str, Any]]:
    for config, names in zip(configs, arms, strict=True):
        yield from ((names[each.arm], key, each.values[key]) for each, key in choices_at_edges(config))


def _differences(runs: Sequence[RunRecord], names: Sequence[str], alignment: Alignment) -> Iterator[str]:
    for key in (*alignment.conditions[0].settings, *VERSIONS):
        if key in VERSIONS:
            values = {name: run.environment.get(key) for run, name in zip(runs, names, strict=True)}
        else:
            values = {names[run]: value for run, value in alignment.told(key).items()}
        if len({repr(value) for value in values.values()}) > 1:
            yield f"{key}: " + ", ".join(f"{_text(value)} in {name}" for name, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return flow(value)
    return "null" if value is None else str(escape_cell(value))
