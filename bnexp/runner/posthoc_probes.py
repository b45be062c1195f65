"""Probes of finished trials, taken on the weights that they ended with; `bnexp probe` and scripts both call this."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from bnexp.config.origin import naming
from bnexp.config.probes import DEFAULT, PROBES, Probes, ProbeSettings, default_probes
from bnexp.config.problems import explain
from bnexp.config.text import counted, duration
from bnexp.config.yaml import parse
from bnexp.data.catalog import DataShape
from bnexp.engines.devices import Datasets, check_float64, data_key, load_data
from bnexp.engines.forked import side_by_side
from bnexp.engines.local import Local
from bnexp.engines.planning import makespan
from bnexp.errors import ConfigError, InputError, Problem
from bnexp.nn.batch_variants import Relaxation
from bnexp.nn.build import train_norms_alone
from bnexp.nn.norm import freeze_statistics
from bnexp.nn.shards import shards
from bnexp.plan import Trial, TrialGroup, groups
from bnexp.probes.prober import Prober, unknown_layers
from bnexp.records import PROBE_COLUMNS, ProbeRecord
from bnexp.runner.trained import TrainedTrial, networks, trained_trials
from bnexp.store.files import CONFIG, locked
from bnexp.store.reader import RunRecord
from bnexp.store.tables import Row, probe_of, to_row
from bnexp.store.writer import write_late_probes
from bnexp.streams import SeedGenerators, TrialRandom
from bnexp.training.numerics import full_precision, numerics, torch_threads
from bnexp.training.work import shard_sizes, total_steps, training_cost


def add_late_probes(run: RunRecord, found: Sequence[ProbeRecord]) -> Path:
    """Write measurements into the file of a run, replacing what the same probes found before; return the file.

    The caller holds the run's lock.
    """
    new = [to_row(row[name] for name in PROBE_COLUMNS) for record in found for row in record.rows()]
    again = {_measured(row) for row in new}
    before = [[*map(str, row)] for row in run.late_probes.itertuples(index=False)]
    kept = [row for row in before if _measured(row) not in again]
    return write_late_probes(run.path, sorted([*kept, *new], key=lambda row: int(row[0])))


def _measured(row: Row) -> tuple[str, str]:
    """Return the trial and the probe of a row."""
    return row[0], probe_of(row[4])


Say = Callable[[str], None]
"""Called with a line that says how long the probes will take, or how many trials are done."""
TIMED_FIRST = 4
"""With this many trials or more, one is measured alone first, to tell how long the others will take."""
Measure = Callable[[TrialGroup], ProbeRecord]


def probe_settings(written: Sequence[str]) -> tuple[ProbeSettings, ...]:
    """Return the probes that names with commas in between, or mappings in YAML, stand for.

    `default` stands for the default probes that need only weights.

    Raises:
        InputError: one is none, or compares moments of a training, which is over.
    """
    entries = [entry for text in written for entry in _entries(text)]
    try:
        probes: tuple[ProbeSettings, ...] = TypeAdapter(Probes).validate_python(entries)
    except ValidationError as error:
        raise ConfigError([Problem("--probe", key, message) for key, message in explain(error)]) from None
    for probe in probes:
        if probe.spec.needs_update:
            raise InputError(
                f"--probe {probe.name}: compares the weights before and after an update, so it is taken in training: "
                f"bnexp run CONFIG probes=[{probe.name}]"
            )
        if probe.every is not None or probe.at is not None:
            raise InputError(f"--probe {probe.name}: every and at are for training, which is over; leave them out")
    return probes


def _entries(text: str) -> list[Any]:
    if text.lstrip().startswith("{"):
        return [parse(text, "--probe")]
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise InputError(f"--probe {text!r}: expected names of probes with commas in between")
    late = [name for name in default_probes() if not PROBES[name].needs_update]
    return [each for name in names for each in (late if name == DEFAULT else [name])]


def probe_run(
    run: RunRecord,
    probes: Sequence[ProbeSettings],
    wanted: Sequence[int] | None,
    engine: Local,
    say: Say = lambda text: None,
) -> list[ProbeRecord]:
    """Take probes of a run's trials and write the values into its late_probes.csv.

    Args:
        run: the run folder.
        probes: what to measure.
        wanted: numbers of trials; None for all that have ended with weights.
        engine: where to measure. On a CPU groups of trials are measured side by side, one core each.
        say: told how long it will take, and after every group how many trials are done.

    Raises:
        InputError: no such trial, or it has no weights; no such layer; the data can't be had; another process has
            the run.
    """
    check_float64(engine.devices[0], "bnexp probe")
    trained = {each.trial.number: each for each in trained_trials(run, wanted)}
    whole = _alike(trained.values())
    with naming(str(run.path / CONFIG)):
        datasets = load_data(whole, engine.devices[0])

    def shape_of(group: TrialGroup) -> DataShape:
        return datasets[data_key(group)].shape

    if unknown := [*unknown_layers(whole, shape_of, probes, "--probe {name}: layers")]:
        raise ConfigError(unknown)
    with locked(run.path):
        rates = _last_rates(run, trained.values())
        measure = partial(_measure, trained, probes, datasets, rates, engine.devices[0])
        found = list[ProbeRecord]()
        for record in _records(whole, measure, engine, shape_of, probes, say):
            add_late_probes(RunRecord(run.path), [record])  # at once: the next one may take long
            found.append(record)
            say(f"{sum(len(each.trials) for each in found)}/{counted(len(trained), 'trial')}")
    return found


def _alike(trained: Iterable[TrainedTrial]) -> list[TrialGroup]:
    """Return the trials in groups of one shape that ended at the same moment."""
    by_moment: dict[tuple[int, int], list[Trial]] = {}
    for each in trained:
        by_moment.setdefault((each.weights.epoch, each.weights.step), []).append(each.trial)
    return [group for some in by_moment.values() for group in groups(some)]


def _records(
    whole: Sequence[TrialGroup],
    measure: Measure,
    engine: Local,
    shape_of: Callable[[TrialGroup], DataShape],
    probes: Sequence[ProbeSettings],
    say: Say,
) -> Iterator[ProbeRecord]:
    """Yield what is measured of the groups, which are cut so that they fit the memory and keep all cores busy."""
    device, count, seconds = engine.devices[0], sum(len(group.trials) for group in whole), 0.0
    costs = [training_cost(group, shape_of(group), device).of(1) for group in whole]
    if count >= TIMED_FIRST:
        slowest = costs.index(max(costs))
        first, *others = whole[slowest].trials
        started = time.perf_counter()
        yield measure(TrialGroup((first,)))
        seconds = (time.perf_counter() - started) / costs[slowest]
        left = [TrialGroup(tuple(others))] if others else []
        whole = [*whole[:slowest], *left, *whole[slowest + 1 :]]
    if device.type == "cpu" and engine.most_workers is None:
        engine = replace(engine, most_workers=engine.cores)  # unlike training, which may be too short for workers
    planned = engine.schedule(whole, shape_of, probes, begun=False)
    workers = engine.fitting(planned, shape_of, probes) if device.type == "cpu" else 1
    if seconds:
        # Probes grow with a network as its training does.
        times = [seconds * training_cost(each, shape_of(each), device).of(len(each.trials)) for each in planned]
        expected = duration(makespan(times, max(workers, 1)))
        say(f"{counted(count - 1, 'more trial')} in {counted(len(planned), 'group')}: about {expected}")
    with torch_threads(engine.threads(workers, count)):
        yield from side_by_side(measure, planned, workers)


def _measure(
    trained: Mapping[int, TrainedTrial],
    probes: Sequence[ProbeSettings],
    datasets: Datasets,
    rates: Mapping[int, float],
    device: torch.device,
    group: TrialGroup,
) -> ProbeRecord:
    seeds, data = [trial.seed for trial in group.trials], datasets[data_key(group)]
    draws, weights = TrialRandom(SeedGenerators(seeds, device), seeds), trained[group.numbers[0]].weights
    network = networks([trained[number] for number in group.numbers], data.shape, device, draws)
    if (frozen_from := group.settings.model.norm.frozen_from) and weights.step >= frozen_from:
        freeze_statistics(network)
    if group.settings.train.only == "norm":
        train_norms_alone(network)
    Relaxation(network, group.settings.model.norm, total_steps(group, data.shape))(torch.tensor(weights.step))
    with numerics(full_precision(group.settings.train), device):
        prober = Prober(group, network, shards(network, draws, shard_sizes(group, data.shape, device)), data, probes)
        rate_K = torch.tensor([rates[number] for number in group.numbers], device=device)
        return prober.measure(probes, weights.epoch, weights.step, rate_K.to(next(network.parameters()).dtype))


def _last_rates(run: RunRecord, trained: Iterable[TrainedTrial]) -> dict[int, float]:
    """Return every trial's learning rate at the step of its weights."""
    recorded = run.curves.groupby(["trial", "step"])["lr"].last()
    return {
        each.trial.number: float(recorded.get((each.trial.number, each.weights.step), each.trial.settings.train.lr))
        for each in trained
    }
