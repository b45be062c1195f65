"""Any tree of images, train/<class>/… and test/<class>/…, as a data set: decoded once, then read from a cache.

A file that is named like an image has to be one: where it can't be used it is refused by its path. Other files are left
out, and counted by their reason.
"""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from bnexp.config.data import DataSettings
from bnexp.config.text import counted, escaped
from bnexp.data.catalog import BACKGROUNDS, Findings, most_frequent_first
from bnexp.data.image_files import ENDINGS, is_grey, is_transparent, on_background, open_image
from bnexp.data.machine import expanded, free_memory, shared_folder
from bnexp.data.raw import RawImages, fixed_order
from bnexp.errors import InputError

LAYOUT = "image_folder needs images under train/<class>/ and test/<class>/"
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir")
"""Folders that archives and network drives put beside one's own."""
OTHER_NAMES_OF_VAL = ("valid", "validation", "dev")
FEW = 10
"""A class with fewer training images is named."""

Arrays = dict[str, NDArray[np.uint8]]
"""Images (N, C, H, W) by split."""


def read(settings: DataSettings) -> RawImages:
    """Return the images below data.root, each split in a fixed shuffled order.

    C is 1 if all files are grey, else 3. Transparent images are laid on one background, the same for all: white, or
    black where what the training images show is light, so that neither black nor white ink gets lost.

    Raises:
        InputError: the tree is not as expected, an image is unreadable or of another size than the first, or all of
            them together don't fit the free memory.
    """
    tree = find_images(settings.root)
    cache = _cache_file(tree)
    known = _load(cache, tree)
    arrays, background = known or _decode(tree)
    if not known:
        _store(cache, arrays, background)
    labels = {split: np.array([each.label for each in files], np.int64) for split, files in tree.splits.items()}
    return RawImages(
        arrays["train"],
        labels["train"],
        arrays["test"],
        labels["test"],
        len(tree.classes),
        val=(arrays["val"], labels["val"]) if "val" in arrays else None,
        findings=replace(tree.findings, background=background),
    )


# Which files there are.


class File(NamedTuple):
    """One image file."""

    path: str
    label: int
    """Index of its class."""
    size: int
    """Bytes."""
    mtime_ns: int


@dataclass(frozen=True)
class ImageTree:
    """Every image file below one folder."""

    root: Path
    """Absolute, with links resolved."""
    classes: tuple[str, ...]
    splits: Mapping[str, Sequence[File]]
    """Files of train, test and, if there is one, val, in the fixed order."""
    first: File
    """The first training image by class and path: the others have to be as large."""
    findings: Findings


def find_images(folder: str | None) -> ImageTree:
    """List the images below `folder`, the setting data.root. Links are followed to files and classes only.

    Raises:
        InputError: it is no folder, lacks train/ or test/, holds one class only, its folders hold different classes, a
            class has no image, or a part can't be read or is no regular file.
    """
    root = _root(folder)
    left_out = Counter[str]()
    names = ["train", "test", *(["val"] if os.path.isdir(root / "val") else [])]
    left_out["beside train/ and test/"] += sum(entry.name not in names for entry in _shown(root, left_out))
    classes = {name: _classes(root / name, left_out) for name in names}
    _check_classes(root, classes)
    files = {name: _class_files(root / name, classes["train"], left_out) for name in names}
    findings = Findings(most_frequent_first(left_out), remarks=tuple(_remarks(root, classes["train"], files)))
    # Sorted by class, the first N images would all be of the first class.
    splits = {name: [found[index] for index in fixed_order(len(found))] for name, found in files.items()}
    return ImageTree(root, classes["train"], splits, files["train"][0], findings)


def _root(folder: str | None) -> Path:
    if folder is None:
        raise InputError(f"data.root: null, but {LAYOUT}; set data.root to the folder that holds train/ and test/")
    root = Path(os.path.realpath(expanded(folder, "data.root")))  # unlike Path.resolve, never an error
    if not os.path.isdir(root):  # unlike Path.is_dir, never an error
        raise InputError(f"data.root: {root} is not a folder; {LAYOUT} in it")
    for split in ("train", "test"):
        if not os.path.isdir(root / split):
            raise InputError(f"data.root: {root} has no folder {split}/; {LAYOUT}")
    return root


def _hidden(name: str) -> bool:
    return name[0] == "." or name in SYSTEM_FOLDERS


