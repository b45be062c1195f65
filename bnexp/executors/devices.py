"""The devices of this machine by the names that people give them."""

import platform
import re

import torch

from bnexp.errors import InputError


def choose_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `cuda:i` means on this machine.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", name):
        raise InputError(f"--device {name}: expected auto, cpu, cuda or cuda:i")
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
