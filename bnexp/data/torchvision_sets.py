"""Data sets that torchvision downloads and reads."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torchvision.datasets

from bnexp.config.data import DATASETS, DatasetSpec, DataSettings
from bnexp.data.catalog import published
from bnexp.data.machine import data_folder, is_complete
from bnexp.data.raw import RawImages, RawSplit
from bnexp.errors import InputError


def read(settings: DataSettings) -> RawImages:
    """Return the data set that the settings name, after downloading it where it is missing.

    Raises:
        InputError: it is missing and can't be downloaded, or its files are damaged.
    """
    name, spec, root = settings.name, DATASETS[settings.name], data_folder(settings)
    reader, folder = getattr(torchvision.datasets, spec.torchvision), root / spec.folder
    if not is_complete(spec, root):
        try:
            _download(reader, spec, root)
        except Exception as cause:  # urllib, http, ssl, tarfile and torchvision each have their own errors
            raise InputError(
                f"data.name: {name} is not in {root}, and downloading it failed ({_reason(cause)}). Three ways out:\n"
                "  - connect to the internet and run the same command again: it downloads what is missing on first "
                f"use\n  - put the unpacked files {', '.join(spec.files)} into {folder}, or set BNEXP_DATA or "
                f"data.root to a folder that has them in its {spec.folder}\n"
                "  - use data.name=digits, which is bundled"
            ) from cause
    try:
        train, test = (_arrays(spec, reader(root, **half)) for half in spec.halves)
        raw = RawImages(train, test, classes=spec.classes)
        raw.check(published(name))
    except Exception as cause:  # damage: assert, KeyError, ValueError, whatever breaks first
        raise InputError(
            f"data.name: the files of {name} in {folder} are damaged ({_reason(cause)}); "
            f"delete {', '.join(spec.files)} there and run again to download them again"
        ) from cause
    return raw


def _download(reader: Any, spec: DatasetSpec, root: Path) -> None:
    """Fetch the files of a set; those already there are kept.

    A failure or an interruption leaves nothing behind, not even a new `root`.
    """
    nearest = next(place for place in (root, *root.parents) if os.path.exists(place))
    # On the target's file system: moving into place is then a rename, which never leaves half a file.
    with TemporaryDirectory(prefix=".bnexp-download-", dir=nearest) as temporary, _timeout(30.0):
        for half in spec.halves:  # most readers fetch both at once, so that the second is there already
            reader(temporary, **half, download=True)
        (root / spec.folder).mkdir(parents=True, exist_ok=True)
        for name in spec.files:
            if not (root / spec.folder / name).exists():
                os.replace(Path(temporary) / spec.folder / name, root / spec.folder / name)


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    # torchvision opens its connections without a timeout and takes none; a dead network would hang for minutes.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _arrays(spec: DatasetSpec, part: Any) -> RawSplit:
    """Return one half of a torchvision data set."""
    images = np.asarray(part.data)  # MNIST: N H W; CIFAR: N H W C; SVHN: N C H W
    if spec.transposed:
        images = images.transpose(0, 2, 1)
    images = images[:, None] if images.ndim == 3 else images
    images_NCHW = images.transpose(0, 3, 1, 2) if images.shape[-1] == 3 else images
    labels = part.labels if hasattr(part, "labels") else part.targets
    return RawSplit(np.ascontiguousarray(images_NCHW), np.asarray(labels, dtype=np.int64))


def _reason(cause: Exception) -> str:
    # An assert without a message says nothing; its class at least says what kind of failure it was.
    return " ".join(str(cause).split()) or type(cause).__name__
