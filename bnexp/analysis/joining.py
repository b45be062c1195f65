"""One study from one run or from several: trials joined by their settings, whichever run trained them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from bnexp.analysis.chance import chance
from bnexp.analysis.metrics import METRICS, choose_metric, lower_is_better
from bnexp.analysis.pairing import FINISHED
from bnexp.analysis.study import Study
from bnexp.analysis.tuning import choices_at_edges, tuning_noise
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.stages import untuned
from bnexp.config.trial import TrialSettings
from bnexp.store.reader import RunRecord

VERSIONS = ("bnexp", "torch", "device_name")
"""What of environment.json is said where it differs."""


def join(runs: Sequence[RunRecord], metric: str | None = None, *, probed: bool = False) -> Study:
    """Return the trials of all runs under one set of columns.

    Settings that are swept in one of the runs, or differ between them, become grid keys. Of trials with the same
    arm, seed and settings the first that finished stays; the others are left out, as is a run without a finished
    trial or without the metric, by default that of `choose_metric`. What was measured inside the networks is read
    only where `probed` asks for it.

    Raises:
        InputError: a run folder is damaged, or no such metric.
    """
    metric = choose_metric(pd.concat([run.trials[list(METRICS)] for run in runs]), metric)
    finished = [run for run in runs if not _useless(run, metric)] or list(runs[:1])
    left_out = [f"{run.path.name}: {_useless(run, metric)}" for run in runs if run not in finished]
    names, configs = _names(finished), [run.config for run in finished]
    bases = [_flat(config) for config in configs]
    keys, arms = _grid_keys(configs, bases), _arm_names(names, configs)
    frames = [_trials(*each, keys) for each in zip(finished, names, bases, arms, strict=True)]
    offsets = [sum(map(len, frames[:i])) for i in range(len(frames))]
    trials = _renumbered(frames, offsets)
    curves = _renumbered([run.curves for run in finished], offsets)
    probes = _renumbered([run.probes for run in finished], offsets) if probed else None
    repeated = _repeated(trials, ["arm", "seed", *keys])
    left_out += _repeats(trials["run"].to_numpy(), repeated, trials.duplicated(["arm", "seed", *keys]).to_numpy())
    trials = trials[~repeated].reset_index(drop=True)
    return Study(
        name=" + ".join(dict.fromkeys(names)),
        question=" ".join(dict.fromkeys(config.question for config in configs if config.question)),
        runs=tuple(dict.fromkeys(names)),
        trials=trials,
        curves=curves[curves["trial"].isin(trials["trial"])].reset_index(drop=True),
        grid_keys=keys,
        arms=tuple(dict.fromkeys(name for named in arms for name in named.values())),
        settings=_settings(configs, arms),
        chance=chance(configs),
        configs=dict(zip(names, configs, strict=True)),
        environments={name: run.environment for name, run in zip(names, finished, strict=True)},
        tuning=tuple(dict.fromkeys(filter(None, map(tuning_noise, configs, arms)))),
        at_edges=tuple(dict.fromkeys(_at_edges(configs, arms))),
        differs=tuple(_differences(finished, names, bases)),
        left_out=tuple(left_out),
        probes=_of_trials(probes, trials),
    )


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
    if probes is None or probes.empty:
        return None
    return probes[probes["trial"].isin(trials["trial"])].reset_index(drop=True)


def _renumbered(tables: Sequence[pd.DataFrame], offsets: Sequence[int]) -> pd.DataFrame:
    """Return the runs' tables as one, each run's trials moved on by its offset."""
    return pd.concat([table.assign(trial=table["trial"] + at) for table, at in zip(tables, offsets, strict=True)])


def _useless(run: RunRecord, metric: str) -> str:
    if not run.finished:
        return "no trial has finished"
    # A blank loss is one that left all bounds.
    measured = lower_is_better(metric) or run.trials[metric].notna().any()
    return "" if measured else f"{metric} was not measured"


def _names(runs: Sequence[RunRecord]) -> list[str]:
    """Return what each run is called: its folder's name, or its path where two folders have one name."""
    folders = [path.name for path in {run.path for run in runs}]
    return [str(run.path) if folders.count(run.path.name) > 1 else run.path.name for run in runs]


def _flat(config: ExperimentConfig) -> dict[str, Any]:
    raw = {section: getattr(config, section).model_dump(mode="json") for section in TrialSettings.model_fields}
    sections = tuple(f"{key}." for key in config.swept)  # swept as a whole: what is in them differs by trial
    leaves = ((key, value) for key, value in _leaves(raw, "") if not key.startswith(sections))
    return {key: value for key, value in leaves if key not in config.no_influence}


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        # A list as trials.csv writes it.
        yield key, " ".join(map(str, value)) if isinstance(value, list) else None if value == {} else value


