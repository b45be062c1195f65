"""One study from one run or from several: trials joined by their settings, whichever run trained them."""

from collections.abc import Iterator, Mapping, Sequence
from math import gcd
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from bnexp.analysis.choices import choices_at_edges, tuning_caveat
from bnexp.analysis.conditions import Alignment, Cell, Condition, align
from bnexp.analysis.pairing import FINISHED, IDENTITY, INACTIVE
from bnexp.analysis.study import METRICS, Study, chance, choose_metric, lower_is_better
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.text import counted
from bnexp.config.trial import EARLY_STOP, RECORDS, TrialSettings, with_changes
from bnexp.config.yaml import flow
from bnexp.store.reader import RunRecord, grid_column
from bnexp.store.tables import EARLY_STOP_COLUMNS, RESULT_COLUMNS, escape_cell

VERSIONS = ("bnexp", "torch", "device_name")
"""Entries of environment.json that are named where they differ between runs."""


def join(runs: Sequence[RunRecord], metric: str | None = None, *, probed: bool = False) -> Study:
    """Return the trials of all runs under one set of columns.

    Settings that are swept in one of the runs, or differ between them and matter to trials of both, become grid keys;
    a trial stands at every grid point at which it would have been the same training. Several trials with the same arm,
    seed and settings count once; `_preferred_rows` says which. A run without a finished trial or without the metric, by
    default that of `choose_metric`, is left out. What was measured inside the networks is read only where `probed`
    asks for it.

    Raises:
        InputError: a run folder is damaged, or no such metric.
    """
    metric = choose_metric(pd.concat([run.trials[list(METRICS)] for run in runs]), metric)
    useless = {run: why for run in runs if (why := _reason_to_leave_out(run, metric))}
    left_out = [f"{run.path.name}: {why}" for run, why in useless.items()]
    if len(useless) == len(set(runs)):
        left_out = left_out[1:]  # alone it is a study all the same
    finished = [run for run in runs if run not in useless] or list(runs[:1])
    folders = [path.name for path in {run.path for run in finished}]
    names = [run.path.name if folders.count(run.path.name) == 1 else str(run.path) for run in finished]
    configs = [run.config for run in finished]
    arms = arm_names(names, configs)
    # The best accuracy depends on when accuracies were recorded, and on where training would have been stopped.
    early = [EARLY_STOP] if "early_stop" in metric else []
    alignment = align(configs, arms, [RECORDS, *early] if early or "best" in metric else [])
    labels = _labels(configs, arms)
    labelled = [{arm: labels.get(name, name) for arm, name in names.items()} for names in arms]
    trials, repeated = _under_conditions(finished, names, alignment)
    edges = [
        (arms[run][choice.arm], key, choice.values[key])
        for run, config in enumerate(configs)
        for choice, key in choices_at_edges(config)
    ]
    probes = _of_sources([run.probes for run in finished], trials) if probed else pd.DataFrame()
    # Overrides are grid keys where there are several runs.
    asked = [run.config.question for run in finished] if len(finished) > 1 else [finished[0].question]
    return Study(
        name=" + ".join(dict.fromkeys(names)),
        question=" ".join(dict.fromkeys(filter(None, asked))),
        runs=tuple(dict.fromkeys(names)),
        trials=trials.drop(columns="source"),
        curves=_of_sources([run.curves for run in finished], trials),
        grid_keys=alignment.keys,
        arms=tuple(dict.fromkeys(name for named in arms for name in named.values())),
        settings=_arm_settings(configs, arms),
        chance=chance(configs),
        configs=dict(zip(names, configs, strict=True)),
        records=dict(zip(names, finished, strict=True)),
        environments={name: run.environment for name, run in zip(names, finished, strict=True)},
        tuning=tuple(dict.fromkeys(filter(None, map(tuning_caveat, configs, labelled)))),
        tunings=gcd(*(config.studies for config in configs if config.studies > 1)),
        at_edges=tuple(dict.fromkeys(edges)),
        differs=tuple(_differences(finished, names, alignment)) if len(finished) > 1 else (),
        left_out=(*left_out, *repeated),
        labels=labels,
        probes=None if probes.empty else probes,
    )


