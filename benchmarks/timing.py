"""Timing programs in turn, so that a slow minute of the machine touches all of them."""

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy
import torch

from bnexp.data.machine import device_name


@dataclass(frozen=True)
class Timed:
    """Seconds of one program, round by round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.seconds)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({min(self.seconds):.2f} to {max(self.seconds):.2f})"


Clock = Callable[[], float]


def in_turn(
    programs: Mapping[str, Callable[[], object]], rounds: int, clock: Clock = time.perf_counter
) -> dict[str, Timed]:
    """Run every program once a round and return the times by name."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            seconds[name].append(timed(program, clock))
    return {name: Timed(tuple(each)) for name, each in seconds.items()}


def after_warm_up(times: Mapping[str, Timed]) -> dict[str, Timed]:
    """Return the times without the first round."""
    return {name: Timed(each.seconds[1:]) for name, each in times.items()}


def timed(act: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Return the seconds that an act takes, work on a GPU included."""
    wait()
    started = clock()
    act()
    wait()
    return clock() - started


def wait() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def machine(device: torch.device) -> str:
    """Name the hardware and the versions, for the head of a table."""
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, NumPy {numpy.__version__}"
    return f"{device_name(device)}{threads}; {versions}"
