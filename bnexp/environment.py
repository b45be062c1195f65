"""What a run ran on: versions, device, threads, commit and command line."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import torch

from bnexp import __version__

PACKAGES = ("torch", "torchvision", "numpy", "pydantic")


def environment(device: torch.device) -> dict[str, Any]:
    """Return what environment.json keeps besides the times."""
    on_gpu = device.type == "cuda"
    return {
        "bnexp": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if on_gpu else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "engine": "local",
        "commit": _commit(),
        "command": sys.argv,
    }


def _commit() -> str | None:
    """Return the commit of the folder that the command is given in, if it is a repository."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
