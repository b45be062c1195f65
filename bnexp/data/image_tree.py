"""A tree of image files, root/train/<class>/… and root/test/<class>/…: its classes, files and pixels."""

import logging
import os
import stat
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from bnexp.config.text import counted, escaped
from bnexp.data.catalog import Findings, most_frequent_first
from bnexp.data.machine import expanded
from bnexp.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

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
"""Endings of files that have to be pictures, in either case, and PIL's name of the format.

Each may hold any of these formats, since data sets are full of JPEGs named .png, but no other: for some of those
PIL would start other programs.
"""
MOST_PIXELS = 2**24
"""Pixels of one picture, 4096x4096: a small file can stand for far more than any memory holds."""
FORMATS = sorted(set(EXTENSIONS.values()))
_SILENCE = logging.NullHandler()
"""Without any handler Python would print what PIL logs before an error."""
TOO_LARGE = f"it has more than {MOST_PIXELS:,} pixels"
_GRAY_LEVELS = {"L;2": 4, "L;4": 16}
"""Grey values of a PNG with few bits: PIL scales the pixels to 0..255, but not the value that stands for nothing."""


@contextmanager
def opened(path: str) -> "Iterator[ImageFile]":
    """Open one picture, of several in a file the first; whatever breaks while it is open is blamed on the file.

    Colours of 16 bits a channel are rounded down to 8, as PIL reads them.

    Raises:
        InputError: naming the file that is no readable picture of a known format, has more than MOST_PIXELS, or is
            grayscale of more than 8 bits.
    """
    from PIL import Image

    try:
        with _quiet(), Image.open(path, formats=FORMATS) as image:
            _check_header(image)
            _scale_transparency(image)
            yield image
    except InputError:
        raise
    except Exception as cause:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        bomb = isinstance(cause, Image.DecompressionBombError)  # PIL's own limit comes first, and is higher
        reason = TOO_LARGE if bomb else str(cause) or type(cause).__name__
        message = f"data.root: {path} can't be used as a picture: {reason}; replace or remove it"
        raise InputError(escaped(message)) from cause


def is_picture(path: str) -> bool:
    """Tell by its first bytes whether a file is a picture of a known format, whatever its name."""
    from PIL import Image

    try:
        with _quiet(), Image.open(path, formats=FORMATS):
            return True
    except Image.DecompressionBombError:
        return True
    except Exception:  # as in opened
        return False


def is_gray(image: "ImageFile") -> bool:
    """Tell whether a picture is of a grey kind: grey or bilevel, with or without alpha, or with only greys in use."""
    if image.mode in ("P", "PA"):
        red, green, blue = on_ground(image, "RGB", 0).split()
        return red.tobytes() == green.tobytes() == blue.tobytes()
    return image.mode in ("1", "L", "LA") or _stored_as(image) == "LA;16B"


def is_transparent(image: "Image") -> bool:
    """Tell whether anything shines through a picture."""
    if not image.has_transparency_data:
        return False
    return image.convert("RGBA").getchannel("A").histogram()[255] < image.width * image.height


def on_ground(image: "Image", mode: str, ground: int) -> "Image":
    """Return a picture as L or RGB, with what is transparent laid on grey of the value `ground`."""
    from PIL import Image

    if not image.has_transparency_data:
        return image.convert(mode)
    whole = Image.new("RGBA", image.size, (ground, ground, ground, 255))
    whole.alpha_composite(image.convert("RGBA"))
    return whole.convert(mode)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what PIL says of odd but readable files; what matters is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("PIL").addHandler(_SILENCE)
        yield


def _check_header(image: "Image") -> None:
    if image.mode[0] in "IF":  # 16- or 32-bit values, which PIL would clip at 255 without a word
        raise ValueError(f"mode {image.mode} has more than 8 bits a channel")
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(TOO_LARGE)


def _scale_transparency(image: "ImageFile") -> None:
    """Bring the colour that a PNG says is transparent to the scale of its pixels, where PIL leaves it as stored."""
    value, stored = image.info.get("transparency"), _stored_as(image)
    if isinstance(value, int) and stored in _GRAY_LEVELS:
        image.info["transparency"] = value * 255 // (_GRAY_LEVELS[stored] - 1)
    elif isinstance(value, tuple) and stored == "RGB;16B":
        image.info["transparency"] = tuple(channel >> 8 for channel in value)


def _stored_as(image: "ImageFile") -> str:
    """Return what PIL calls the pixels of a PNG in its file; known until they are decoded."""
    return str(image.tile[0][3]) if image.format == "PNG" and image.tile else ""


LAYOUT = "image_folder needs pictures under train/<class>/ and test/<class>/"
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir")
"""Folders that archives and network drives put beside one's own."""
MOST_NAMES = 5
"""Folders named in a message at most."""


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is there for a program, and not shown to people."""
    return name[0] == "." or name in SYSTEM_FOLDERS


def check_classes(root: Path, found: Mapping[str, Sequence[str]]) -> None:
    """Check the names of the classes.

    Args:
        root: the folder that holds train/ and the others.
        found: sorted names of the class folders, by split: train, perhaps val, test.

    Raises:
        InputError: there are fewer than two, or a split has others than train/.
    """
    classes = found["train"]
    if not classes:
        raise InputError(f"data.root: {root / 'train'} holds no class folder; {LAYOUT}")
    for split, others in found.items():
        if others != classes:
            odd = sorted({*classes} ^ {*others})
            message = f"data.root: train/ and {split}/ of {root} must hold the same classes; in only one: "
            raise InputError(escaped(message + ", ".join(odd) + _one_name(odd)))
    if len(classes) == 1:
        raise InputError(escaped(_one_class(root / "train", classes[0])))


def _one_name(odd: Sequence[str]) -> str:
    """Say which two names differ in capitals, or in how their accents are stored, alone."""
    by_name: dict[str, str] = {}
    for name in odd:
        same = by_name.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if same != name:
            return f" ({same} and {name} are two spellings of one name; rename one)"
    return ""


def _one_class(train: Path, name: str) -> str:
    inside = sorted(entry.name for entry in os.scandir(train / name) if entry.is_dir() and not is_hidden(entry.name))
    message = f"data.root: {train} holds a single class, {name}, and there is nothing to tell apart; "
    if not inside:
        return message + "it takes a folder for each of two classes or more"
    named = ", ".join(inside[:MOST_NAMES]) + (", …" if len(inside) > MOST_NAMES else "")
    return message + f"if the folders in it are the classes ({named}), move them up into train/, and in test/ likewise"


# A tree of pictures, root/train/<class>/… and root/test/<class>/…, perhaps with root/val/<class>/…: what is there.
#
# Torch-free. Names, sizes and time stamps are read, and the first bytes of a file where its name doesn't tell.
#
# A file that is named like a picture has to be one: where it can't be used it is refused by its path. Whatever else is
# left out is counted by its reason.

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
