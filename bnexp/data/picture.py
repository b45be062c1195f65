"""One picture file: whether it is one, what its header says, and its pixels without transparency."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bnexp.config.text import escaped
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
