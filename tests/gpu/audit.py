"""Faults that a GPU minds and a CPU doesn't, found in the operations of an update, an evaluation or a probe."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

import bnexp

HOST_READS = frozenset(
    {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "is_nonzero"}
    | {"equal", "bincount", "_linalg_check_errors"}
)
"""Operations whose result the host has to wait for."""
COPIES = frozenset({"_to_copy", "copy_"})
PACKAGE = str(Path(bnexp.__file__).parent) + os.sep
BLOCK = 512
"""Bytes that an allocation is rounded up to."""

Kind = Literal["read", "copy", "host", "mixed"]
KINDS: dict[Kind, str] = {
    "read": "the host reads the device",
    "copy": "the host copies to the device",
    "host": "a tensor is made on the host",
    "mixed": "two devices meet",
}
"""What is no part of a graph. Outside of graphs the first three may be, now and then."""


@dataclass(frozen=True)
class Fault:
    """An operation that a GPU minds."""

    kind: Kind
    operation: str
    function: str
    """The innermost of bnexp that is being executed."""
    place: str
    """File and line in it."""

    def __str__(self) -> str:
        return f"{KINDS[self.kind]}: {self.operation} in {self.function}, {self.place}"


class Audit(TorchDispatchMode):
    """Notes operations that a GPU minds. Where the host reads a number of the device, it gets a made-up one.

    Attributes:
        faults: what was found.
    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[Fault] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.namespace == "prim":  # which device a tensor is on
            return func(*args, **(kwargs or {}))
        name, given = func._schema.name.partition("::")[2], _devices((args, kwargs))
        if "cuda" in given and (name in HOST_READS or (name.startswith("index") and _has_mask(args))):
            self._note("read", name)
        if name == "_local_scalar_dense":
            return _number(args[0])
        made = func(*args, **(kwargs or {}))
        if not func.is_view:
            devices = _devices(made)
            if len(given | devices) > 1:
                self._note(("read" if devices == {"cpu"} else "copy") if name in COPIES else "mixed", name)
            elif devices == {"cpu"}:
                self._note("host", name)
        return made

    def of(self, *kinds: Kind) -> list[str]:
        """Return the faults of some kinds as text."""
        return [str(fault) for fault in self.faults if fault.kind in kinds]

    def crossings(self) -> Counter[tuple[Kind, str]]:
        """Count what passes from one device to the other, by the function in which it does."""
        return Counter((fault.kind, fault.function) for fault in self.faults if fault.kind != "host")

    def _note(self, kind: Kind, operation: str) -> None:
        self.faults.append(Fault(kind, operation, *_place()))


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
    # Asking a fake tensor for its device is an operation, and takes as long as one.
    return {(getattr(tensor, "fake_device", None) or tensor.device).type for tensor in _tensors(tree)}


def _number(tensor: torch.Tensor) -> float | int | bool:
    """Return a made-up number of a tensor's type."""
    if tensor.dtype == torch.bool:
        return True
    return 1.0 if tensor.is_floating_point() else 1


def _has_mask(args: tuple[Any, ...]) -> bool:
    return any(tensor.dtype == torch.bool for tensor in _tensors(args[1:2]))


def _place() -> tuple[str, str]:
    """Return the innermost function of bnexp that is being executed, and where it is."""
    frame = sys._getframe(3)
    while frame.f_back and (PACKAGE not in frame.f_code.co_filename or frame.f_code.co_name.startswith("<")):
        frame = frame.f_back
    name = frame.f_code.co_filename.rpartition(PACKAGE)[2]
    return frame.f_code.co_qualname, f"{name}:{frame.f_lineno}"
