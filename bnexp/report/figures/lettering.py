"""How wide text is and where it breaks, measured in the font that will draw it."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path


@contextmanager
def missing_letters() -> Iterator[None]:
    """Say nothing about letters that the font lacks: they come out as boxes in a PNG, whole in an SVG."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from font")
        yield


_HINTING = 1.06
"""How much wider letters may be drawn: on screens each is rounded to whole pixels."""


@lru_cache(maxsize=4096)
def inches(text: str, size: float, weight: str = "normal") -> float:
    """Return the width that a line of text takes at most; its size is in points."""
    with missing_letters():
        font = FontProperties(size=size, weight=weight)
        width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72 * _HINTING


def wrapped(text: str, width: float, size: float, weight: str = "normal") -> str:
    """Break text into lines of at most `width` inches, between words, and within a word that is too wide itself.

    Text on one line that fits stays as it is.
    """
    if inches(text, size, weight) <= width and not re.search(r"[^\S ]", text):
        return text
    lines = [""]
    for word in text.split():
        for piece in _pieces(word, width, size, weight):
            joined = f"{lines[-1]} {piece}".strip()
            if inches(joined, size, weight) <= width:
                lines[-1] = joined
            else:
                lines.append(piece)
    return "\n".join(line for line in lines if line)


def shortened(text: str, width: float, size: float) -> str:
    """Return text cut off, with three dots, to a line of at most `width` inches."""
    text = " ".join(text.split())
    if inches(text, size) <= width:
        return text
    return next(_pieces(text, width - inches("…", size), size, "normal")) + "…"


def _pieces(word: str, width: float, size: float, weight: str) -> Iterator[str]:
    """Cut a word into pieces that fit, of one letter at least."""
    piece = ""
    for letter in word:
        if piece and inches(piece + letter, size, weight) > width:
            yield piece
            piece = ""
        piece += letter
    yield piece
