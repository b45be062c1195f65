"""What a run ran on: versions, engine, device, threads, commit and command line."""

import platform
import subprocess
import sys
from importlib.metadata import version
from typing import Any

from bnexp import __version__
from bnexp.executors.engine import Engine

PACKAGES = ("torch", "torchvision", "numpy", "pydantic")


def environment(engine: Engine) -> dict[str, Any]:
    """Return what environment.json keeps besides the times."""
    return {
        "bnexp": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        **engine.facts(),
        "commit": _commit(),
        "command": sys.argv,
    }


def _commit() -> str | None:
    """Return the commit of the folder that the command is given in, if it is a repository."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode().strip()
