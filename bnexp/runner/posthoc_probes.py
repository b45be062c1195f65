"""Probes of finished trials, taken on the weights that they ended with; `bnexp probe` and scripts both call this."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from bnexp.config.probes import DEFAULT, PROBES, Probes, ProbeSettings, default_probes
from bnexp.config.problems import explain
from bnexp.config.yaml import parse
from bnexp.data.catalog import DataShape
from bnexp.engines.devices import Datasets, check_float64, data_key, load_data
from bnexp.engines.forked import side_by_side
from bnexp.engines.local import Local
from bnexp.errors import ConfigError, InputError, Problem
from bnexp.nn.shards import shards
from bnexp.plan import TrialGroup
from bnexp.probes.prober import Prober, unknown_layers
from bnexp.records import PROBE_COLUMNS, ProbeRecord
from bnexp.runner.trained import TrainedTrial, trained_trials
from bnexp.store.files import locked
from bnexp.store.reader import RunRecord
from bnexp.store.tables import Row, probe_of, to_row
from bnexp.store.writer import write_late_probes
from bnexp.streams import SeedGenerators, TrialRandom
from bnexp.training.numerics import full_precision, numerics, torch_threads


def add_late_probes(run: RunRecord, found: Sequence[ProbeRecord]) -> Path:
    """Enter measurements into the file of a run, in place of what the same probes found before; return the file.

    The caller holds the run's lock.
    """
    new = [to_row(row[name] for name in PROBE_COLUMNS) for record in found for row in record.rows()]
    again = {_measured(row) for row in new}
    before = [[*map(str, row)] for row in run.late_probes.itertuples(index=False)]
    kept = [row for row in before if _measured(row) not in again]
    return write_late_probes(run.path, sorted([*kept, *new], key=lambda row: int(row[0])))


def _measured(row: Row) -> tuple[str, str]:
    """Return the trial and the probe that a row is of."""
    return row[0], probe_of(row[4])


Say = Callable[[str], None]
"""Told about each trial as its probes have been taken."""


def probe_settings(written: Sequence[str]) -> tuple[ProbeSettings, ...]:
    """Return the probes that names with commas in between, or mappings in YAML, stand for.

    `default` stands for those of the default ones that weights alone suffice for.

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
    """Take probes of a run's trials and enter what they find into its late_probes.csv.

    Args:
        run: the run folder.
        probes: what to measure.
        wanted: numbers of trials; None for all that have ended with weights.
        engine: where to measure. On a CPU trials are measured side by side, one core each.
        say: told about each trial that was measured.

    Raises:
        InputError: no such trial, or it has no weights; no such layer; the data can't be had; another process has
            the run.
    """
    check_float64(engine.devices[0], "bnexp probe")
    trained = trained_trials(run, wanted)
    groups, device = [each.group for each in trained], engine.devices[0]
    datasets = load_data(groups, device)

    def shape_of(group: TrialGroup) -> DataShape:
        return datasets[data_key(group)].shape

    if unknown := [*unknown_layers(groups, shape_of, probes, "")]:
        raise ConfigError(unknown)
    with locked(run.path):
        rates = _last_rates(run, trained)
        measure = partial(_measure, probes=probes, datasets=datasets, rates=rates, device=device)
        workers = engine.fitting(groups, shape_of, probes) if device.type == "cpu" else 1
        found = []
        with torch_threads(engine.threads(workers, len(trained))):
            for each, record in zip(trained, side_by_side(measure, trained, workers), strict=True):
                say(f"trial {each.trial.number} ({each.trial.arm}, seed {each.trial.seed})")
                add_late_probes(RunRecord(run.path), [record])  # at once: the next one may take long
                found.append(record)
    return found


def _measure(
    trained: TrainedTrial,
    probes: Sequence[ProbeSettings],
    datasets: Datasets,
    rates: Mapping[int, float],
    device: torch.device,
) -> ProbeRecord:
    group, seeds, data = trained.group, [trained.trial.seed], datasets[data_key(trained.group)]
    draws = TrialRandom(SeedGenerators(seeds, device), seeds)
    network = trained.network(data.shape, device, draws)
    with numerics(full_precision(group.settings.train), device):
        prober = Prober(group, network, shards(network, draws, [1]), data, probes)
        rate_K = torch.tensor([rates[trained.trial.number]], device=device, dtype=next(network.parameters()).dtype)
        return prober.measure(probes, trained.weights.epoch, trained.weights.step, rate_K)


def _last_rates(run: RunRecord, trained: Sequence[TrainedTrial]) -> dict[int, float]:
    """Return every trial's learning rate at the step of its weights."""
    recorded = run.curves.groupby(["trial", "step"])["lr"].last()
    return {
        each.trial.number: float(recorded.get((each.trial.number, each.weights.step), each.trial.settings.train.lr))
        for each in trained
    }
