"""Devices of this machine, the data sets loaded onto them, and what running out of memory looks like."""

import gc
import re
from collections.abc import Callable, Mapping, Sequence

import torch

from bnexp.data.catalog import DataShape, describe
from bnexp.data.dataset import Dataset, load
from bnexp.engines.engine import check_device
from bnexp.errors import InputError
from bnexp.plan import TrialGroup
from bnexp.training.numerics import dtype_of


def choose_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda`, `cuda:i` or `mps` means on this machine.

    Raises:
        InputError: no such device here.
    """
    if check_device(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    count = torch.cuda.device_count()
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= count:
        raise InputError(f"--device {name}: this machine has {count or 'no'} CUDA devices; use --device cpu or auto")
    if name == "mps" and not torch.backends.mps.is_available():
        raise InputError("--device mps: this machine has no Apple GPU that torch can use; use --device cpu or auto")
    return torch.device(name)


def all_devices() -> tuple[torch.device, ...]:
    """Return every device of this machine, the CPU first."""
    gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return (torch.device("cpu"), *gpus, *([torch.device("mps")] if torch.backends.mps.is_available() else []))


def choose_devices(name: str) -> tuple[torch.device, ...]:
    """Return the devices that a name means where several may be used: `auto` and `cuda` mean all GPUs.

    Raises:
        InputError: no such device here.
    """
    one = choose_device(name)
    if one.type == "cuda" and one.index is None and (count := torch.cuda.device_count()) > 1:
        return tuple(torch.device("cuda", index) for index in range(count))
    return (one,)


TRIED_FIRST = ("mps",)
"""Devices on which bnexp has never run: bnexp doctor's checks are made before anything is loaded onto them."""
NO_FLOAT64 = ("mps",)


def check_float64(device: torch.device, *users: str) -> None:
    """Do nothing if a device has float64, or nobody needs it.

    Raises:
        InputError: it doesn't; the message names what computes in float64.
    """
    if users and device.type in NO_FLOAT64:
        names = ", ".join(dict.fromkeys(users))
        raise InputError(f"--device {device}: it has no float64, which {names} needs; use --device cpu")


NO_MEMORY = re.compile(
    r"out.of.memory|ALLOC(ATION)?_FAILED|CUBLAS_STATUS_NOT_INITIALIZED|can't allocate memory|not enough memory", re.I
)
"""What a RuntimeError says where memory ran out, in CUDA, cuBLAS, cuDNN, cuSOLVER, or on the CPU. cuBLAS is "not
initialized" where its handle found no room."""


def out_of_memory(error: BaseException | None) -> bool:
    """Tell whether memory ran out, in this error or in one that it hides: an interrupted capture raises its own."""
    if error is None:
        return False
    said = isinstance(error, RuntimeError) and NO_MEMORY.search(str(error))
    here = bool(said) or isinstance(error, torch.OutOfMemoryError | MemoryError)
    return here or out_of_memory(error.__cause__ or error.__context__)


def release_memory() -> None:
    """Free the memory that nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


Datasets = Mapping[str, Dataset]
"""Loaded data sets by `data_key`."""


def load_data(groups: Sequence[TrialGroup], device: torch.device) -> Datasets:
    """Load every data set that the groups train on, once, onto a device that computes what it should.

    Raises:
        InputError: a data set can't be had as asked for, or the device can't be trusted with these groups.
    """
    precisions = sorted({group.settings.train.precision for group in groups})
    check_float64(device, *(f"train.precision={name}" for name in precisions if name == "fp64"))
    if device.type in TRIED_FIRST:
        from bnexp.doctor.examination import refuse_faulty

        refuse_faulty(device, precisions)
    wanted = {data_key(group): group.settings for group in groups}
    # Only loaded data tell whether they are scaled in float64.
    first = torch.device("cpu") if device.type in NO_FLOAT64 else device
    found = {key: load(each.data, first, dtype_of(each.train.precision)) for key, each in wanted.items()}
    scaled = [wanted[key].data for key, data in found.items() if data.normalization.once]
    check_float64(device, *(f"the scaling of {data.name} ({data.normalize})" for data in scaled))
    return {key: data.to(device) for key, data in found.items()}


def described(groups: Sequence[TrialGroup]) -> Callable[[TrialGroup], DataShape]:
    """Return a function that tells the sizes of each group's data; files are read only if nothing else tells them.

    Raises:
        InputError: a data set can't be had as asked for.
    """

    def key(group: TrialGroup) -> str:
        return group.settings.data.model_copy(update={"split_seed": 0}).model_dump_json()  # all splits have its sizes

    first = {key(group): group.settings.data for group in reversed(groups)}
    shapes = {name: describe(data) for name, data in first.items()}
    return lambda group: shapes[key(group)]


def data_key(group: TrialGroup) -> str:
    """Name the data that a group trains on: equal for groups that can share them in memory."""
    settings = group.settings
    return f"{settings.data.model_dump_json()} {dtype_of(settings.train.precision)}"
