"""Any tree of images, train/<class>/… and test/<class>/…, or <class>/…, as a data set: decoded once, then cached.

A file that is named like an image has to be one: where it can't be used it is refused by its path. A file without an
ending is read if it holds an image. Other files are left out, and counted by their ending.
"""

import hashlib
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bnexp.config.data import DataSettings
from bnexp.config.text import escaped, listed
from bnexp.data.catalog import BACKGROUNDS, Findings
from bnexp.data.machine import check_room, expanded, free_memory, shared_folder
from bnexp.data.own_files import DIGITS, changed_text
from bnexp.data.raw import RawImages, RawSplit, fixed_order, split_off
from bnexp.errors import InputError

LAYOUT = "image_folder needs images under train/<class>/ and test/<class>/, or under <class>/ alone"
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Lists of images and labels in the folders of Hugging Face's imagefolder."""
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir")
"""Folders that archives and network drives put beside one's own."""
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""What the folders of training, validation and test images are called, in any case of letters."""
ENDINGS = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings of files that have to be images, in either case."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""PIL's names of their formats. A file may hold any of them, since data sets are full of JPEGs named .png, but no
other: for some of those PIL would start other programs."""

Files = dict[str, list[tuple[str, int]]]
"""Path and label of every image file, by split and in the fixed order."""
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
    tree = _tree(settings)
    if isinstance(settings.digest, str) and (now := _digest(tree)) != settings.digest:
        raise InputError(escaped(changed_text(tree.root, now, settings.digest)))
    with _blamed():
        cache = _cache_file(tree.root, tree.files, settings.size)
    known = _load(cache, tree.files)
    arrays, background = known or _decode(tree.files, settings.size)
    if not known:
        _store(cache, arrays, background)
    splits = {
        split: RawSplit(arrays[split], np.array([label for _, label in found], np.int64))
        for split, found in tree.files.items()
    }
    remarks, alone = [*tree.remarks], "test" not in splits
    if alone:
        splits["train"], splits["test"], remark = split_off(splits["train"], settings)
        remarks.append(remark)
    if side := settings.size:
        remarks.append(
            f"images are resized to {side} pixels on their shorter side, and cut to the {side}x{side} in the middle"
        )
    findings = Findings(tree.left_out, background, tuple(remarks), tree.warnings)
    return RawImages(splits["train"], splits["test"], tree.classes, splits.get("val"), alone, findings=findings)


def digest(settings: DataSettings) -> str:
    """Return a digest of the images' names and sizes: reading them all takes long, and a copy has other time stamps.

    Raises:
        InputError: the tree is not as expected.
    """
    return _digest(_tree(settings))


@dataclass(frozen=True)
class Tree:
    """The images below a folder; none has been opened yet."""

    root: Path
    classes: int
    files: Files
    left_out: tuple[tuple[str, int], ...]
    """Kinds of files that aren't read, each with their number; the most frequent first."""
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]


def _tree(settings: DataSettings) -> Tree:
    root, left_out = _root(settings.root), Counter[str]()
    with _blamed():
        folders, remarks = _folders(root)
        classes, warnings = _classes(root, folders)
        if root not in folders.values():
            left_out.update(_beside(root, [folder.name for folder in folders.values()], "beside train/ and test/"))
        for folder in folders.values():
            left_out.update(_beside(folder, classes, "outside the class folders"))
        files = {name: _files(folder, classes, left_out) for name, folder in folders.items()}
    most_frequent_first = tuple(sorted(left_out.items(), key=lambda item: (-item[1], item[0])))
    return Tree(root, len(classes), files, most_frequent_first, tuple(remarks), tuple(warnings))


def _digest(tree: Tree) -> str:
    with _blamed():
        lines = [
            f"{split}\0{_with_slashes(os.path.relpath(path, tree.root))}\0{os.path.getsize(path)}\n"
            for split, found in tree.files.items()
            for path, _ in found
        ]
    whole = "".join(sorted(lines)).encode(errors="surrogateescape")
    return hashlib.sha256(whole).hexdigest()[:DIGITS]


@contextmanager
def _blamed() -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        raise InputError(escaped(f"data.root: {cause.filename} can't be read ({cause.strerror})")) from cause


def _root(folder: str | None) -> Path:
    if folder is None:
        raise InputError(f"data.root: null, but {LAYOUT}; set data.root to the folder that holds them")
    root = Path(os.path.realpath(expanded(folder, "data.root")))  # unlike Path.resolve, never an error
    if not os.path.isdir(root):  # unlike Path.is_dir, never an error
        raise InputError(f"data.root: {root} is not a folder; {LAYOUT}")
    return root


