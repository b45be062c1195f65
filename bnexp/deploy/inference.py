"""How long two networks take to answer, one against the other.

Repetitions take turns, so that what else the machine does falls on both alike.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.training.numerics import threads

BATCHES = 1, 256
"""Images at a time."""
WARM_UP = 3
REPETITIONS, SECONDS = 101, 2.0
"""Repetitions that are timed, fewer where they take so long together, but at least …"""
LEAST = 5

Network = Callable[[Tensor], object]


@dataclass(frozen=True)
class Timing:
    """What a batch of images takes in two networks."""

    batch: int
    """Images at a time."""
    compiled: bool
    """By torch.compile."""
    before: float | None
    """Seconds, the median; None where the networks can't be compiled."""
    after: float | None
    problem: str = ""
    """Why they can't."""

    @property
    def ratio(self) -> float | None:
        """How many times as fast the second network is."""
        return self.before / self.after if self.before and self.after else None


@torch.no_grad()
def timings(
    before: nn.Module, after: nn.Module, images_BCHW: Float[Tensor, "B C H W"], products: int
) -> Iterator[Timing]:
    """Yield what batches of 1 and of 256 images take, as the networks are and compiled.

    Args:
        before, after: in evaluation mode, where the images are.
        images_BCHW: some inputs, which are repeated where a batch takes more.
        products: of weights and activations for one image; where there are few, one thread computes, as in training.
    """
    for batch in BATCHES:
        x_BCHW = images_BCHW[torch.arange(batch, device=images_BCHW.device) % len(images_BCHW)]
        with threads(batch * products, x_BCHW.device):
            eager = Timing(batch, False, *_medians(before, after, x_BCHW))
            compiled = _compiled(before, after, x_BCHW)
        yield from (eager, compiled)


def _compiled(before: nn.Module, after: nn.Module, x_BCHW: Tensor) -> Timing:
    # Otherwise torch counts what it compiled for other networks, and gives up after eight of them.
    torch.compiler.reset()
    try:
        first, second = (torch.compile(each, dynamic=False) for each in (before, after))
        return Timing(len(x_BCHW), True, *_medians(first, second, x_BCHW))
    except Exception as error:  # whatever the compiler lacks here
        return Timing(len(x_BCHW), True, None, None, f"{type(error).__name__}: {error}".partition("\n")[0])


def _medians(before: Network, after: Network, x_BCHW: Tensor) -> tuple[float, float]:
    for network in (before, after):
        for _ in range(WARM_UP):
            network(x_BCHW)
    earlier, later = list[float](), list[float]()
    started = time.perf_counter()
    while len(earlier) < LEAST or (len(earlier) < REPETITIONS and time.perf_counter() - started < SECONDS):
        earlier.append(_time(before, x_BCHW))
        later.append(_time(after, x_BCHW))
    return median(earlier), median(later)


def _time(network: Network, x_BCHW: Tensor) -> float:
    _wait(x_BCHW.device)
    started = time.perf_counter()
    network(x_BCHW)
    _wait(x_BCHW.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
