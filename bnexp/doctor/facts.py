"""What this machine has: versions, devices, data sets, and optional packages."""

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy
import torch

from bnexp import __version__
from bnexp.config.data import DATASETS
from bnexp.data.machine import available_cores, device_name, free_memory, is_complete, shared_folder, whole_memory
from bnexp.errors import EXTRAS, not_installed

BUNDLED = "bundled"
"""The place of a data set that comes with bnexp."""


@dataclass(frozen=True)
class DeviceFacts:
    """A device."""

    device: str
    name: str
    bytes: int
    """Its memory."""
    free: int
    """Free bytes of it."""


@dataclass(frozen=True)
class Facts:
    """What this machine has."""

    versions: Mapping[str, str | None]
    """None for what isn't there."""
    cores: int
    """CPU cores that this process may use."""
    threads: int
    """Threads of an operation of torch."""
    devices: Sequence[DeviceFacts]
    data: Mapping[str, str | None]
    """The folder of each data set, or `bundled`; None if its files aren't all there."""
    data_folder: str
    """Where data sets are looked for."""
    extras: Mapping[str, str]
    """The version of each optional package, or how to install it."""


def facts(devices: Sequence[torch.device]) -> Facts:
    """Look around on this machine."""
    root = shared_folder()
    named = {name: spec for name, spec in DATASETS.items() if spec.image}
    places = {name: root / spec.folder if spec.torchvision else BUNDLED for name, spec in named.items()}
    there = {name: str(place) if is_complete(named[name], root) else None for name, place in places.items()}
    return Facts(
        _versions(),
        available_cores(),
        torch.get_num_threads(),
        [DeviceFacts(str(each), device_name(each), whole_memory(each), free_memory(each)) for each in devices],
        there,
        str(root),
        {extra: not_installed(extra) or version(packages[0]) for extra, packages in EXTRAS.items()},
    )


def _versions() -> Mapping[str, str | None]:
    cudnn = torch.backends.cudnn.version()
    return {
        "bnexp": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "cuda": torch.version.cuda,
        "cudnn": cudnn and f"{cudnn // 10_000}.{cudnn // 100 % 100}.{cudnn % 100}",
        "driver": _driver() if torch.cuda.is_available() else None,
    }


def _driver() -> str | None:
    """Ask NVIDIA's own tool, since torch doesn't know."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, check=True, timeout=10, text=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().partition("\n")[0]
