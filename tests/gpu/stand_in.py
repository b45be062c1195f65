"""The CPU in a GPU's place: tests of a GPU run everywhere, though only a GPU can say whether its numbers are right.

Updates are captured and repeated by graphs that only look like CUDA's, memory has a limit where a test sets one, and
calls that wait are errors where a test says so.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bnexp.training import graphs
from tests.gpu.audit import HOST_READS, Alive
from tests.gpu.pretended_cuda import PretendedCuda

MEMORY = 80 * 2**30
"""Bytes of the device."""


@contextmanager
def cpu_in_place() -> Iterator[torch.device]:
    """Let bnexp use the CPU as it uses a GPU, and yield it."""
    cpu = torch.device("cpu")
    with pytest.MonkeyPatch.context() as patch:
        PretendedCuda().take_over(patch)
        graphed = graphs.graphed
        patch.setattr(graphs, "graphed", lambda model, device: graphed(model, torch.device("cuda")))
        memory, waiting = _Switch(), _Switch()
        own = {
            "memory_reserved": lambda device=None: 0,
            "get_device_properties": lambda device=None: SimpleNamespace(total_memory=MEMORY),
            "set_per_process_memory_fraction": lambda share: memory.set(_Limit(share) if share < 1 else None),
            "set_sync_debug_mode": lambda mode: waiting.set(_Refusal() if mode == "error" else None),
        }
        for name, value in own.items():
            patch.setattr(torch.cuda, name, value)
        yield cpu
        assert memory.mode is waiting.mode is None, "a test has to put back what it sets"


class _Switch:
    """A mode that is entered by one call and left by another."""

    mode: TorchDispatchMode | None = None

    def set(self, mode: TorchDispatchMode | None) -> None:
        if self.mode:
            self.mode.__exit__(None, None, None)
        self.mode = mode and mode.__enter__()


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


class _Refusal(TorchDispatchMode):
    """Calls that wait are errors."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func._schema.name.partition("::")[2] in HOST_READS:
            raise RuntimeError("called a synchronizing CUDA operation")
        return func(*args, **(kwargs or {}))