def _labels(configs: Sequence[ExperimentConfig], arms: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the label of each arm that has one; of two arms with the same label the later keeps its name."""
    labels: dict[str, str] = {}
    for config, names in zip(configs, arms, strict=True):
        for arm, name in names.items():
            if config.label(arm) != arm and config.label(arm) not in labels.values():
                labels.setdefault(name, config.label(arm))
    return labels


def _reason_to_leave_out(run: RunRecord, metric: str) -> str:
    if not run.finished:
        return "no trial has finished"
    if (run.trials["outcome"].dropna() == "failed").all():
        return "all its trials so far have failed"
    # A blank loss is one that is not finite.
    measured = lower_is_better(metric) or run.trials[metric].notna().any()
    return "" if measured else f"{metric} was not measured"


def arm_names(runs: Sequence[str], configs: Sequence[ExperimentConfig]) -> list[dict[str, str]]:
    """Return, run by run, what each arm is called: by its name, unless an earlier run means something else by it."""
    meanings: dict[str, dict[str, Cell]] = {}
    named: list[dict[str, str]] = []
    for number, (run, config) in enumerate(zip(runs, configs, strict=True)):
        own, condition = {}, Condition(number, config.points()[0], config.base)
        tuned = frozenset(config.tune.options if config.tuned else ())
        for arm, changes in config.arms.items():
            meaning = Cell(condition, arm, changes, tuned)
            known = meanings.setdefault(arm, {arm: meaning})
            new = f"{arm} of {config.name}"
            new = f"{arm} of {run}" if new in known else new
            own[arm] = next((name for name, other in known.items() if meaning.same_arm(other)), new)
            known.setdefault(own[arm], meaning)
        named.append(own)
    return named


def _arm_settings(configs: Sequence[ExperimentConfig], names: Sequence[Mapping[str, str]]) -> dict[str, TrialSettings]:
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


def _of_sources(tables: Sequence[pd.DataFrame], trials: pd.DataFrame) -> pd.DataFrame:
    """Return the runs' tables as one, under the study's numbers of the trials; those of no trial are left out."""
    found = []
    for source, table in enumerate(tables):
        numbers = trials.loc[trials["source"] == source, ["number", "trial"]]
        numbered = table.merge(numbers.rename(columns={"number": "trial", "trial": "new"}), on="trial")
        found.append(numbered.assign(trial=numbered["new"]).drop(columns="new"))
    return pd.concat(found, ignore_index=True)


def _under_conditions(
    runs: Sequence[RunRecord], names: Sequence[str], alignment: Alignment
) -> tuple[pd.DataFrame, list[str]]:
    """Return the trials under all their conditions, and what is left out; `source` is the number of the run."""
    tables = [
        run.trials[["seed", *RESULT_COLUMNS, *EARLY_STOP_COLUMNS]].assign(
            run=name, number=run.trials["trial"], source=source
        )
        for source, (run, name) in enumerate(zip(runs, names, strict=True))
    ]
    cells = [
        own[first + seed % run.config.studies]
        for own, run in zip(alignment.cells, runs, strict=True)
        for first in range(0, len(own), run.config.studies)
        for seed in run.config.seeds
    ]
    trials = pd.concat(tables, ignore_index=True)
    trials.insert(0, "trial", trials.index)
    trials.insert(1, "arm", [each.arm for each in cells])
    inactive, identity = zip(*(alignment.effects[each] for each in cells), strict=True)
    trials[INACTIVE], trials[IDENTITY] = pd.Series(inactive, dtype=object), pd.Series(identity, dtype=object)
    homes = [(row, condition) for row, each in enumerate(cells) for condition in alignment.homes[each]]
    stands = _with_conditions(trials, homes, alignment)
    formats = stands["source"].map([run.environment.get("format") or 0 for run in runs].__getitem__).to_numpy()
    stays = _preferred_rows(stands, ["arm", "seed", *alignment.keys], formats)
    repeated = stays != np.arange(len(stands))
    kept = [stand for stand, again in zip(homes, repeated, strict=True) if not again]
    stand_ins = _stand_ins(stands[~repeated], cells, alignment)
    found = _with_conditions(trials, [*kept, *stand_ins], alignment).drop(columns="condition")
    # A trial under several conditions counts as one trial for each.
    again = found.duplicated("trial")
    found.loc[again, "trial"] = len(trials) + np.arange(again.sum())
    return found, list(_why_left_out(stands, formats, stays))


def _with_conditions(
    trials: pd.DataFrame, stands: Sequence[tuple[int, Condition]], alignment: Alignment
) -> pd.DataFrame:
    """Return a row for each pair of a trial's row and a condition, with the values of the grid keys."""
    conditions = [condition for _, condition in stands]
    labels = {key: grid_column(alignment.label(condition, key) for condition in conditions) for key in alignment.keys}
    found = trials.iloc[[row for row, _ in stands]].reset_index(drop=True)
    return pd.concat([found.assign(condition=pd.Series(conditions, dtype=object)), pd.DataFrame(labels)], axis=1)


def _preferred_rows(stands: pd.DataFrame, keys: list[str], formats: np.ndarray) -> np.ndarray:
    """Return for each row which row stays of all that have the same values in the key columns.

    A finished row is preferred to one that isn't. Then the newest format is preferred, since `diverged` has today's
    meaning there. Then the first row is.
    """
    order = np.lexsort((-formats, ~stands["outcome"].isin(FINISHED)))
    by_rank = stands.iloc[order].assign(row=order)
    stays = by_rank.groupby(keys, sort=False, dropna=False)["row"].transform("first")
    return stays.sort_index().to_numpy()


def _why_left_out(stands: pd.DataFrame, formats: np.ndarray, stays: np.ndarray) -> Iterator[str]:
    """Yield a line for each run and reason: how many of its trials are left out, and which ones stay instead."""
    rows, finished = np.arange(len(stands)), stands["outcome"].isin(FINISHED).to_numpy()
    newer, earlier = finished & (formats[stays] > formats), stays < rows
    reasons = ["a newer bnexp trained again", "an earlier run has too"]
    gone = stands.assign(why=np.select([newer, earlier], reasons, "a later run finished"))[stays != rows]
    for (run, why), trials in gone.groupby(["run", "why"], sort=False)["trial"]:
        yield f"{run}: {counted(trials.nunique(), 'trial')} that {why} (same arm, seed and settings)"


def _stand_ins(stands: pd.DataFrame, cells: Sequence[Cell], alignment: Alignment) -> Iterator[tuple[int, Condition]]:
    """Yield finished trials for conditions that have their seed but lack their arm, although the arm fits."""
    seeds = stands.groupby("condition", sort=False)["seed"].agg(set).to_dict()
    there = set(stands[["condition", "arm", "seed"]].itertuples(index=False, name=None))
    finished = stands[stands["outcome"].isin(FINISHED)]
    for row, arm, seed in finished[["trial", "arm", "seed"]].itertuples(index=False, name=None):
        for condition in alignment.spare[cells[row]]:
            if seed in seeds.get(condition, ()) and (condition, arm, seed) not in there:
                there.add((condition, arm, seed))
                yield row, condition


def _differences(runs: Sequence[RunRecord], names: Sequence[str], alignment: Alignment) -> Iterator[str]:
    told = {}
    for key in alignment.conditions[0].settings:
        told[key] = {names[run]: value for run, value in alignment.told(key).items()}
    for key in VERSIONS:
        told[key] = {name: run.environment.get(key) for run, name in zip(runs, names, strict=True)}
    for key, values in told.items():
        if len({repr(value) for value in values.values()}) > 1:
            yield f"{key}: " + ", ".join(f"{_text(value)} in {name}" for name, value in values.items())


def _text(value: Any) -> str:
    return flow(value) if isinstance(value, Mapping) else "null" if value is None else str(escape_cell(value))
