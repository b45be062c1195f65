"""torch.cuda without a GPU: its streams do everything at once, and its graphs repeat operations on the same memory.

Nothing of Python runs again in a repetition, and an operation that would hand a number to the host is refused, as a
real capture refuses it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from bnexp.training import graphs, side_by_side
from tests.gpu.audit import HOST_READS


class Recording(TorchDispatchMode):
    """Notes operations while they are done, to do them again. A real capture only notes them."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "a graph can't hand a number to the host"
        outputs = func(*args, **(kwargs or {}))
        tensors = [each for each in pytree.tree_leaves(outputs) if isinstance(each, torch.Tensor)]
        self._calls.append((func, args, kwargs or {}, tensors))
        return outputs

    @torch.no_grad()
    def repeat(self) -> None:
        """Do it all again, on the same memory."""
        for func, args, kwargs, outputs in self._calls:
            if func.is_view:
                continue  # what it showed lies in memory that is written again
            again = [each for each in pytree.tree_leaves(func(*args, **kwargs)) if isinstance(each, torch.Tensor)]
            for old, new in zip(outputs, again, strict=True):
                if old is not new:
                    old.detach().copy_(new)


class Switch:
    """A mode that is entered by one call and left by another."""

    mode: TorchDispatchMode | None = None

    def set(self, mode: TorchDispatchMode | None) -> None:
        if self.mode:
            self.mode.__exit__(None, None, None)
        self.mode = mode and mode.__enter__()


class _Refusal(TorchDispatchMode):
    """Calls that wait are errors."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func._schema.name.partition("::")[2] in HOST_READS:
            raise RuntimeError("called a synchronizing CUDA operation")
        return func(*args, **(kwargs or {}))


class PretendedCuda:
    """Takes the place of what torch.cuda does with streams, events and graphs.

    Args:
        recording: makes what is entered while a graph is captured; the graph's replay is its `repeat`.

    Attributes:
        streams: made so far, besides the one that everything starts on.
        entered: streams that were entered and not left, the current one last.
        registered: generators, once for each graph that knows them.
        waiting: makes calls that wait errors.
    """

    DEVICE = 1
    """Number of the current device."""

    def __init__(self, recording: Callable[[], Any] = Recording) -> None:
        self._recording = recording
        self.streams: list[SimpleNamespace] = []
        self.entered = [self._made(None)]
        self.registered: list[torch.Generator] = []
        self.waiting = Switch()

    def take_over(self, patch: pytest.MonkeyPatch) -> None:
        """Replace torch's own until the patch is undone."""
        nothing = ("synchronize", "empty_cache")
        own: dict[str, Any] = {name: lambda *args, **more: None for name in nothing} | {
            "Stream": self._stream,
            "Event": lambda *args, **more: SimpleNamespace(record=_nothing, wait=_nothing, synchronize=_nothing),
            "stream": self._entering,
            "current_stream": lambda device=None: self.entered[-1],
            "current_device": lambda: self.DEVICE,
            "CUDAGraph": lambda: SimpleNamespace(register_generator_state=self.registered.append),
            "graph": self._capturing,
            "set_sync_debug_mode": lambda mode: self.waiting.set(_Refusal() if mode == "error" else None),
        }
        for name, value in own.items():
            patch.setattr(torch.cuda, name, value)
        # A cache of its own: no stream of this one is there before or afterwards.
        for module, name in ((graphs, "capture_stream"), (side_by_side, "branch_streams")):
            patch.setattr(module, name, cache(getattr(module, name).__wrapped__))

    def _stream(self, device: int | None = None, priority: int = 0) -> SimpleNamespace:
        self.streams.append(self._made(device))
        return self.streams[-1]

    @staticmethod
    def _made(device: int | None) -> SimpleNamespace:
        names = ("wait_stream", "wait_event", "record_event", "synchronize")
        return SimpleNamespace(device=device, **dict.fromkeys(names, _nothing))

    @contextmanager
    def _entering(self, stream: SimpleNamespace) -> Iterator[None]:
        self.entered.append(stream)
        yield
        self.entered.pop()

    @contextmanager
    def _capturing(self, graph: SimpleNamespace, pool: object = None, stream: Any = None) -> Iterator[None]:
        with self._entering(stream or self._stream()), self._recording() as recording:
            yield
        graph.replay = recording.repeat


def _nothing(*args: object) -> None:
    pass