def _shown(folder: Path, left_out: Counter[str]) -> list[Path]:
    """Return what a folder holds, without what is hidden."""
    try:
        entries = list(folder.iterdir())
    except OSError as cause:
        _unreadable(cause)
    shown = [entry for entry in entries if not _hidden(entry.name)]
    left_out["hidden"] += len(entries) - len(shown)
    return shown


def _classes(folder: Path, left_out: Counter[str]) -> tuple[str, ...]:
    entries = _shown(folder, left_out)
    classes = tuple(sorted(entry.name for entry in entries if entry.is_dir()))
    left_out["outside the class folders"] += len(entries) - len(classes)
    return classes


def _check_classes(root: Path, found: Mapping[str, tuple[str, ...]]) -> None:
    classes = found["train"]
    if not classes:
        raise InputError(f"data.root: {root / 'train'} holds no class folder; {LAYOUT}")
    for split, others in found.items():
        if odd := sorted({*classes} ^ {*others}):
            message = f"data.root: train/ and {split}/ of {root} must hold the same classes; in only one: "
            raise InputError(escaped(message + ", ".join(odd)))
    if len(classes) == 1:
        message = f"data.root: {root / 'train'} holds a single class, {classes[0]}, and there is nothing to tell apart"
        raise InputError(escaped(f"{message}; the folders of the classes have to lie directly in train/ and test/"))


def _class_files(folder: Path, classes: Sequence[str], left_out: Counter[str]) -> list[File]:
    """Return the image files of a split, by class and then by path."""
    files: list[File] = []
    for label, name in enumerate(classes):
        others = Counter[str]()
        found = sorted(_walk(folder / name, label, others))
        if not found:
            there = Findings(most_frequent_first(others)).left_out_text() or "nothing"
            message = f"data.root: {folder / name} holds no image that can be read (there is: {there}); expected "
            raise InputError(escaped(message + f"files ending in {', '.join(ENDINGS)}"))
        left_out.update(others)
        files += found
    return files


def _walk(folder: Path, label: int, left_out: Counter[str]) -> Iterator[File]:
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        shown = [name for name in folders if not _hidden(name)]
        left_out["hidden"] += len(folders) - len(shown)
        left_out["linked folder"] += sum(os.path.islink(os.path.join(place, name)) for name in shown)
        folders[:] = shown
        for name in names:
            ending = os.path.splitext(name)[1].lower()
            if _hidden(name):
                left_out["hidden"] += 1
            elif ending in ENDINGS:
                yield _file(os.path.join(place, name), label)
            else:
                left_out[ending or "without an ending"] += 1


def _file(path: str, label: int) -> File:
    try:
        status = os.stat(path)
    except OSError as cause:  # a dangling link
        _unreadable(cause)
    if not stat.S_ISREG(status.st_mode):
        raise InputError(escaped(f"data.root: {path} is not a regular file; replace or remove it"))
    return File(path, label, status.st_size, status.st_mtime_ns)


def _remarks(root: Path, classes: Sequence[str], files: Mapping[str, Sequence[File]]) -> Iterator[str]:
    """Yield what may surprise in how the tree is read."""
    if "val" in files:
        yield "the validation images are those in val/"
    for name in OTHER_NAMES_OF_VAL:
        if os.path.isdir(root / name):
            yield f"{name}/ is not read; name it val/ to validate on it"
    label, fewest = min(Counter(file.label for file in files["train"]).items(), key=lambda item: item[1])
    if fewest < FEW:
        yield f"the smallest class, {classes[label]}, has {counted(fewest, 'image')} in train/"


def _unreadable(cause: OSError) -> NoReturn:
    raise InputError(escaped(f"data.root: {cause.filename} can't be read ({cause.strerror})")) from cause


# What they show.


