"""Doing something every so many seconds, but never for more than a share of the time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HELD_SHARE, SAVED_SHARE = 0.005, 0.02
"""The largest shares of the time that may go into copies of the state, held for an interruption, and into checkpoints,
however often they are asked for."""


class Throttle:
    """Something that is due every so many seconds, but takes no more than a share of the time."""

    def __init__(self, every: float, share: float):
        self._every, self._share = every, share
        self._last, self._took = time.monotonic(), 0.0

    def due(self, others: int = 0) -> bool:
        """Tell whether it is due, with this many others that take turns within the same share."""
        return time.monotonic() - self._last >= max(self._every, (1 + others) * self._took / self._share)

    def run(self, work: Callable[[], T]) -> T:
        """Call `work`, remember how long it took, and return its result."""
        started = time.monotonic()
        result = work()
        self._last = time.monotonic()
        self._took = self._last - started
        return result

    def charge(self, seconds: float) -> None:
        """Add seconds to the last call: the time that its consequences took elsewhere."""
        self._took += seconds
