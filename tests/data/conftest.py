"""Fixtures of the data tests: private folders, tiny files of every kind, and the real MNIST where there is one."""

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REAL_DATA = os.environ.get("BNEXP_DATA")
"""Read before the fixture below hides it."""


@pytest.fixture(autouse=True)
def shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data sets that does not exist yet; no test sees or writes the user's own."""
    folder = tmp_path / "shared" / "data"
    monkeypatch.setenv("BNEXP_DATA", str(folder))
    return folder


@pytest.fixture
def real_mnist() -> str:
    """The folder that really holds MNIST, or a skipped test."""
    if not REAL_DATA:
        pytest.skip("BNEXP_DATA is not set: it names the folder that holds MNIST/raw")
    if not (Path(REAL_DATA) / "MNIST" / "raw").is_dir():
        pytest.skip(f"no MNIST/raw in BNEXP_DATA={REAL_DATA}")
    return REAL_DATA


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection fails at once, as without a name server."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def impatient() -> Iterator[None]:
    """Ends a test that waits."""

    def end(*_: object) -> None:
        pytest.fail("waited for five seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _write_mnist(
    folder: Path, train: int = 7, test: int = 3, names: tuple[str, str] = ("train", "t10k"), classes: int = 10
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for half, count in zip(names, (train, test), strict=True):
        header = b"".join(number.to_bytes(4, "big") for number in (0x803, count, 28, 28))
        pixels = rng.integers(0, 256, count * 784, dtype=np.uint8)
        (folder / f"{half}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        header = b"".join(number.to_bytes(4, "big") for number in (0x801, count))
        (folder / f"{half}-labels-idx1-ubyte").write_bytes(header + bytes(i % classes for i in range(count)))


@pytest.fixture
def write_mnist() -> Callable[..., None]:
    """Write MNIST's four files, with a few random images, into a folder."""
    return _write_mnist


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A tree of 2 classes, 6 training and 2 test images of 4x3 pixels, in colour.

    Every image of class cat is plain red 10·i, every dog plain blue 10·i, i counting the files.
    """
    root = tmp_path / "images"
    for split, count in (("train", 3), ("test", 1)):
        for name, channel in (("cat", 0), ("dog", 2)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels_HWC = np.zeros((3, 4, 3), dtype=np.uint8)
                pixels_HWC[..., channel] = 10 * (i + 1)
                Image.fromarray(pixels_HWC).save(root / split / name / f"{i}.png")
    return root