def _decode(tree: ImageTree) -> tuple[Arrays, str]:
    """Decode all images; return them, and the name of what transparent ones are laid on, if there are any."""
    same = _SameSize.as_first_of(tree)
    files = list(chain(*tree.splits.values()))
    channels = 1 if all(map(same.is_grey, files)) else 3
    _check_memory(len(files), channels, same)
    arrays = {
        split: np.empty((len(found), channels, same.height, same.width), np.uint8)
        for split, found in tree.splits.items()
    }
    transparent = []
    # One thread: small images are decoded faster than a pool hands them out (60,000 of 32x32: 5 s, two threads 8 s).
    for split, found in tree.splits.items():
        for file, image_CHW in zip(found, arrays[split], strict=True):
            with same.opened(file) as image:
                if is_transparent(image):
                    transparent.append((split, file, image_CHW))
                else:
                    image_CHW[:] = _pixels(image, channels)
    if not transparent:
        return arrays, ""
    background = _background([file for split, file, _ in transparent if split == "train"])
    for _, file, image_CHW in transparent:
        with same.opened(file) as image:
            image_CHW[:] = _pixels(image, channels, BACKGROUNDS[background])
    return arrays, background


@dataclass(frozen=True)
class _SameSize:
    """Opens images that have to be as large as the first."""

    first: str
    width: int
    height: int

    @classmethod
    def as_first_of(cls, tree: ImageTree) -> "_SameSize":
        with open_image(tree.first.path) as image:
            return cls(tree.first.path, *image.size)

    @contextmanager
    def opened(self, file: File) -> Iterator[Image]:
        with open_image(file.path) as image:
            if image.size != (self.width, self.height):
                found = f"{image.width}x{image.height} pixels, but {self.first} is {self.width}x{self.height}"
                raise InputError(escaped(f"data.root: {file.path} is {found}; resize the images to one size"))
            yield image

    def is_grey(self, file: File) -> bool:
        with self.opened(file) as image:
            return is_grey(image)


def _check_memory(count: int, channels: int, size: _SameSize) -> None:
    needed, free = count * channels * size.height * size.width, free_memory()
    if needed > free:
        raise InputError(
            f"data.root: {count} images of {size.width}x{size.height} pixels take {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB of memory are free; shrink the images, or keep fewer of them"
        )


def _pixels(image: Image, channels: int, background: int = 255) -> NDArray[np.uint8]:
    """Return an image as uint8 (C, H, W)."""
    flat = np.asarray(on_background(image, "L" if channels == 1 else "RGB", background))
    return flat.reshape(image.height, image.width, channels).transpose(2, 0, 1)


def _background(files: Sequence[File]) -> str:
    """Return white, or black where images are light: on average, each pixel as far as it is opaque."""
    light = opaque = 0.0
    for file in files:
        with open_image(file.path) as image:
            whole = image.convert("RGBA")
            alpha_HW = np.asarray(whole.getchannel("A"), dtype=float)
            light += float((alpha_HW * np.asarray(whole.convert("RGB").convert("L"))).sum())
            opaque += float(alpha_HW.sum())
    return "black" if light > 127.5 * opaque else "white"


# The cache: losing it costs only time.


def _cache_file(tree: ImageTree) -> Path:
    """Return the cache file of a tree; any change to an image's path, size or time stamp gives another one."""
    digest = hashlib.sha256(b"bnexp image cache, version 3")
    # Absolute paths: archives unpack with fixed time stamps, and bitmaps of one shape have one size.
    for file in sorted(chain(*tree.splits.values())):
        digest.update(f"{file.path}\0{file.size}\0{file.mtime_ns}\0".encode(errors="surrogateescape"))
    return shared_folder() / "image_folder_cache" / f"{tree.root.name}-{digest.hexdigest()[:32]}.npz"


def _load(cache: Path, tree: ImageTree) -> tuple[Arrays, str] | None:
    """Return what `_decode` returned, or None where the cache is missing, damaged, or too large for the memory."""
    if not os.path.isfile(cache) or cache.stat().st_size > free_memory():
        return None
    try:
        with open(cache, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays, background = {split: stored[split] for split in tree.splits}, str(stored["background"])
    except Exception:  # damage breaks in zipfile, zlib or NumPy, each of which has its own errors
        return None
    whole = all(len(arrays[split]) == len(files) for split, files in tree.splits.items())
    return (arrays, background) if whole and background in ("", *BACKGROUNDS) else None


def _store(cache: Path, arrays: Arrays, background: str) -> None:
    """Keep the images: all of them or, where the folder can't be written, none; never an error."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache.parent, prefix=".") as folder:
            np.savez(Path(folder) / cache.name, allow_pickle=False, background=np.array(background), **arrays)
            os.replace(Path(folder) / cache.name, cache)
    except OSError:
        pass  # a full disk or a read-only folder: the images are decoded again next time
