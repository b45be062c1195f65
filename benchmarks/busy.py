"""Training on a quiet machine and beside a program that keeps one core busy: workers of one thread, and threads."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.timing import Timed, timed
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import find, load
from bnexp.data.machine import available_cores
from bnexp.engines.local import CPU, Local, execute
from bnexp.engines.messages import Job
from bnexp.runner.prepare import Plan, prepare

SMALL_VGG = [
    *("name=vgg", "grid={}", "arms=[none,before]", "seeds=2", "train={epochs: 2, batch_size: 100}"),
    "data={name: mnist, train_size: 2000, val_size: 500, test_size: 500}",
    "model={family: vgg, depth: 5, width: 8, activation: relu, init: he}",
]
SMALL_RESNET = [*SMALL_VGG[:-1], "model={family: resnet, depth: 8, width: 8, activation: relu, init: he}"]
SWEEPS: dict[str, tuple[str, Sequence[str], float]] = {
    "init_scale": ("init_scale", [], 2.2),
    "quickstart": ("quickstart", [], 2.5),
    "deep_sigmoid, short": ("deep_sigmoid", ["data.train_size=5000", "train.epochs=2", "seeds=3"], 2.5),
    "small VGG": ("quickstart", SMALL_VGG, 2.5),
    "ResNet-8": ("quickstart", SMALL_RESNET, 2.5),
}
"""Configurations with their overrides, and how much longer they may take beside a busy program."""
WITH_THREADS = "init_scale"
"""The one that is trained with several threads as well, which takes minutes beside a busy program."""


def run(rounds: int = 3) -> str:
    """Return the table as Markdown."""
    rows = [row for name in SWEEPS for row in _rows(name, rounds)]
    return "\n".join(
        [
            f"Training alone, without imports, on {available_cores()} cores; seconds: median (range) of {rounds} "
            "rounds, in each of which everything runs in turn. *workers*: `bnexp run` as it is; *one thread*: one "
            "process (`--workers 1`); *threads*: one process whose operations use all cores, as version 0.2.0 did "
            f"({WITH_THREADS} only).",
            "",
            "| sweep | trained by | quiet | beside a busy program | ratio | at most |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )


def _rows(name: str, rounds: int) -> Iterator[str]:
    config, overrides, most = SWEEPS[name]
    programs = _programs(load(find(config), overrides))
    if name != WITH_THREADS:
        del programs["threads"]
    quiet: dict[str, list[float]] = {each: [] for each in programs}
    busy: dict[str, list[float]] = {each: [] for each in programs}
    for _ in range(rounds):
        for each, program in programs.items():
            quiet[each].append(timed(program))
            with busy_program():
                busy[each].append(timed(program))
    for each in programs:
        alone, beside = Timed(tuple(quiet[each])), Timed(tuple(busy[each]))
        limit = f"{most}×" if each == "workers" else ""
        yield f"| {name} | {each} | {alone} | {beside} | {beside.median / alone.median:.1f}× | {limit} |"


def _programs(config: ExperimentConfig) -> dict[str, Callable[[], object]]:
    """Return what trains an experiment, by name; the data are loaded once."""
    cores = available_cores()
    plans = {"workers": planned(config), "one thread": planned(config, workers=1)}
    one = plans["one thread"]
    programs: dict[str, Callable[[], object]] = {name: partial(train, plan) for name, plan in plans.items()}
    return programs | {"threads": lambda: list(execute(_jobs(one), one.datasets, probes=config.probes, threads=cores))}


def planned(config: ExperimentConfig, workers: int | None = None) -> Plan:
    """Return an experiment's plan on this machine, its data loaded; no run folder is left."""
    with TemporaryDirectory() as folder:
        return prepare(config, Path(folder), Local((CPU,), available_cores(), workers))


def train(plan: Plan) -> None:
    """Train a whole plan as `bnexp run` does, but record nothing.

    Raises:
        RuntimeError: a group failed, so that its time would mean nothing.
    """
    for event in plan.engine.execute(
        _jobs(plan), plan.datasets, lambda number: None, plan.config.probes, len(plan.trials)
    ):
        if event.failure:
            raise RuntimeError(event.failure)


def _jobs(plan: Plan) -> list[Job]:
    return [Job.new(group) for group in plan.groups]


@contextmanager
def busy_program() -> Iterator[None]:
    """Keep one core busy with another program."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()
