"""The frame of every figure: title and legend above, the drawing in the middle, the caption below."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Bbox


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


DPI = 120

GREY, PALE = "#555555", "#E4E4E4"
"""Colours of what surrounds the data: text and axes, grid lines."""
SMALL, LARGE = 8, 10
"""Sizes of text in points."""
LINE = 0.17
"""Height of a line of small text in inches."""
_HANDLE = 0.7
"""Inches that a legend takes for a handle and its gaps, beside the label."""

_NO_XML = rb"[\x00-\x08\x0b\x0c\x0e-\x1f]"
"""Control characters: no XML may hold them, and an odd name may."""
_SVG: Any = {"svg.fonttype": "none", "svg.hashsalt": "bnexp"}
"""Text stays text, and the same figure gives the same file."""


def make_sheet(
    *, title: str, caption: str, handles: Sequence[Artist], width: float, height: float
) -> tuple[Figure, SubFigure]:
    """Return a figure, and the part of it that is to be drawn in: width × height inches."""
    heading = wrapped(title, width - 0.2, LARGE, "bold")
    below = wrapped(caption, width - 0.2, SMALL)
    labels = [wrapped(str(handle.get_label()), width - _HANDLE - 0.1, SMALL) for handle in handles]
    for handle, label in zip(handles, labels, strict=True):
        handle.set_label(label)
    columns = _legend_columns(labels, width)
    legend_lines = sum(label.count("\n") + 1 for label in labels) if columns == 1 else -(-len(labels) // columns)
    heights = (
        LINE * (1.4 * len(heading.splitlines()) + 1.1 * legend_lines + 1.1),
        height,
        LINE * (len(below.splitlines()) + 0.6),
    )
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=heights, squeeze=False).flat
    top.text(0.01, 1 - 0.08 / heights[0], heading, size=LARGE, weight="bold", va="top", parse_math=False)
    legend = top.legend(handles=handles, loc="lower left", ncols=columns, fontsize=SMALL, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    bottom.text(0.01, 0.9, below, size=SMALL, color=GREY, va="top", parse_math=False)
    return figure, middle


def dress(axes: Axes) -> None:
    """Leave of an axes' furniture what helps to read it: small ticks, and no line above or at the right."""
    axes.tick_params(labelsize=SMALL - 1, length=2.5, color=GREY)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)


def sentences(*parts: str) -> str:
    """Join what a caption says; empty parts fall away."""
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts if part)


def picture(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """Return a figure as a file, the same bytes for the same figure."""
    file = BytesIO()
    with matplotlib.rc_context(_SVG), missing_letters():
        _settle(figure)
        figure.savefig(file, dpi=DPI, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return file.getvalue() if kind == "png" else re.sub(_NO_XML, b"", file.getvalue())


def _settle(figure: Figure) -> None:
    """Lay a figure out once for all its files, to a millionth: the last digits differ from call to call."""
    figure.set_dpi(DPI)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.p0, part.bbox_relative.p1 = part.bbox_relative.get_points().round(6)
    for axes in figure.axes:
        axes.set_position(Bbox(axes.get_position(original=True).get_points().round(6)))


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """As many as fit; one where a label takes several lines."""
    if any("\n" in label for label in labels):
        return 1
    longest = max((inches(label, SMALL) for label in labels), default=0)
    return max(1, min(len(labels), int(width / (longest + _HANDLE))))
