"""Times measured in turn, so that the machine's other work affects all of them equally."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.training.numerics import threads

WARM_UP = 3
BATCHES = 1, 256
"""Images at a time."""
MOST_ROUNDS, SECONDS, LEAST_ROUNDS = 101, 2.0, 5
"""Rounds in which networks are timed: fewer if they take this many seconds in all, but at least …"""

Act = Callable[[], object]


def in_turn(
    acts: Sequence[Act], rounds: int, times: int = 1, most_seconds: float = float("inf"), least_rounds: int = 1
) -> list[list[float]]:
    """Return for each act the seconds that it takes in each round, in which it is done several times in a row.

    Every other round goes through them in the opposite order. No round begins after `most_seconds`, unless fewer than
    `least_rounds` are done.
    """
    for act in acts:
        for _ in range(WARM_UP):
            act()
    seconds = [list[float]() for _ in acts]
    begun = time.perf_counter()
    for number in range(rounds):
        if number >= least_rounds and time.perf_counter() - begun > most_seconds:
            break
        order = range(len(acts)) if number % 2 == 0 else reversed(range(len(acts)))
        for place in order:
            started = time.perf_counter()
            for _ in range(times):
                acts[place]()
            seconds[place].append((time.perf_counter() - started) / times)
    return seconds


@dataclass(frozen=True)
class Timing:
    """How long a batch of images takes in two networks."""

    batch: int
    """Images at a time."""
    compiled: bool
    """By torch.compile."""
    before: float | None
    """Seconds, the median; None where the networks can't be compiled."""
    after: float | None
    problem: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the first the second network is."""
        return self.before / self.after if self.before and self.after else None


@torch.no_grad()
def timings(before: nn.Module, after: nn.Module, images_BCHW: Float[Tensor, "B C H W"], macs: int) -> Iterator[Timing]:
    """Yield how long batches of 1 and of 256 images take in networks in evaluation mode, as they are and compiled.

    The inputs are repeated where a batch takes more. If an image takes few multiply-accumulates, one thread computes,
    as in training.
    """
    for batch in BATCHES:
        x_BCHW = images_BCHW[torch.arange(batch, device=images_BCHW.device) % len(images_BCHW)]
        with threads(batch * macs, x_BCHW.device):
            eager = Timing(batch, False, *_medians([before, after], x_BCHW))
            # Otherwise torch counts compilations for earlier networks, too, and gives up after eight of them.
            torch.compiler.reset()
            try:
                compiled = [torch.compile(each, dynamic=False) for each in (before, after)]
                timing = Timing(batch, True, *_medians(compiled, x_BCHW))
            except Exception as error:  # whatever the compiler lacks on this machine
                timing = Timing(batch, True, None, None, f"{type(error).__name__}: {error}".partition("\n")[0])
        yield from (eager, timing)


def _medians(networks: Sequence[Callable[[Tensor], object]], x_BCHW: Tensor) -> tuple[float, float]:
    def run(network: Callable[[Tensor], object]) -> None:
        network(x_BCHW)
        if x_BCHW.device.type == "cuda":
            torch.cuda.synchronize(x_BCHW.device)

    acts = [partial(run, network) for network in networks]
    first, second = in_turn(acts, MOST_ROUNDS, most_seconds=SECONDS, least_rounds=LEAST_ROUNDS)
    return median(first), median(second)
