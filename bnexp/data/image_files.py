"""A single image file: opened safely, told grey from coloured, and laid on a background where it is transparent."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image
from PIL.ImageFile import ImageFile

from bnexp.config.text import escaped
from bnexp.errors import InputError

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings of files that have to be images, in either case."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""PIL's names of their formats. A file may hold any of them, since data sets are full of JPEGs named .png, but no
other: for some of those PIL would start other programs."""
_SILENT = logging.NullHandler()
"""Without any handler Python would print what PIL logs before an error."""


@contextmanager
def open_image(path: str) -> Iterator[ImageFile]:
    """Open one image, the first of several in a file; any error while it is open is blamed on the file.

    Colours of 16 bits a channel are rounded down to 8, as PIL reads them.

    Raises:
        InputError: naming the file that is no readable image of a known format, or has more than 8 bits of grey.
    """
    logging.getLogger("PIL").addHandler(_SILENT)
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
    """Tell whether anything shines through an image."""
    if not image.has_transparency_data:
        return False
    return image.convert("RGBA").getchannel("A").histogram()[255] < image.width * image.height


def on_background(image: Image.Image, mode: str, grey: int) -> Image.Image:
    """Return an image as L or RGB, laid on a grey value where it is transparent."""
    if not image.has_transparency_data:
        return image.convert(mode)
    whole = Image.new("RGBA", image.size, (grey, grey, grey, 255))
    whole.alpha_composite(image.convert("RGBA"))
    return whole.convert(mode)
