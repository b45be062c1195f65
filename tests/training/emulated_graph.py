"""A CUDA graph's way of working, on the CPU: operations are recorded once and repeated on the same memory.

Nothing of Python runs again in a repetition, and an operation that would hand a number to the host is refused,
as a real capture refuses it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from bnexp.training.graphs import WARM_UPS


def emulated_graph(act: Callable[[], None], generators: object = None) -> Callable[[], None]:
    """Stands in for bnexp.training.graphs.cuda_graph."""
    for _ in range(WARM_UPS):
        act()
    recording = _Recording()
    # Unlike a capture, recording does the work too; the caller puts the state back either way.
    with recording:
        act()
    return recording.repeat


class _Recording(TorchDispatchMode):
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
        for func, args, kwargs, outputs in self._calls:
            if func.is_view:
                continue  # what it showed lies in memory that is written again
            again = [each for each in pytree.tree_leaves(func(*args, **kwargs)) if isinstance(each, torch.Tensor)]
            for old, new in zip(outputs, again, strict=True):
                if old is not new:
                    old.detach().copy_(new)
