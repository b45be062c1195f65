"""Probes of finished trials, taken on the weights that they ended with; `bnexp probe` and scripts both call this."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from bnexp.config.probes import DEFAULT, DEFAULT_PROBES, OF_AN_UPDATE, Probes, ProbeSettings
from bnexp.config.problems import explain
from bnexp.config.reader import parse
from bnexp.data.dataset import Dataset
from bnexp.draws import SeedDraws, SeedStreams
from bnexp.errors import ConfigError, InputError, Problem
from bnexp.executors.datasets import data_key, load_data
from bnexp.nn.shards import shards
from bnexp.probes.layers import unknown_layers
from bnexp.probes.prober import Prober
from bnexp.records import ProbeRecord
from bnexp.store.late import add_late_probes
from bnexp.store.lock import locked
from bnexp.store.reader import RunRecord
from bnexp.trained import TrainedTrial, trained_trials
from bnexp.training.numerics import full_precision, numerics

Say = Callable[[str], None]
"""Told about each trial before its probes are taken."""


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
        if probe.name in OF_AN_UPDATE:
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
    late = [name for name in DEFAULT_PROBES if name not in OF_AN_UPDATE]
    return [each for name in names for each in (late if name == DEFAULT else [name])]


def probe_run(
    run: RunRecord,
    probes: Sequence[ProbeSettings],
    wanted: Sequence[int] | None,
    device: torch.device,
    say: Say = lambda text: None,
) -> list[ProbeRecord]:
    """Take probes of a run's trials and enter what they find into its late_probes.csv.

    Args:
        run: the run folder.
        probes: what to measure.
        wanted: numbers of trials; None for all that have ended with weights.
        device: where to.
        say: told what is going on.

    Raises:
        InputError: no such trial, or it has no weights; no such layer; the data can't be had; another process has
            the run.
    """
    trained = trained_trials(run, wanted)
    datasets = load_data([each.group for each in trained], device)
    groups = [each.group for each in trained]
    unknown = [*unknown_layers(groups, lambda group: datasets[data_key(group)].shape, probes, "")]
    if unknown:
        raise ConfigError(unknown)
    with locked(run.path):
        _ = run.late_probes  # what is damaged is said before anything is measured
        found = []
        for each in trained:
            say(f"trial {each.trial.number} ({each.trial.arm}, seed {each.trial.seed})")
            found.append(_measure(each, probes, datasets[data_key(each.group)], _last_rate(run, each), device))
            add_late_probes(RunRecord(run.path), found[-1:])  # at once: the next one may take long
    return found


def _measure(
    trained: TrainedTrial, probes: Sequence[ProbeSettings], data: Dataset, rate: float, device: torch.device
) -> ProbeRecord:
    group, seeds = trained.group, [trained.trial.seed]
    draws = SeedDraws(SeedStreams(seeds, device), seeds)
    network = trained.network(data.shape, device, draws)
    with numerics(full_precision(group.settings.train), device):
        prober = Prober(group, network, shards(network, draws, [1]), data, probes)
        rate_K = torch.tensor([rate], device=device, dtype=next(network.parameters()).dtype)
        return prober.measure(probes, trained.weights.epoch, trained.weights.step, rate_K)


def _last_rate(run: RunRecord, trained: TrainedTrial) -> float:
    curves = run.curves
    mine = curves[(curves["trial"] == trained.trial.number) & (curves["step"] == trained.weights.step)]
    return float(mine["lr"].iloc[-1]) if len(mine) else float(trained.trial.settings.train.lr)
