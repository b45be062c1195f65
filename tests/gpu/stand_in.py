"""The CPU in a GPU's place: tests of a GPU run everywhere, though only a GPU can say whether its numbers are right.

Updates are captured and repeated by graphs that only look like CUDA's, memory has a limit where a test sets one, and
calls that wait are errors where a test says so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bnexp.training import graphs
from tests.gpu.audit import Alive
from tests.gpu.pretended_cuda import PretendedCuda, Switch

MEMORY = 80 * 2**30
"""Bytes of the device."""


@contextmanager
def cpu_in_place() -> Iterator[torch.device]:
    """Let bnexp use the CPU as it uses a GPU, and yield it."""
    cpu = torch.device("cpu")
    with pytest.MonkeyPatch.context() as patch:
        pretended = PretendedCuda()
        pretended.take_over(patch)
        graphed = graphs.graphed
        patch.setattr(graphs, "graphed", lambda model, device: graphed(model, torch.device("cuda")))
        memory = Switch()
        own = {
            "memory_reserved": lambda device=None: 0,
            "get_device_properties": lambda device=None: SimpleNamespace(total_memory=MEMORY),
            "set_per_process_memory_fraction": lambda share: memory.set(_Limit(share) if share < 1 else None),
        }
        for name, value in own.items():
            patch.setattr(torch.cuda, name, value)
        yield cpu
        assert memory.mode is pretended.waiting.mode is None, "a test has to put back what it sets"


class _Limit(Alive):
    """Memory runs out."""

    def __init__(self, share: float) -> None:
        super().__init__((), "cpu")
        self._room = share * MEMORY

    def __torch_dispatch__(self, *call: Any) -> Any:
        made = super().__torch_dispatch__(*call)
        if self.now > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return made
