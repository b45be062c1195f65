"""Whole commands as a user starts them, from the first import to the last file."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.study import CONFIG
from benchmarks.timing import Timed
from bnexp.engines.planning import makespan
from bnexp.store.files import groups_of
from bnexp.store.reader import RunRecord

BNEXP = ("-m", "bnexp")
TORCH = "import torch"


@dataclass(frozen=True)
class Command:
    """One line of the table."""

    words: tuple[str | Path, ...]
    """What Python is started with."""
    target: float | None = None
    """Seconds to reach."""
    beyond_torch: bool = False
    """These seconds come on top of what importing torch takes."""
    trained: Path | None = None
    """Folder of the run that it trains, if the updates are left out of the seconds."""


@dataclass(frozen=True)
class Spent:
    """Seconds that a process took."""

    wall: float
    cpu: float
    """Its own and those of the processes that it waited for, training included."""


def run(rounds: int = 5) -> str:
    """Return the table as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        many, fresh, finished = (Path(folder) / name for name in ("many", "fresh", "finished"))
        spend((*BNEXP, "run", CONFIG, "seeds=32", "train.steps=2", "train.record_at=[1]", "--runs", many, "--quiet"))
        spend((*BNEXP, "run", "quickstart", "--runs", finished, "--quiet"))
        (compared,) = many.iterdir()
        quickstart = (*BNEXP, "run", "quickstart", "--runs")
        commands = {
            TORCH: Command(("-c", TORCH)),
            "bnexp --help": Command((*BNEXP, "--help"), 0.4),
            "bnexp run quickstart, without its updates": Command((*quickstart, fresh), 1.0, True, fresh),
            "bnexp show quickstart": Command((*BNEXP, "show", "quickstart"), 0.8, True),
            "bnexp report": Command((*BNEXP, "report", "--runs", finished), 2.5),
            "bnexp run quickstart, finished before": Command((*quickstart, finished), 0.8),
            "bnexp compare": Command((*BNEXP, "compare", "--runs", finished), 0.8),
            "bnexp compare, 1,024 trials": Command((*BNEXP, "compare", compared), 2),
            "bnexp run configs/init_scale.yaml": Command((*BNEXP, "run", CONFIG, "--runs", fresh), 12),
        }
        spent: dict[str, list[Spent]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                spent[name].append(spend(command.words, command.trained))
            shutil.rmtree(fresh)
    return f"{rounds} runs of each, in turn.\n\n{table(commands, spent)}"


def table(commands: dict[str, Command], spent: dict[str, list[Spent]]) -> str:
    """Return the times of commands beside their targets, as Markdown."""
    rows = ["| command | seconds: median (range) | CPU seconds | to reach |", "|---|---|---|---|"]
    wall = {name: Timed(tuple(each.wall for each in times)) for name, times in spent.items()}
    for name, command in commands.items():
        base = wall[TORCH].median if command.beyond_torch else 0.0
        target = "" if command.target is None else f"{base + command.target:.2f}"
        rows.append(f"| `{name}` | {wall[name]} | {Timed(tuple(each.cpu for each in spent[name]))} | {target} |")
    return "\n".join(rows)


def spend(words: tuple[str | Path, ...], trained: Path | None = None) -> Spent:
    """Run Python and return what that takes, less the updates of the only run in the folder `trained`."""
    # Users have compiled modules, wherever this is measured.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    wall, cpu = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Spent(wall - (training_seconds(next(trained.iterdir())) if trained else 0.0), cpu)


def training_seconds(run: Path) -> float:
    """Return what a run's updates took by its clocks, until the last worker was done; measuring is no part of it."""
    record = RunRecord(run)
    seconds, found = record.trials["seconds"], record.environment
    return makespan([float(seconds[group].sum()) for group in groups_of(found)], found["workers"])
