"""Data sets that are downloaded or bundled: torchvision's, and the digits of scikit-learn."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bnexp.config.data import DataSettings
from bnexp.data.catalog import KNOWN_SETS
from bnexp.data.machine import data_folder
from bnexp.data.raw import RawImages, fixed_order
from bnexp.errors import InputError

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


_MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")


@dataclass(frozen=True)
class Source:
    """How torchvision keeps one data set."""

    reader: str
    """Name of the class in torchvision.datasets."""
    folder: str
    """Where its files lie in the folder of data sets."""
    files: tuple[str, ...]
    """The files that it reads."""

    def is_in(self, root: Path) -> bool:
        """Tell whether all files are there; whether they are whole shows when they are read."""
        return all(os.path.isfile(root / self.folder / name) for name in self.files)


SOURCES = {
    "mnist": Source("MNIST", "MNIST/raw", _MNIST_FILES),
    "fashion_mnist": Source("FashionMNIST", "FashionMNIST/raw", _MNIST_FILES),
    "cifar10": Source("CIFAR10", "cifar-10-batches-py", _CIFAR10_FILES),
    "cifar100": Source("CIFAR100", "cifar-100-python", ("train", "test", "meta")),
}


def read_torchvision(settings: DataSettings) -> RawImages:
    """Return the data set that the settings name, after downloading it where it is missing.

    Raises:
        InputError: it is missing and can't be downloaded, or its files are damaged.
    """
    import torchvision.datasets

    source, root = SOURCES[settings.name], data_folder(settings)
    reader = _safe(getattr(torchvision.datasets, source.reader))
    if not source.is_in(root):
        try:
            download(reader, source.folder, source.files, root)
            if not source.is_in(root):  # reading from a pipe could wait for ever
                raise OSError(f"{root / source.folder} holds something of that name which is not a file")
        except Exception as cause:  # urllib, http, ssl, tarfile and torchvision each have their own
            raise InputError(_missing(settings.name, source, root, cause)) from cause
    try:
        train, test = (_arrays(reader(root, train=train)) for train in (True, False))
        raw = RawImages(*train, *test, classes=KNOWN_SETS[settings.name].classes)
        raw.check(KNOWN_SETS[settings.name])
    except Exception as cause:  # torchvision meets damage with whatever breaks first: assert, KeyError, ValueError
        raise InputError(_damaged(settings.name, root / source.folder, cause)) from cause
    return raw


def _safe(reader: type) -> type:
    """Return a class of torchvision that unpickles nothing whose checksum it doesn't know.

    CIFAR's pickles it does check first; older versions' MNIST, pickles beside the raw files, it takes unseen.
    """
    # Under the same name, which says where the files are.
    return type(reader.__name__, (reader,), {"_check_legacy_exist": lambda self: False})


def _arrays(part: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return one half of a torchvision data set as images (N, C, H, W) and labels (N,)."""
    images = np.asarray(part.data)  # MNIST: N H W; CIFAR: N H W C
    images_NCHW = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return images_NCHW, np.asarray(part.targets, dtype=np.int64)


def _missing(name: str, source: Source, root: Path, cause: Exception) -> str:
    return (
        f"data.name: {name} is not in {root}, and downloading it failed ({_reason(cause)}). Three ways out:\n"
        "  - connect to the internet and run the same command again: it downloads what is missing on first use\n"
        f"  - put the unpacked files {', '.join(source.files)} into {root / source.folder}, or set BNEXP_DATA or "
        f"data.root to a folder that has them in its {source.folder}\n"
        "  - use data.name=digits, which is bundled"
    )


def _damaged(name: str, folder: Path, cause: Exception) -> str:
    return (
        f"data.name: the files of {name} in {folder} are damaged ({_reason(cause)}); "
        "delete that folder and run again to download them anew"
    )


def _reason(cause: Exception) -> str:
    # An assert without a message says nothing; its class at least says what kind of failure it was.
    return " ".join(str(cause).split()) or type(cause).__name__


def read_digits(settings: DataSettings) -> RawImages:
    """Return the digits in their fixed order, the last 360 of it as test images."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order_N = fixed_order(len(bunch.target))
    # Ink counts 0..16 are stretched to the 0..255 of every other set.
    images_NCHW = np.rint(bunch.images[order_N, None] * (255 / 16)).astype(np.uint8)
    labels_N = bunch.target[order_N].astype(np.int64)
    train = KNOWN_SETS["digits"].train
    return RawImages(images_NCHW[:train], labels_N[:train], images_NCHW[train:], labels_N[train:], classes=10)
