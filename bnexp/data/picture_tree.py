"""A tree of pictures, root/train/<class>/… and root/test/<class>/…, perhaps with root/val/<class>/…: what is there.

Torch-free. Names, sizes and time stamps are read, and the first bytes of a file where its name doesn't tell.

A file that is named like a picture has to be one: where it can't be used it is refused by its path. Whatever else is
left out is counted by its reason.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

from bnexp.config.text import escaped
from bnexp.data.class_folders import LAYOUT, check_classes, is_hidden
from bnexp.data.findings import Findings, most_frequent_first
from bnexp.data.folders import expanded
from bnexp.data.picture import EXTENSIONS, is_gray, is_picture, opened
from bnexp.errors import InputError
from bnexp.words import counted

OTHER_NAMES_OF_VAL = ("valid", "validation", "dev")
FEW = 10
"""A class with fewer training pictures is named."""


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
    val: tuple[Picture, ...]
    """The pictures below val/; empty where there is no such folder."""
    test: tuple[Picture, ...]
    findings: Findings = field(default_factory=Findings)

    @property
    def splits(self) -> dict[str, tuple[Picture, ...]]:
        """The pictures by the names of their folders."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All of them."""
        return (*self.train, *self.val, *self.test)


def scan(folder: str | None) -> PictureTree:
    """List the pictures below `folder`, the setting data.root; links to folders are followed at the class only.

    Raises:
        InputError: it is no folder, lacks train/ or test/, holds one class only, its folders hold different classes, a
            class has no picture, or a part can't be read or is no regular file.
    """
    root = _root(folder)
    left_out = Counter[str]()
    beside = sum(entry.name not in ("train", "val", "test") for entry in _shown(root, left_out))
    left_out["beside train/ and test/"] += beside
    splits = {name: root / name for name in ("train", "val", "test") if name != "val" or os.path.isdir(root / name)}
    found = {name: _classes(folder, left_out) for name, folder in splits.items()}
    check_classes(root, found)
    classes = found["train"]
    pictures = {name: _split(folder, classes, left_out) for name, folder in splits.items()}
    findings = Findings(most_frequent_first(left_out), remarks=tuple(_remarks(root, classes, pictures)))
    return PictureTree(root, classes, pictures["train"], pictures.get("val", ()), pictures["test"], findings)


def image_shape(tree: PictureTree) -> tuple[int, int, int]:
    """Return C, H, W: H and W of the first picture; C = 1 where every picture is of a grey kind, else 3.

    Reads headers, and pixels of palettes, up to the first picture in colour, thus one in most trees.

    Raises:
        InputError: a picture can't be read.
    """
    height, width = first_size(tree)
    return (1 if all(_is_gray(picture.path) for picture in tree.pictures) else 3), height, width


def first_size(tree: PictureTree) -> tuple[int, int]:
    """Return H, W of the first picture, which all others have to share.

    Raises:
        InputError: it can't be read.
    """
    with opened(tree.train[0].path) as first:
        return first.height, first.width


def _is_gray(path: str) -> bool:
    with opened(path) as image:
        return is_gray(image)


def _root(folder: str | None) -> Path:
    if folder is None:
        raise InputError(f"data.root: null, but {LAYOUT}; set data.root to the folder that holds train/ and test/")
    root = Path(os.path.realpath(expanded(folder, "data.root")))  # unlike Path.resolve, never an error
    if not os.path.isdir(root):  # unlike Path.is_dir, never an error
        raise InputError(f"data.root: {root} is not a folder; {LAYOUT} in it")
    for split in ("train", "test"):
        if not os.path.isdir(root / split):
            similar = [entry.name for entry in _shown(root, Counter()) if entry.name.lower() == split]
            hint = f" (there is {similar[0]}/; rename it)" if similar else ""
            raise InputError(f"data.root: {root} has no folder {split}/{hint}; {LAYOUT}")
    return root


def _shown(folder: Path, left_out: Counter[str]) -> list[Path]:
    """Return what a folder holds, without what is hidden."""
    try:
        entries = list(folder.iterdir())
    except OSError as cause:
        _unreadable(cause)
    left_out["hidden"] += sum(is_hidden(entry.name) for entry in entries)
    return [entry for entry in entries if not is_hidden(entry.name)]


def _classes(folder: Path, left_out: Counter[str]) -> tuple[str, ...]:
    entries = _shown(folder, left_out)
    classes = tuple(sorted(entry.name for entry in entries if entry.is_dir()))
    left_out["outside the class folders"] += len(entries) - len(classes)
    return classes


def _split(folder: Path, classes: tuple[str, ...], left_out: Counter[str]) -> tuple[Picture, ...]:
    pictures: list[Picture] = []
    for label, name in enumerate(classes):
        others = Counter[str]()
        found = sorted(_pictures(folder / name, label, others))
        if not found:
            there = Findings(most_frequent_first(others)).left_out_text() or "nothing"
            message = f"data.root: {folder / name} holds no picture that can be read (there is: {there}); expected "
            raise InputError(escaped(message + f"files ending in {', '.join(sorted(EXTENSIONS))}"))
        left_out.update(others)
        pictures += found
    return tuple(pictures)


def _pictures(folder: Path, label: int, left_out: Counter[str]) -> Iterator[Picture]:
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        shown = [name for name in folders if not is_hidden(name)]
        left_out["hidden"] += len(folders) - len(shown)
        left_out["linked folder"] += sum(os.path.islink(os.path.join(place, name)) for name in shown)
        folders[:] = shown
        for name in names:
            path, ending = os.path.join(place, name), os.path.splitext(name)[1].lower()
            if is_hidden(name):
                left_out["hidden"] += 1
            elif ending in EXTENSIONS or (os.path.isfile(path) and is_picture(path)):  # no pipe, which could wait
                yield _picture(path, label)
            else:
                left_out[ending or "without an ending"] += 1


def _picture(path: str, label: int) -> Picture:
    try:
        status = os.stat(path)
    except OSError as cause:  # a dangling link
        _unreadable(cause)
    if not stat.S_ISREG(status.st_mode):
        raise InputError(escaped(f"data.root: {path} is not a regular file; replace or remove it"))
    return Picture(path, label, status.st_size, status.st_mtime_ns)


def _remarks(root: Path, classes: tuple[str, ...], splits: dict[str, tuple[Picture, ...]]) -> Iterator[str]:
    """Yield what may surprise in how the tree is read."""
    if "val" in splits:
        yield "the validation images are those in val/"
    for name in OTHER_NAMES_OF_VAL:
        if os.path.isdir(root / name):
            yield f"{name}/ is not read; name it val/ to validate on it"
    folders = [Path(picture.path).parent.relative_to(root) for pictures in splits.values() for picture in pictures]
    if deeper := [folder for folder in folders if len(folder.parts) > 2]:
        yield f"in folders inside their class folder: {counted(len(deeper), 'image')}, as in {deeper[0]}/"
    counts = Counter(picture.label for picture in splits["train"])
    label, fewest = min(counts.items(), key=lambda item: item[1])
    if fewest < FEW:
        yield f"the smallest class, {classes[label]}, has {counted(fewest, 'image')} in train/"


def _unreadable(cause: OSError) -> NoReturn:
    raise InputError(escaped(f"data.root: {cause.filename} can't be read ({cause.strerror})")) from cause
