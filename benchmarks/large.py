"""How long the commands that read take over a study of 10,000 trials with 100 records each, and how much memory."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.timing import Timed
from bnexp.config.load import find, load
from bnexp.plan import Trial, run_name, trials
from bnexp.records import EpochRecord, Outcome
from bnexp.store.writer import RunWriter

RECORDS = 100
STUDY = [
    *("name=large", "arms=[none, before]", "data.val_size=200", f"train.epochs={RECORDS - 1}", "seeds=50"),
    "grid={train.lr: {logspace: [0.001, 10, 10]}, model.init.scale: {logspace: [0.01, 10, 10]}}",
]
"""Overrides of quickstart: 10 rates × 10 scales × 2 arms × 50 seeds."""
GROUP = 100
"""Trials that train together."""
STEPS = 20
"""Updates of an epoch."""

COMMANDS = {
    "list": ["list"],
    "compare": ["compare", "large"],
    "watch": ["watch", "large", "--once"],
    "report --no-pictures": ["report", "large", "--no-pictures", "--quiet"],
    "report": ["report", "large", "--quiet"],
}
MEASURED = """
import resource, sys
from bnexp.cli.main import main
try:
    main()
finally:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(sum(each.ru_utime + each.ru_stime for each in used), own, used[1].ru_maxrss, file=sys.stderr)
"""
"""Runs a command; then says what seconds of processors it took, and the most KiB of it and of a process of its own.
(What getrusage says of the command's own memory begins with that of the process which started it.)"""


@dataclass(frozen=True)
class Used:
    """What a command took."""

    seconds: float
    """By the clock."""
    processor: float
    """Seconds of processors, those of all its processes together."""
    mebibytes: float
    """The most memory of it, and of the largest of its processes."""


def run(rounds: int = 3) -> str:
    """Return the table as Markdown: every command in turn, in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        path = forge(Path(folder))
        megabytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
        used: dict[str, list[Used]] = {name: [] for name in COMMANDS}
        for _ in range(rounds):
            for name, words in COMMANDS.items():
                used[name].append(_measured([*words, "--runs", folder]))
        page = (path / "report.html").stat().st_size / 1e6
    return "\n".join(
        [
            f"A forged run of 10,000 trials with {RECORDS} records each ({megabytes:.0f} MB); whole commands, imports "
            f"included; n = {rounds} rounds, in each of which all run in turn; to reach: 3 s and 1024 MiB. The page "
            f"has {page:.1f} MB.",
            "",
            "| command | seconds: median (range) | seconds of processors | MiB |",
            "|---|---|---|---|",
            *(_row(name, found) for name, found in used.items()),
        ]
    )


def _row(name: str, found: Sequence[Used]) -> str:
    clock, processor = (Timed(tuple(getattr(each, field) for each in found)) for field in ("seconds", "processor"))
    return f"| {name} | {clock} | {processor} | {max(each.mebibytes for each in found):.0f} |"


def _measured(words: Sequence[str]) -> Used:
    begun = time.perf_counter()
    ended = subprocess.run([sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - begun
    processor, *kibibytes = map(float, ended.stderr.splitlines()[-1].split())
    return Used(seconds, processor, max(kibibytes) / 1024)


def forge(runs: Path, overrides: Sequence[str] = (), *, last: int = RECORDS) -> Path:
    """Write a run that nobody trained, record by record as a run's writer does, and return its folder.

    Args:
        runs: folder of the run folders.
        overrides: of the study.
        last: records of each trial of the last group; fewer than all leave the run unfinished.
    """
    config = load(find("quickstart"), [*STUDY, *overrides])
    planned, records = trials(config), (config.train.epochs or 0) + 1
    together = [planned[start : start + GROUP] for start in range(0, len(planned), GROUP)]
    path = runs / run_name(config)
    numbers = [[trial.number for trial in group] for group in together]
    random = np.random.default_rng(0)
    with closing(RunWriter.create(path, config, planned, {"device": "cpu"}, numbers)) as writer:
        writer.log(f"{len(planned)} planned in {len(together)} groups")
        for group in together:
            ended = records if group is not together[-1] else min(last, records)
            for record in _records(group, ended, random):
                writer.append(record)
            if ended == records:
                writer.end(_outcomes(group))
        if last >= records:
            writer.finish()
    return path


def _records(group: Sequence[Trial], count: int, random: np.random.Generator) -> list[EpochRecord]:
    """Return what a group's trials might have measured: accuracies that rise, with a ceiling of their own."""
    numbers = tuple(trial.number for trial in group)
    ceiling_K = random.uniform(0.5, 1, len(group))
    nothing = (None,) * len(group)
    found = []
    for epoch in range(count):
        error_K = 1 - ceiling_K * (1 - np.exp(-epoch / 20)) - 0.02 * random.random(len(group))
        measures = {}
        for split, images in {"train": 1000, "val": 200, "test": 360}.items():
            accuracy_K = np.round(np.clip(1 - error_K, 0, 1) * images) / images
            measures[f"{split}_accuracy"] = tuple(accuracy_K.tolist())
            loss_K = (2.3 * error_K + 0.1 * random.random(len(group))).astype(np.float32)
            measures[f"{split}_loss"] = tuple(loss_K.tolist())
        rates = tuple(trial.settings.train.lr for trial in group)
        found.append(
            EpochRecord(numbers, epoch, STEPS * epoch, measures, rates, 0.01 * epoch, nothing, nothing, nothing)
        )
    return found


def _outcomes(group: Sequence[Trial]) -> list[Outcome]:
    """Return how they ended: one in a hundred diverged."""
    return [
        Outcome(trial.number, "diverged", STEPS * 50)
        if trial.number % 100 == 99
        else Outcome(trial.number, "completed")
        for trial in group
    ]
