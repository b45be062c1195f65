"""One study from one run or from several: trials joined by their settings, whichever run trained them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from bnexp.analysis.metrics import METRICS, choose_metric
from bnexp.analysis.study import Study
from bnexp.config.experiment import ExperimentConfig, TrialSettings
from bnexp.data.catalog import KNOWN_SETS
from bnexp.store.reader import RunRecord

NOT_COMPARED = ("data.root", "train.checkpoint_every")
"""Settings without an influence on what is measured."""
VERSIONS = ("bnexp", "torch", "device_name")
"""What of environment.json is said where it differs."""


def join(runs: Sequence[RunRecord], metric: str | None = None) -> Study:
    """Return the trials of all runs under one set of columns.

    Settings that are swept in one of the runs, or differ between them, become grid keys. A trial with the arm,
    the seed and the settings of one in an earlier run is left out, as is a run without a finished trial or without
    the metric, by default that of `choose_metric`.

    Raises:
        InputError: a run folder is damaged, or no such metric.
    """
    metric = choose_metric(pd.concat([run.trials[list(METRICS)] for run in runs]), metric)
    left_out = [f"{run.path.name}: {why}" for run in runs if (why := _useless(run, metric))]
    finished = [run for run in runs if not _useless(run, metric)] or list(runs[:1])
    bases = {run.path.name: _flat(run.config) for run in finished}
    keys = _grid_keys([run.config for run in finished], list(bases.values()))
    arms = _arm_names([run.config for run in finished])
    frames = [_trials(run, keys, bases[run.path.name], arms[i]) for i, run in enumerate(finished)]
    offsets = [sum(map(len, frames[:i])) for i in range(len(frames))]
    trials = pd.concat([frame.assign(trial=frame["trial"] + at) for frame, at in zip(frames, offsets, strict=True)])
    curves = pd.concat([r.curves.assign(trial=r.curves["trial"] + at) for r, at in zip(finished, offsets, strict=True)])
    repeated = trials.duplicated(["arm", "seed", *keys]).to_numpy()
    left_out += _repeats(trials[repeated])
    trials = trials[~repeated].reset_index(drop=True)
    names = tuple(bases)
    return Study(
        name=" + ".join(names),
        question=" ".join(dict.fromkeys(run.config.question for run in finished if run.config.question)),
        runs=names,
        trials=trials,
        curves=curves[curves["trial"].isin(trials["trial"])].reset_index(drop=True),
        grid_keys=keys,
        arms=tuple(dict.fromkeys(name for named in arms for name in named.values())),
        settings=_settings([run.config for run in finished], arms),
        chance=_chance([run.config for run in finished]),
        environments={run.path.name: run.environment for run in finished},
        differs=tuple(_differences(finished, bases)),
        left_out=tuple(left_out),
    )


def with_trials(study: Study, trials: pd.DataFrame) -> Study:
    """Return the study of some of its trials; arms that none of them has are gone."""
    there = set(trials["arm"])
    return replace(
        study,
        trials=trials,
        curves=study.curves[study.curves["trial"].isin(trials["trial"])],
        arms=tuple(arm for arm in study.arms if arm in there),
    )


def _useless(run: RunRecord, metric: str) -> str:
    if not run.finished:
        return "no trial has finished"
    return "" if run.trials[metric].notna().any() else f"{metric} was not measured"


def _flat(config: ExperimentConfig) -> dict[str, Any]:
    raw = {section: getattr(config, section).model_dump(mode="json") for section in TrialSettings.model_fields}
    return {key: value for key, value in _leaves(raw, "") if key not in NOT_COMPARED}


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


def _trials(run: RunRecord, keys: Sequence[str], base: Mapping[str, Any], arms: Mapping[str, str]) -> pd.DataFrame:
    own = run.trials
    fixed = {key: base.get(key) for key in keys if key not in own}
    named = own.assign(arm=own["arm"].map(arms), run=run.path.name, number=own["trial"])
    return pd.concat([named, pd.DataFrame(fixed, index=own.index, dtype=object)], axis=1).infer_objects()


def _arm_names(configs: Sequence[ExperimentConfig]) -> list[dict[str, str]]:
    """Return, run by run, what each arm is called: by its name, unless an earlier run means something else by it."""
    meanings: dict[str, Any] = {}
    named: list[dict[str, str]] = []
    for config in configs:
        own = {}
        for arm, overrides in config.arms.items():
            name = arm if meanings.setdefault(arm, overrides) == overrides else f"{arm} of {config.name}"
            own[arm] = name
        named.append(own)
    return named


def _settings(configs: Sequence[ExperimentConfig], arms: Sequence[Mapping[str, str]]) -> dict[str, TrialSettings]:
    """Return every arm's settings on the first run's ground: what else differs between runs tells grid points apart."""
    overrides = {
        name: config.arms[arm] for config, names in zip(configs, arms, strict=True) for arm, name in names.items()
    }
    ground = configs[0].model_copy(update={"arms": overrides})
    return {name: ground.settings(name, ground.points()[0]) for name in overrides}


def _chance(configs: Sequence[ExperimentConfig]) -> float | None:
    classes = {KNOWN_SETS[config.data.name].classes if config.data.name in KNOWN_SETS else None for config in configs}
    (count,) = classes if len(classes) == 1 else (None,)
    return 1 / count if count else None


def _repeats(trials: pd.DataFrame) -> Iterator[str]:
    for run, count in trials["run"].value_counts(sort=False).items():
        many = "1 trial" if count == 1 else f"{count} trials"
        yield f"{run}: {many} that an earlier run has too (same arm, seed and settings)"


def _differences(runs: Sequence[RunRecord], bases: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    every = dict.fromkeys(key for base in bases.values() for key in base)
    about = {run.path.name: {name: run.environment.get(name) for name in VERSIONS} for run in runs}
    for key in (*every, *VERSIONS):
        values = {name: {**base, **about[name]}.get(key) for name, base in bases.items()}
        if len({repr(value) for value in values.values()}) > 1:
            yield f"{key}: " + ", ".join(f"{_text(value)} in {name}" for name, value in values.items())


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
