"""Run the benchmarks of a CPU and print their tables as Markdown: `python -m benchmarks [NAME ...]`."""

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import (
    against_loops,
    busy,
    convolutions,
    halving,
    kernels,
    large,
    own_networks,
    probes,
    processes,
    recording,
    trials_at_once,
    tuning,
)
from benchmarks.timing import machine

CPU = torch.device("cpu")
ON_CPU: dict[str, Callable[[], str]] = {
    "Against one network at a time": against_loops.run,
    "Beside a busy program": busy.run,
    "Trials at once": lambda: trials_at_once.run(CPU),
    "Convolutions": convolutions.run,
    "Norm kinds": convolutions.norm_kinds,
    "Perceptrons of one's own": own_networks.run,
    "Recording": recording.run,
    "Successive halving": halving.run,
    "Probes": probes.run,
    "Whole commands": processes.run,
    "Listening to a cluster": lambda: _cluster(),
}
COUNTED: dict[str, Callable[[], str]] = {
    "Large studies": large.run,
    "Kernels on a GPU, counted without one": kernels.run,
    "False verdicts on tuned arms": tuning.run,
    "False verdicts in real studies": tuning.run_real,
}
"""What needs no data but what comes with bnexp."""
ON_REQUEST = ("Listening to a cluster", "Successive halving", "False verdicts in real studies", "Large studies")
"""What needs Ray, or minutes: run only where a word asks for it."""


def main(words: list[str]) -> int:
    """Run the sections whose titles contain one of the words, or all but those on request."""
    sections = ON_CPU | COUNTED
    wanted = {title: run for title, run in sections.items() if _is_wanted(title, words)}
    if wanted.keys() - COUNTED.keys() and not (Path(os.environ.get("BNEXP_DATA", "")) / "MNIST" / "raw").is_dir():
        print("the benchmarks train on MNIST: set BNEXP_DATA to the folder that holds MNIST/raw", file=sys.stderr)
        return 2
    for title, run in wanted.items():
        print(f"### {title}\n\n{machine(CPU)}; {platform.system()}\n\n{run()}\n", flush=True)
    return 0


def _is_wanted(title: str, words: list[str]) -> bool:
    return any(word.lower() in title.lower() for word in words) if words else title not in ON_REQUEST


def _cluster() -> str:
    from benchmarks import cluster

    return cluster.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
