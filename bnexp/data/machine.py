"""What this machine is: its cores, its devices and their memory, and where data sets are looked for."""

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bnexp.config.data import DatasetSpec, DataSettings
from bnexp.config.text import gibibytes
from bnexp.errors import InputError

if TYPE_CHECKING:
    import torch


def shared_folder() -> Path:
    """Return the folder of data sets: $BNEXP_DATA, else the user's cache folder. It may not exist yet.

    Raises:
        InputError: no home folder is known.
    """
    if named := os.environ.get("BNEXP_DATA"):
        return expanded(named, "BNEXP_DATA").absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else expanded("~", "BNEXP_DATA") / ".cache") / "bnexp"


def expanded(written: str, key: str) -> Path:
    """Return a path with `~` and `~user` replaced by the home folder.

    Raises:
        InputError: there is no such user, or nobody knows the home folder; the message names the key.
    """
    try:
        return Path(written).expanduser()
    except RuntimeError:
        raise InputError(f"{key}: {written}: no home folder is known for it; write the whole path") from None


def data_folder(settings: DataSettings) -> Path:
    """Return the folder that holds the files of a data set: data.root, else the shared folder.

    Raises:
        InputError: something is there, but it is not a folder; or no home folder is known.
    """
    folder = shared_folder() if settings.root is None else expanded(settings.root, "data.root").absolute()
    if os.path.exists(folder) and not os.path.isdir(folder):  # unlike Path's own, never an error
        key = "BNEXP_DATA" if settings.root is None else "data.root"
        own = "; to read a file of your own, set data.name to arrays (.npz) or csv" if settings.root else ""
        raise InputError(f"{key}: {folder} is not a folder; set it to the folder that holds the data sets{own}")
    return folder


def is_complete(spec: DatasetSpec, root: Path) -> bool:
    """Tell whether a folder of data sets holds all files of a set."""
    return all(os.path.isfile(root / spec.folder / file) for file in spec.files)


def available_cores() -> int:
    """Return the CPU cores that this process may use, as its affinity and the limits of its container allow."""
    from joblib import cpu_count

    return int(cpu_count())


def device_name(device: "torch.device") -> str:
    """Name the model of a device."""
    if device.type == "cuda":
        import torch

        return str(torch.cuda.get_device_name(device))
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or not a PC; Apple's GPU is a part of the processor
        return platform.processor() or platform.machine()


def free_memory(device: "torch.device | None" = None) -> int:
    """Return the bytes that a device, by default the CPU, has to spare at this moment."""
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.empty_cache()  # what torch keeps for later is not in use
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def check_room(what: str, needed: int, remedy: str, device: "torch.device | None" = None) -> None:
    """Check that enough bytes are free.

    Args:
        what: takes them, in the plural and after the key that it is about.
        needed: bytes.
        remedy: what to do where they aren't free.
        device: whose memory; None: the CPU's.

    Raises:
        InputError: they aren't.
    """
    if needed > (free := free_memory(device)):
        place = f" on {device}" if device is not None else ""
        raise InputError(f"{what} take {gibibytes(needed)}, and {gibibytes(free)} of memory are free{place}; {remedy}")


def whole_memory(device: "torch.device") -> int:
    """Return the bytes that a device has."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[1])
    return int(psutil.virtual_memory().total)