def _grid_keys(configs: Sequence[ExperimentConfig], bases: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    swept = dict.fromkeys(key for config in configs for key in config.swept)
    every = dict.fromkeys(key for base in bases for key in base)
    differing = (key for key in every if len({repr(base.get(key)) for base in bases}) > 1)
    return tuple(dict.fromkeys((*swept, *differing)))


def _trials(
    run: RunRecord, name: str, base: Mapping[str, Any], arms: Mapping[str, str], keys: Sequence[str]
) -> pd.DataFrame:
    own = run.trials
    swept = {key: _typed(own[key], values) for key, values in {**run.config.zip, **run.config.grid}.items()}
    fixed = {key: base.get(key) for key in keys if key not in own}
    named = own.assign(arm=own["arm"].map(arms), run=name, number=own["trial"], **swept)
    return pd.concat([named, pd.DataFrame(fixed, index=own.index, dtype=object)], axis=1).infer_objects()


def _typed(column: pd.Series, values: Sequence[Any]) -> pd.Series:
    """Return a swept column with its numbers as numbers: trials.csv has but texts where one value is a text."""
    written = {str(value): value for value in values if isinstance(value, int | float)}
    return column if pd.api.types.is_numeric_dtype(column) else column.map(lambda cell: written.get(cell, cell))


def _arm_names(runs: Sequence[str], configs: Sequence[ExperimentConfig]) -> list[dict[str, str]]:
    """Return, run by run, what each arm is called: by its name, unless an earlier run means something else by it."""
    meanings: dict[str, dict[str, Any]] = {}
    named: list[dict[str, str]] = []
    for run, config in zip(runs, configs, strict=True):
        own = {}
        for arm, overrides in config.arms.items():
            known = meanings.setdefault(arm, {arm: overrides})
            new = f"{arm} of {config.name}"
            new = f"{arm} of {run}" if new in known else new
            own[arm] = next((name for name, meaning in known.items() if meaning == overrides), new)
            known[own[arm]] = overrides
        named.append(own)
    return named


def _settings(configs: Sequence[ExperimentConfig], arms: Sequence[Mapping[str, str]]) -> dict[str, TrialSettings]:
    """Return every arm's settings on the first run's ground: what else differs between runs tells grid points apart.

    Where an arm can't be there, a group norm that doesn't divide the width, it is on the ground of its own run.
    """
    own = {name: (config, arm) for config, names in zip(configs, arms, strict=True) for arm, name in names.items()}
    arms_on_it = {
        name: {**config.arms[arm], **config.chosen(arm, config.points()[0])} for name, (config, arm) in own.items()
    }
    ground = untuned(configs[0]).model_copy(update={"arms": arms_on_it})
    found = {}
    for name, (config, arm) in own.items():
        try:
            found[name] = ground.settings(name, ground.points()[0])
        except ValidationError:
            found[name] = config.settings(arm, config.points()[0])
    return found


def _at_edges(configs: Sequence[ExperimentConfig], arms: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str, Any]]:
    for config, names in zip(configs, arms, strict=True):
        yield from ((names[each.arm], key, each.values[key]) for each, key in choices_at_edges(config))


def _repeated(trials: pd.DataFrame, keys: list[str]) -> np.ndarray:
    """Mark the trials that an earlier one repeats; a finished one counts as earlier than one that isn't."""
    open_ = ~trials["outcome"].isin(FINISHED).to_numpy()
    order = np.argsort(open_, kind="stable")
    repeated = np.empty(len(trials), dtype=bool)
    repeated[order] = trials.iloc[order].duplicated(keys)
    return repeated


def _repeats(runs: np.ndarray, repeated: np.ndarray, later: np.ndarray) -> Iterator[str]:
    for run in dict.fromkeys(runs):
        for some, other in ((later, "an earlier run has too"), (~later, "a later run finished")):
            if count := int(np.sum(repeated & some & (runs == run))):
                many = "1 trial" if count == 1 else f"{count} trials"
                yield f"{run}: {many} that {other} (same arm, seed and settings)"


def _differences(runs: Sequence[RunRecord], names: Sequence[str], bases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    every = dict.fromkeys(key for base in bases for key in base)
    about = [
        {**base, **{key: run.environment.get(key) for key in VERSIONS}} for run, base in zip(runs, bases, strict=True)
    ]
    for key in (*every, *VERSIONS):
        values = [each.get(key) for each in about]
        if len({repr(value) for value in values}) > 1:
            yield f"{key}: " + ", ".join(f"{_text(value)} in {name}" for value, name in zip(values, names, strict=True))


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
