"""A tree of pictures, root/train/<class>/… and root/test/<class>/…: what is there, and of which shape.

Torch-free. Only names, sizes and time stamps are read here, and headers where the shape is asked for.

Hidden files and folders, and files that don't end as pictures do, are skipped without a word. Whatever else lies
there has to be a picture: one that can't be used is refused by its path, never left out.
"""

import logging
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from bnexp.config.text import escaped
from bnexp.data.folders import expanded
from bnexp.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENSIONS = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pgm": "PPM",
    ".png": "PNG",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""Endings of files that count as pictures, in either case, and PIL's name of the format.

Each may hold any of these formats, since data sets are full of JPEGs named .png, but no other: for some of those
PIL would start other programs.
"""
MOST_PIXELS = 2**24
"""Pixels of one picture, 4096x4096: a small file can stand for far more than any memory holds."""
FORMATS = sorted(set(EXTENSIONS.values()))
_SILENCE = logging.NullHandler()
"""Without any handler Python would print what PIL logs before an error."""
TOO_LARGE = f"it has more than {MOST_PIXELS:,} pixels"


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
    """List the pictures below `folder`, the setting data.root; links to folders are followed at the class only.

    Raises:
        InputError: it is no folder, lacks train/ or test/, their classes differ, a class has no picture, or a part
            can't be read or is no regular file.
    """
    layout = "image_folder needs pictures under train/<class>/ and test/<class>/"
    if folder is None:
        raise InputError(f"data.root: null, but {layout}; set data.root to the folder that holds train/ and test/")
    root = Path(os.path.realpath(expanded(folder, "data.root")))  # unlike Path.resolve, never an error
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
        message = f"data.root: train/ and test/ of {root} must hold the same classes; in only one: {odd}"
        raise InputError(escaped(message))
    return PictureTree(root, classes, *(_split(root / split, classes) for split in ("train", "test")))


def image_shape(tree: PictureTree) -> tuple[int, int, int]:
    """Return C, H, W: H and W of the first picture; C = 1 where every picture is grayscale, else 3.

    Reads headers up to the first picture in colour, thus one in most trees.

    Raises:
        InputError: a picture can't be read.
    """
    height, width = first_size(tree)
    return (1 if all(_is_gray(picture.path) for picture in (*tree.train, *tree.test)) else 3), height, width


def first_size(tree: PictureTree) -> tuple[int, int]:
    """Return H, W of the first picture, which all others have to share.

    Raises:
        InputError: it can't be read.
    """
    with opened(tree.train[0].path) as first:
        return first.height, first.width


@contextmanager
def opened(path: str) -> "Iterator[Image]":
    """Open one picture, of several in a file the first; whatever breaks while it is open is blamed on the file.

    Colours of 16 bits a channel are rounded down to 8, as PIL reads them.

    Raises:
        InputError: naming the file that is no readable picture of a known format, has more than MOST_PIXELS, or is
            grayscale of more than 8 bits.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd but readable files; what matters is an error
            logging.getLogger("PIL").addHandler(_SILENCE)
            with Image.open(path, formats=FORMATS) as image:
                _check_header(image)
                yield image
    except InputError:
        raise
    except Exception as cause:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        bomb = isinstance(cause, Image.DecompressionBombError)  # PIL's own limit comes first, and is higher
        reason = TOO_LARGE if bomb else str(cause) or type(cause).__name__
        message = f"data.root: {path} can't be used as a picture: {reason}; replace or remove it"
        raise InputError(escaped(message)) from cause


def _check_header(image: "Image") -> None:
    if image.mode[0] in "IF":  # 16- or 32-bit values, which PIL would clip at 255 without a word
        raise ValueError(f"mode {image.mode} has more than 8 bits a channel")
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(TOO_LARGE)


def _unreadable(cause: OSError) -> NoReturn:
    raise InputError(escaped(f"data.root: {cause.filename} can't be read ({cause.strerror})")) from cause


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
            message = f"data.root: {folder / name} holds no picture; expected files ending in {known}"
            raise InputError(escaped(message))
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
                if not stat.S_ISREG(status.st_mode):  # reading from a pipe could wait for ever
                    raise InputError(escaped(f"data.root: {path} is not a regular file; replace or remove it"))
                yield Picture(path, label, status.st_size, status.st_mtime_ns)
