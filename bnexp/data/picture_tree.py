"""A tree of pictures, root/train/<class>/… and root/test/<class>/…: what is there, and of which shape.

Torch-free. Only names, sizes and time stamps are read here, and headers where the shape is asked for.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from bnexp.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENSIONS = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""Files that count as pictures, in either case."""


class Picture(NamedTuple):
    """One file of the tree."""

    path: str
    label: int
    """Index of its class."""
    size: int
    """Bytes."""
    mtime_ns: int


@dataclass(frozen=True)
class PictureTree:
    """Every picture below one folder, sorted by class and then by path."""

    root: Path
    """Absolute, with links resolved."""
    classes: tuple[str, ...]
    train: tuple[Picture, ...]
    test: tuple[Picture, ...]


def scan(folder: str | None) -> PictureTree:
    """List the pictures below `folder`, the setting data.root; hidden files and folders are ignored.

    Raises:
        InputError: it is no folder, lacks train/ or test/, their classes differ, a class has no picture, or a part
            can't be read.
    """
    layout = "image_folder needs pictures under train/<class>/ and test/<class>/"
    if folder is None:
        raise InputError(f"data.root: null, but {layout}; set data.root to the folder that holds train/ and test/")
    root = Path(folder).expanduser().resolve()
    if not os.path.isdir(root):  # unlike Path.is_dir, never an error
        raise InputError(f"data.root: {root} is not a folder; {layout} in it")
    for split in ("train", "test"):
        if not os.path.isdir(root / split):
            raise InputError(f"data.root: {root} has no folder {split}/; {layout}")
    classes, test_classes = _classes(root / "train"), _classes(root / "test")
    if not classes:
        raise InputError(f"data.root: {root / 'train'} holds no class folder; {layout}")
    if classes != test_classes:
        odd = ", ".join(sorted(set(classes) ^ set(test_classes)))
        raise InputError(f"data.root: train/ and test/ of {root} must hold the same classes; in only one: {odd}")
    return PictureTree(root, classes, *(_split(root / split, classes) for split in ("train", "test")))


def image_shape(tree: PictureTree) -> tuple[int, int, int]:
    """Return C, H, W: H and W of the first picture; C = 1 where every picture is grayscale, else 3.

    Reads headers up to the first picture in colour, thus one in most trees.

    Raises:
        InputError: a picture can't be read.
    """
    with opened(tree.train[0].path) as first:
        width, height = first.size
    return (1 if all(_is_gray(picture.path) for picture in (*tree.train, *tree.test)) else 3), height, width


@contextmanager
def opened(path: str) -> "Iterator[Image]":
    """Open one picture; whatever breaks while it is open is blamed on the file.

    Raises:
        InputError: naming the file that is no readable picture, or has more than 8 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":  # 16- or 32-bit values, which PIL would clip at 255 without a word
                raise ValueError(f"mode {image.mode} has more than 8 bits a channel")
            yield image
    except InputError:
        raise
    except Exception as cause:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        reason = str(cause) or type(cause).__name__
        raise InputError(f"data.root: {path} can't be used as a picture: {reason}; replace or remove it") from cause


def _unreadable(cause: OSError) -> NoReturn:
    raise InputError(f"data.root: {cause.filename} can't be read ({cause.strerror})") from cause


def _is_gray(path: str) -> bool:
    with opened(path) as image:
        return image.mode == "L"


def _classes(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    except OSError as cause:
        _unreadable(cause)


def _split(folder: Path, classes: tuple[str, ...]) -> tuple[Picture, ...]:
    pictures: list[Picture] = []
    for label, name in enumerate(classes):
        found = sorted(_pictures(folder / name, label))
        if not found:
            known = ", ".join(sorted(EXTENSIONS))
            raise InputError(f"data.root: {folder / name} holds no picture; expected files ending in {known}")
        pictures += found
    return tuple(pictures)


def _pictures(folder: Path, label: int) -> Iterator[Picture]:
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if name[0] != "."]
        for name in names:
            if name[0] != "." and os.path.splitext(name)[1].lower() in EXTENSIONS:
                path = os.path.join(place, name)
                try:
                    status = os.stat(path)
                except OSError as cause:  # a dangling link
                    _unreadable(cause)
                yield Picture(path, label, status.st_size, status.st_mtime_ns)
