"""Faults that a GPU minds and a CPU doesn't, found in the operations of an update, an evaluation or a probe."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

HOST_READS = frozenset(
    {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "is_nonzero"}
    | {"equal", "bincount", "_linalg_check_errors"}
)
"""Operations whose result the host has to wait for."""
BLOCK = 512
"""Bytes that an allocation is rounded up to."""


class Audit(TorchDispatchMode):
    """Notes operations that read the device, leave it, or are no part of a graph.

    Attributes:
        faults: what was found, each with its place in bnexp.
        operations: names of all operations that made something new.
    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.operations: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.partition("::")[2]
        given, by_mask = _devices((args, kwargs)), name.startswith("index") and _has_mask(args)
        if name in HOST_READS or by_mask:
            self.faults.append(f"the host reads the device: {name} at {_place()}")
        made = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.operations.append(f"{name}.{func._overloadname}")
            devices = _devices(made)
            if devices == {"cpu"}:
                self.faults.append(f"a tensor is made on the CPU: {name} at {_place()}")
            elif len(devices | given) > 1:
                self.faults.append(f"two devices meet: {name} at {_place()}")
        return made


class Alive(TorchDispatchMode):
    """Counts the bytes of what operations make on a device, in the allocator's blocks, besides what was there.

    What one stream of a GPU has freed, another one can't take.

    Attributes:
        now: alive at this moment.
        most: alive at once.
    """

    def __init__(self, there: Iterable[torch.Tensor], device: str = "cuda") -> None:
        super().__init__()
        self.now = self.most = 0
        self._device = device
        self._there = {tensor.untyped_storage()._cdata for tensor in there}
        self._alive: dict[int, tuple[StorageWeakRef, int, int]] = {}
        self._most = Counter[int]()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for storage in [tensor.untyped_storage() for tensor in _tensors(made) if tensor.device.type == self._device]:
            if storage._cdata not in self._there:
                stream = id(torch.cuda.current_stream()) if self._device == "cuda" else 0
                self._alive[storage._cdata] = StorageWeakRef(storage), -(-storage.nbytes() // BLOCK) * BLOCK, stream
        self._alive = {key: found for key, found in self._alive.items() if not found[0].expired()}
        now = Counter[int]()
        for _, size, stream in self._alive.values():
            now[stream] += size
        self._most |= now  # the larger of each
        self.now, self.most = now.total(), self._most.total()
        return made


def replaced(act: Callable[[], object], state: Callable[[], Mapping[str, torch.Tensor]]) -> list[str]:
    """Return the tensors of a state whose memory an act replaced: a graph writes to the old one."""
    before = {name: tensor.untyped_storage()._cdata for name, tensor in state().items()}
    act()
    return [name for name, tensor in state().items() if tensor.untyped_storage()._cdata != before[name]]


def _tensors(tree: object) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _devices(tree: object) -> set[str]:
    return {tensor.device.type for tensor in _tensors(tree)}


def _has_mask(args: tuple[Any, ...]) -> bool:
    return any(tensor.dtype == torch.bool for tensor in _tensors(args[1:2]))


def _place() -> str:
    """Return the innermost line of bnexp that is being executed."""
    frame = sys._getframe(2)
    while frame.f_back and "/bnexp/" not in frame.f_code.co_filename.rpartition("site-packages")[2]:
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rpartition('/bnexp/')[2]}:{frame.f_lineno}"