def _folders(root: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the folder of each split (the root itself if there are none), and what to say about the choice."""
    there = {entry.name.lower(): Path(entry.path) for entry in os.scandir(root) if entry.is_dir()}
    named = {split: [there[name] for name in names if name in there] for split, names in NAMES.items()}
    folders = {split: found[0] for split, found in named.items() if found}
    remarks = [
        f"{other.name}/ is not read, since {first.name}/ is"
        for first, *others in filter(None, named.values())
        for other in others
    ]
    if not folders:
        return {"train": root}, remarks
    if "val" in folders and "test" not in folders:
        folders["test"] = folders.pop("val")
        remarks.insert(0, f"the test images are those in {folders['test'].name}/, since there is no test/")
    for split in ("train", "test"):
        if split not in folders:
            raise InputError(f"data.root: {root} has no folder {split}/; {LAYOUT}")
    if "val" in folders:
        remarks.insert(0, f"the validation images are those in {folders['val'].name}/")
    return folders, remarks


def _hidden(name: str) -> bool:
    return name[0] == "." or name in SYSTEM_FOLDERS


def _classes(root: Path, folders: Mapping[str, Path]) -> tuple[tuple[str, ...], list[str]]:
    """Return the names of the class folders for training, and a warning of those that another split lacks."""
    found = {
        split: sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not _hidden(entry.name))
        for split, folder in folders.items()
    }
    classes, warnings = found["train"], list[str]()
    for split, names in found.items():
        folder = folders[split]
        if len(names) < 2 and (lists := [name for name in METADATA if os.path.isfile(folder / name)]):
            message = f"data.root: {folder} has its labels in {lists[0]}, as Hugging Face reads them"
            raise InputError(escaped(f"{message}; move the images to folders named after their classes. {LAYOUT}"))
        if not names:
            raise InputError(escaped(f"data.root: {folder} holds no class folder; {LAYOUT}"))
        if unknown := sorted({*names} - {*classes}):
            only = f"the class {unknown[0]}" if len(unknown) == 1 else f"the classes {listed(unknown)}"
            here = f"{folder.name}/ of {root} has {only}, without a folder in {folders['train'].name}/"
            raise InputError(escaped(f"data.root: {here}: no network can learn it; add training images, or remove it"))
        if lacking := sorted({*classes} - {*names}):
            warnings.append(escaped(f"{folder.name}/ has no folder {listed([f'{name}/' for name in lacking])}"))
    if len(classes) == 1:
        trained = folders["train"]
        message = f"data.root: {trained} holds a single class, {classes[0]}, and there is nothing to tell apart"
        inside = sorted(entry.name for entry in os.scandir(trained / classes[0]) if entry.is_dir())
        named = inside if len(inside) <= 5 else [*inside[:4], f"{len(inside) - 4} others"]
        within = f" (in {classes[0]}/ lie {listed(named)})" if inside else ""
        raise InputError(escaped(f"{message}; the folders of the classes have to lie directly in it{within}"))
    return tuple(classes), warnings


def _beside(folder: Path, read_here: Sequence[str], where: str) -> Iterator[str]:
    """Yield `where`, or "hidden", for all that lies in a folder beside the folders that are read."""
    for name in os.listdir(folder):
        if name not in read_here:
            yield "hidden" if _hidden(name) else where


def _files(folder: Path, classes: Sequence[str], left_out: Counter[str]) -> list[tuple[str, int]]:
    """Return path and label of a split's image files, in the fixed order of those sorted by class and path."""

    def is_image(path: str) -> bool:
        ending = os.path.splitext(path)[1].lower()
        hidden = any(map(_hidden, Path(path).relative_to(folder).parts))
        if hidden or not (ending in ENDINGS if ending else _holds_image(path)):
            left_out["hidden" if hidden else ending or "without an ending"] += 1
            return False
        if not os.path.isfile(path):
            raise InputError(escaped(f"data.root: {path} is not a regular file; replace or remove it"))
        return True

    in_order: list[tuple[str, int]] = []
    for label, name in enumerate(classes):
        walked = os.walk(folder / name, followlinks=True)
        paths = sorted((os.path.join(place, file) for place, _, files in walked for file in files), key=_with_slashes)
        images = [(path, label) for path in paths if is_image(path)]
        if not images and os.path.isdir(folder / name):
            message = f"data.root: {folder / name} holds no image that can be read"
            raise InputError(escaped(f"{message}; expected files ending in {', '.join(ENDINGS)}"))
        in_order += images
    return [in_order[index] for index in fixed_order(len(in_order))]


def _with_slashes(path: str) -> str:
    """Write a path as on Linux: images have one order, and a tree has one digest, on all systems."""
    return path.replace(os.sep, "/")


def _holds_image(path: str) -> bool:
    """Tell by the first bytes of a file if it is an image."""
    try:
        with open_image(path):
            return True
    except InputError:
        return False


@contextmanager
def open_image(path: str) -> Iterator[Image.Image]:
    """Open an image, the first if a file has several; any error while it is open counts as a fault of the file.

    Colours of 16 bits a channel are rounded down to 8, as PIL reads them.

    Raises:
        InputError: naming the file that is no readable image of a known format, or has more than 8 bits of grey.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # without a handler, Python prints what PIL logs
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            if image.mode[0] in "IF":  # 16- or 32-bit values, which PIL would clip at 255 without a word
                raise ValueError(f"mode {image.mode} has more than 8 bits a channel")
            yield image
    except InputError:
        raise
    except Exception as cause:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        reason = str(cause) or type(cause).__name__
        raise InputError(
            escaped(f"data.root: {path} can't be used as an image: {reason}; replace or remove it")
        ) from cause


def is_grey(image: Image.Image) -> bool:
    """Tell whether an image is grey or bilevel, with or without alpha, or has a palette with only greys in use."""
    if image.mode in ("P", "PA"):
        red, green, blue = on_background(image, "RGB", 0).split()
        return red.tobytes() == green.tobytes() == blue.tobytes()
    return image.mode in ("1", "L", "LA")


def is_transparent(image: Image.Image) -> bool:
    """Tell whether an image has transparent pixels."""
    shown = image.convert("RGBA").getchannel("A").histogram()[255]
    return image.has_transparency_data and shown < image.width * image.height


def on_background(image: Image.Image, mode: str, grey: int) -> Image.Image:
    """Return an image as L or RGB, with a grey value as background where it is transparent."""
    if not image.has_transparency_data:
        return image.convert(mode)
    whole = Image.new("RGBA", image.size, (grey, grey, grey, 255))
    whole.alpha_composite(image.convert("RGBA"))
    return whole.convert(mode)


def _decode(files: Files, side: int | None) -> tuple[Arrays, str]:
    """Decode all images; return them, and the name of the background of transparent ones, if there are any.

    With a `side` they become squares of that size, cut out of the middle and scaled bilinearly.
    """
    mode, (width, height), background = _survey(files, side)
    shape = (1 if mode == "L" else 3, height, width)
    count = sum(map(len, files.values()))
    what = f"data.root: {count} images of {width}x{height} pixels"
    check_room(what, count * prod(shape), "shrink the images, or keep fewer of them")
    arrays = {split: np.empty((len(found), *shape), np.uint8) for split, found in files.items()}
    # One thread: small images are decoded faster than a pool hands them out (60,000 of 32x32: 5 s, two threads 8 s).
    for split, found in files.items():
        for (path, _), image_CHW in zip(found, arrays[split], strict=True):
            with open_image(path) as image:
                flat = on_background(image, mode, BACKGROUNDS.get(background, 255))
                if side:
                    flat = ImageOps.fit(flat, (side, side), Image.Resampling.BILINEAR)
                image_CHW[:] = np.asarray(flat).reshape(height, width, -1).transpose(2, 0, 1)
    return arrays, background


def _survey(files: Files, side: int | None) -> tuple[str, tuple[int, int], str]:
    """Return L or RGB, width and height, and the name of the background, empty where no image is transparent.

    Without a `side` all images need one size. The background is white, or black if transparent training images are
    light: on average, with each pixel weighted by its opacity.
    """
    first = min(files["train"], key=lambda file: (file[1], file[0]))[0]
    with open_image(first) as image:
        size = image.size
    grey, transparent, light, opaque = True, False, 0.0, 0.0
    for split, path in ((split, path) for split, found in files.items() for path, _ in found):
        with open_image(path) as image:
            if image.size != size and not side:
                found = f"{image.width}x{image.height} pixels, but {first} is {size[0]}x{size[1]}"
                raise InputError(escaped(f"data.root: {path} is {found}; resize them, or set data.size"))
            grey = grey and is_grey(image)
            if is_transparent(image):
                transparent = True
                if split == "train":
                    whole = image.convert("RGBA")
                    alpha_HW = np.asarray(whole.getchannel("A"), dtype=float)
                    light += float((alpha_HW * np.asarray(whole.convert("RGB").convert("L"))).sum())
                    opaque += float(alpha_HW.sum())
    background = ("black" if light > 127.5 * opaque else "white") if transparent else ""
    return ("L" if grey else "RGB"), ((side, side) if side else size), background


# The cache: losing it costs only time.


def _cache_file(root: Path, files: Files, side: int | None) -> Path:
    """Return the cache file of a tree; any change to an image's path, size or time stamp gives another one."""
    digest = hashlib.sha256(f"bnexp image cache, version 3{f', size {side}' if side else ''}".encode())
    # Absolute paths: archives unpack with fixed time stamps, and bitmaps of one shape have one size.
    for path in sorted(path for found in files.values() for path, _ in found):
        status = os.stat(path)
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return shared_folder() / "image_folder_cache" / f"{root.name}-{digest.hexdigest()[:32]}.npz"


def _load(cache: Path, files: Files) -> tuple[Arrays, str] | None:
    """Return what `_decode` returned, or None where the cache is missing, damaged, or too large for the memory."""
    if not os.path.isfile(cache) or cache.stat().st_size > free_memory():
        return None
    try:
        with open(cache, "rb") as file, np.load(file, allow_pickle=False) as stored:
            return {split: stored[split] for split in files}, str(stored["background"])
    except Exception:  # damaged files fail in zipfile, zlib or NumPy, each of which has its own errors
        return None


def _store(cache: Path, arrays: Arrays, background: str) -> None:
    """Keep the images: all of them or, where the folder can't be written, none; never an error."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache.parent, prefix=".") as folder:
            np.savez(Path(folder) / cache.name, allow_pickle=False, background=np.array(background), **arrays)
            os.replace(Path(folder) / cache.name, cache)
    except OSError:
        pass  # a full disk or a read-only folder: images are decoded again next time
