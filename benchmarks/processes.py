"""Whole commands as a user starts them, from the first import to the last file."""

import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.study import CONFIG
from benchmarks.timing import Timed, timed

TARGETS = {"bnexp --help": 0.4, "bnexp run configs/init_scale.yaml": 12, "bnexp compare (1,000 trials)": 2}


def run(rounds: int = 5) -> str:
    """Return the table as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        _bnexp("run", CONFIG, "seeds=32", "train.steps=2", "train.record_at=[1]", "--runs", runs / "many", "--quiet")
        (many,) = (runs / "many").iterdir()
        seconds: dict[str, list[float]] = {name: [] for name in TARGETS}
        for _ in range(rounds):
            commands: dict[str, list[str | Path]] = {
                "bnexp --help": ["--help"],
                "bnexp run configs/init_scale.yaml": ["run", CONFIG, "--runs", runs / "fresh"],
                "bnexp compare (1,000 trials)": ["compare", many],
            }
            for name, words in commands.items():
                seconds[name].append(timed(partial(_bnexp, *words)))
            shutil.rmtree(runs / "fresh")
    rows = ["| command | seconds: median (range) | to reach |", "|---|---|---|"]
    rows += [f"| `{name}` | {Timed(tuple(each))} | {TARGETS[name]} |" for name, each in seconds.items()]
    return "\n".join([f"{rounds} runs of each, in turn; the compared run has 1,024 trials.", "", *rows])


def _bnexp(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "bnexp", *words], check=True, stdout=subprocess.DEVNULL)
