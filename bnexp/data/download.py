"""Downloading a data set so that it is either there, whole, or not there at all."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

TIMEOUT = 30.0
"""Seconds without a sign of life before a connection counts as failed."""


def download(reader: Callable[..., Any], folder: str, files: Sequence[str], root: Path) -> None:
    """Fetch a torchvision data set and put its `files` into root/folder; files already there are kept.

    A failure or an interruption leaves nothing behind, not even a new `root`.

    Raises:
        Exception: whatever torchvision, the network or the disk met.
    """
    # Beside the target and so on its file system: moving into place is then a rename, which never leaves half a file.
    with TemporaryDirectory(prefix=".bnexp-download-", dir=_nearest_existing(root)) as temporary, _timeout(TIMEOUT):
        reader(temporary, download=True)
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in files:
            if not (root / folder / name).exists():
                os.replace(Path(temporary) / folder / name, root / folder / name)


def _nearest_existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if os.path.exists(place))


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    # torchvision opens its connections without a timeout and takes none; a dead network would hang for minutes.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
