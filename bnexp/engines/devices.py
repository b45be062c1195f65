"""Devices of this machine, the data sets loaded onto them, and what running out of memory looks like."""

import gc
import platform
import re
from collections.abc import Mapping, Sequence

import torch

from bnexp.data.dataset import Dataset, load
from bnexp.engines.engine import check_device
from bnexp.errors import InputError
from bnexp.plan import TrialGroup
from bnexp.training.numerics import dtype_of


def choose_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `cuda:i` means on this machine.

    Raises:
        InputError: no such device here.
    """
    if check_device(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    count = torch.cuda.device_count()
    if name != "cpu" and int(name.partition(":")[2] or 0) >= count:
        raise InputError(f"--device {name}: this machine has {count or 'no'} CUDA devices; use --device cpu or auto")
    return torch.device(name)


def choose_devices(name: str) -> tuple[torch.device, ...]:
    """Return the devices that a name means where several may be used: `auto` and `cuda` mean all GPUs.

    Raises:
        InputError: no such device here.
    """
    one = choose_device(name)
    if one.type == "cuda" and one.index is None and (count := torch.cuda.device_count()) > 1:
        return tuple(torch.device("cuda", index) for index in range(count))
    return (one,)


def available_cores() -> int:
    """Return the CPU cores that this process may use, as its affinity and the limits of its container allow."""
    from joblib import cpu_count

    return int(cpu_count())


def device_name(device: torch.device) -> str:
    """Name the model of a device."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return platform.processor() or platform.machine()


NO_MEMORY = re.compile(
    r"out.of.memory|ALLOC(ATION)?_FAILED|CUBLAS_STATUS_NOT_INITIALIZED|can't allocate memory|not enough memory", re.I
)
"""What a RuntimeError says where memory ran out, in CUDA, cuBLAS, cuDNN, cuSOLVER, or on the CPU. cuBLAS is "not
initialized" where its handle found no room."""


def out_of_memory(error: BaseException | None) -> bool:
    """Tell whether memory ran out, in this error or in one that it hides: a capture that breaks off raises its own."""
    if error is None:
        return False
    said = isinstance(error, RuntimeError) and NO_MEMORY.search(str(error))
    here = bool(said) or isinstance(error, torch.OutOfMemoryError | MemoryError)
    return here or out_of_memory(error.__cause__ or error.__context__)


def release_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


Datasets = Mapping[str, Dataset]
"""Loaded data sets by `data_key`."""


def load_data(groups: Sequence[TrialGroup], device: torch.device) -> Datasets:
    """Load every data set that the groups train on, once.

    Raises:
        InputError: a data set can't be had as asked for.
    """
    wanted = {data_key(group): group.settings for group in groups}
    return {key: load(each.data, device, dtype_of(each.train.precision)) for key, each in wanted.items()}


def data_key(group: TrialGroup) -> str:
    """Name the data that a group trains on: equal for groups that can share them in memory."""
    settings = group.settings
    return f"{settings.data.model_dump_json()} {dtype_of(settings.train.precision)}"
