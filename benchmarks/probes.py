"""What probes cost: the default ones beside runs without any, and each probe beside an epoch."""

import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks.timing import Timed, after_warm_up, in_turn
from bnexp.config.load import load, resolve
from bnexp.config.probes import PROBES, ProbeSettings
from bnexp.data.catalog import describe
from bnexp.engines.local import execute
from bnexp.engines.messages import Job
from bnexp.plan import groups, trials
from bnexp.runner.prepare import Plan, prepare
from bnexp.training.estimate import estimated_seconds, probing_seconds

CONFIGS = Path(__file__).parents[1] / "configs"
DEFAULTS = {"name": "defaults", "train": {"epochs": 2}, "seeds": 1}
"""A run of which only the length is set: MNIST, ten sigmoid layers, without BN and with it."""
ROUNDS = 5


def run() -> str:
    """Return two tables: what the default set adds to two runs, and what one taking of each probe costs."""
    return f"{_defaults()}\n\n{_each()}"


def _defaults() -> str:
    lines = [
        "| run | seconds without | with the default set | added: median (range) | to reach |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as runs:
        for name, config in (
            ("all settings at their defaults, 2 epochs", resolve(DEFAULTS | {"probes": "default"}, "defaults")),
            ("`quickstart`", load(CONFIGS / "quickstart.yaml", ["probes=default"])),
        ):
            plan = prepare(config, Path(runs), "cpu")
            programs = {"without": partial(_train, plan, ()), "with": partial(_train, plan, config.probes)}
            times = after_warm_up(in_turn(programs, ROUNDS + 1))
            pairs = zip(times["without"].seconds, times["with"].seconds, strict=True)
            added = Timed(tuple(100 * (with_ / without - 1) for without, with_ in pairs))
            lines.append(f"| {name} | {times['without']} | {times['with']} | {added} % | 10 % |")
    return "\n".join(lines)


def _train(plan: Plan, probes: tuple[ProbeSettings, ...]) -> None:
    """Train a plan as `bnexp run` does, without writing anything."""
    with closing(execute([Job.new(group) for group in plan.groups], plan.datasets, probes=probes)) as events:
        for event in events:
            assert not event.failure, event.failure


def _each() -> str:
    config = resolve(DEFAULTS, "defaults")
    group = groups(trials(config))[-1]
    shape, cpu, epochs = describe(group.settings.data), torch.device("cpu"), group.settings.train.epochs or 1
    epoch = median(estimated_seconds(group, shape, cpu) for _ in range(ROUNDS)) / epochs
    lines = ["| probe, taken once | milliseconds | of an epoch |", "|---|---|---|"]
    for name in PROBES:
        if name == "mode_gap":
            continue  # goes through whole splits, which an estimate on made-up images knows nothing of
        (probe,) = resolve(DEFAULTS | {"probes": [{"name": name, "at": [1]}]}, name).probes
        cost = median(probing_seconds(group, shape, cpu, [probe]) for _ in range(ROUNDS))
        lines.append(f"| {name} | {1000 * cost:.0f} | {cost / epoch:.1%} |")
    return "\n".join(lines)
