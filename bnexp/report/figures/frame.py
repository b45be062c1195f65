"""The frame of every figure: title and legend above, the drawing in the middle, the caption below."""

import re
import warnings
from base64 import b64encode
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from io import BytesIO
from itertools import zip_longest
from typing import Any, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import get_registered_canvas_class
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from bnexp.analysis.study import Study
from bnexp.report.style import GREY, arm_styles

FileKind = Literal["png", "svg", "pdf"]

DPI = 120
NARROW, WIDE = 5.6, 8.0
"""Widths in inches: of a figure with one column of panels, and with several."""
SMALL, LARGE = 8, 10
"""Sizes of text in points."""
LINE = 0.17
"""Height of a line of small text in inches."""
_BAR = 0.15
"""Thickness of the colour bar in inches."""
_BESIDE, _TITLE_LINE = 1.3, 0.14
"""Inches: the space left and right of the panels together; a line of a panel's title."""
_HANDLE = 0.7
"""Inches that a legend's handle and gaps take beside the label."""
_HINTING = 1.06
"""Letters may be drawn wider by this factor: screens round each to whole pixels."""

_NO_XML = rb"[\x00-\x08\x0b\x0c\x0e-\x1f]"
"""Control characters: XML can't hold them, but an odd name can."""
_FILES: Any = {"svg.fonttype": "none", "svg.hashsalt": "bnexp", "pdf.fonttype": 42}
"""Text stays text, and the same figure gives the same file."""
_FOR_LAYOUT = ("GDEF", "GPOS", "GSUB", "MATH", "kern")
"""Tables of a font that only typesetting programs use."""
_NO_DATE: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


# Text that fits.


@contextmanager
def ignore_missing_glyphs() -> Iterator[None]:
    """Silence warnings about letters that the font lacks: they are boxes in a PNG, and whole in an SVG."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from font")
        yield


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width in inches that a line of text takes at most; its size is in points."""
    with ignore_missing_glyphs():
        font = FontProperties(size=size, weight=weight)
        width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72 * _HINTING


def widest(texts: Sequence[str], size: float) -> float:
    """Return the width in inches of the longest text; 0 without any."""
    return max((text_width(text, size) for text in texts), default=0.0)


def wrap_text(text: str, width: float, size: float, weight: str = "normal") -> str:
    """Break text into lines of at most `width` inches, between words, and within a word that is too wide itself.

    Text on one line that fits stays as it is. No line breaks at a no-break space.
    """
    if text_width(text, size, weight) <= width and not re.search(r"[^\S ]", text):
        return text
    lines = [""]
    for word in re.split(r"[^\S\u00a0]+", text.strip()):
        for piece in _pieces(word, width, size, weight):
            joined = f"{lines[-1]} {piece}".strip()
            if text_width(joined, size, weight) <= width:
                lines[-1] = joined
            else:
                lines.append(piece)
    return "\n".join(line for line in lines if line)


def shorten_text(text: str, width: float, size: float) -> str:
    """Return text on one line of at most `width` inches, cut off with three dots if necessary."""
    text = " ".join(text.split())
    if text_width(text, size) <= width:
        return text
    return next(_pieces(text, width - text_width("…", size), size, "normal")) + "…"


def _pieces(word: str, width: float, size: float, weight: str) -> Iterator[str]:
    """Cut a word into pieces that fit; each has at least one letter."""
    piece = ""
    for letter in word:
        if piece and text_width(piece + letter, size, weight) > width:
            yield piece
            piece = ""
        piece += letter
    yield piece


def join_caption(*parts: str) -> str:
    """Join the sentences of a caption; empty ones are left out."""
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts if part)


# Figures and axes.


def new_figure(
    *, title: str, caption: str, handles: Sequence[Artist], width: float, height: float
) -> tuple[Figure, SubFigure]:
    """Return a figure, and its part for the drawing: width × height inches."""
    heading = wrap_text(title, width - 0.2, LARGE, "bold")
    below = wrap_text(caption, width - 0.2, SMALL)
    labels = [wrap_text(str(handle.get_label()), width - _HANDLE - 0.1, SMALL) for handle in handles]
    for handle, label in zip(handles, labels, strict=True):
        handle.set_label(label)
    # As many columns as fit, or one if a label takes several lines.
    broken = any("\n" in label for label in labels)
    columns = 1 if broken else max(1, min(len(labels), int(width / (widest(labels, SMALL) + _HANDLE))))
    legend_lines = sum(label.count("\n") + 1 for label in labels) if broken else -(-len(labels) // columns)
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


def panel_figure(
    titles: Sequence[str | None],
    columns: int,
    *,
    title: str,
    caption: str,
    handles: Sequence[Artist],
    xlabel: str = "",
    ylabel: str = "",
    width: float | None = None,
    height: float | None = None,
    below: float = 0.45,
    sharey: bool | Literal["row", "col"] = True,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels in rows, and their axes; they share the x axis, whose ticks are at the lowest ones.

    Args:
        titles: of the panels, row by row; None leaves a place empty.
        columns: panels in a row.
        title, caption, handles: of the figure.
        xlabel, ylabel: of all panels.
        width: inches of the figure; None: suited to the number of columns.
        height: inches of a panel without its title; None: suited to its width.
        below: inches below the lowest panels.
        sharey: which panels share their y axis.
    """
    width = width or (WIDE if columns > 1 else NARROW)
    height = height or min(width / columns, 4.6) * 0.75 - 0.39
    names = [name and wrap_text(name, (width - _BESIDE) / columns - 0.1, SMALL) for name in titles]
    lines = [name.count("\n") + 1 if name else 0 for name in names]
    rows = [max(lines[start : start + columns]) for start in range(0, len(lines), columns)]
    body_height = sum(height + (_TITLE_LINE * most + 0.1 if most else 0) for most in rows) + below
    figure, body = new_figure(title=title, caption=caption, handles=handles, width=width, height=body_height)
    panels = []
    grid = body.subplots(len(rows), columns, sharex=True, sharey=sharey, squeeze=False).flat
    for place, (axes, name) in enumerate(zip_longest(grid, names)):
        if name is None:
            axes.remove()
            continue
        panels.append(axes)
        style_axes(axes)
        axes.set_title(name, size=SMALL, parse_math=False)
        axes.tick_params(labelbottom=all(lower is None for lower in names[place + columns :: columns]))
    body.supxlabel(xlabel, size=SMALL + 1, parse_math=False)
    body.supylabel(ylabel, size=SMALL + 1, parse_math=False)
    return figure, panels


def arm_handles(study: Study, arms: Collection[str], markersize: float = 0) -> list[Artist]:
    """Return the lines that stand for arms in a legend, with their markers where these have a size."""
    return [
        Line2D([], [], label=study.label(arm), marker=style.marker, markersize=markersize, **style.stroke)
        for arm, style in arm_styles(study.arms).items()
        if arm in arms
    ]


def style_axes(axes: Axes) -> None:
    """Simplify an axes: small ticks, and no line at the top or at the right."""
    axes.tick_params(labelsize=SMALL - 1, length=2.5, color=GREY)
    axes.tick_params(which="minor", labelsize=SMALL - 1, length=1.5, color=GREY)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)


def style_accuracies(axes: Axes) -> None:
    """Give the axes the y axis of accuracies, from 0 to 1."""
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])


def count_ticks(axis: Axis, most: int) -> None:
    """Give an axis of epochs or steps at most this many ticks: whole numbers, and 20k for 20,000."""
    axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 5, 10], integer=True))
    axis.set_major_formatter(EngFormatter(sep=""))


def draw_color_bar(figure: Figure, scale: ScalarMappable, label: str, extend: str = "neither") -> None:
    """Draw the colour bar at the right of all panels; `extend`: the end beyond which there are values, or neither."""
    body = figure.subfigs[1]
    height = body.bbox.height / figure.dpi
    bar = body.colorbar(scale, ax=body.axes, aspect=height / _BAR, pad=0.02, extend=extend)
    bar.set_label(label, size=SMALL)
    bar.ax.tick_params(which="both", labelsize=SMALL - 1, length=2.5, color=GREY)
    bar.outline.set_visible(False)


# Slides.

SLIDE = 16 / 9
"""Width of a slide over its height."""
_LEAST = 0.6
"""A drawing may shrink to this share of its height."""


def fit_slide(figure: Figure) -> None:
    """Give a figure from new_figure the shape of a slide, before it is drawn: its drawing becomes higher or lower.

    If it has too much to draw for that, it becomes wider as well.
    """
    # Matplotlib has no public function for this.
    grid = figure.subfigs[0]._subplotspec.get_gridspec()  # type: ignore[attr-defined]
    above, drawing, below = grid.get_height_ratios()
    height = max(figure.get_figwidth() / SLIDE, above + _LEAST * drawing + below)
    grid.set_height_ratios((above, height - above - below, below))
    figure.set_size_inches(height * SLIDE, height)


# Files.


def figure_bytes(figure: Figure, kind: FileKind) -> bytes:
    """Return a figure as a file, the same bytes for the same figure."""
    file = BytesIO()
    fonts = _fonts_without_layout() if kind == "pdf" else nullcontext()
    with matplotlib.rc_context(_FILES), ignore_missing_glyphs(), fonts:
        _settle(figure)
        # The canvas's own function, since savefig draws everything twice.
        canvas = get_registered_canvas_class(kind)(figure)
        getattr(canvas, f"print_{kind}")(file, metadata=_NO_DATE.get(kind))
    return re.sub(_NO_XML, b"", file.getvalue()) if kind == "svg" else file.getvalue()


def svg_uri(figure: Figure) -> str:
    """Return a figure as an SVG in a data URI; it is separate from the page, so names in it can only be text."""
    return f"data:image/svg+xml;base64,{b64encode(figure_bytes(figure, 'svg')).decode()}"


@contextmanager
def _fonts_without_layout() -> Iterator[None]:
    """Leave tables that place letters out of a PDF's fonts: its letters have their places already.

    Reducing these tables to the used letters would take twice as long as all the rest.
    """
    from fontTools.subset import Options  # only PDF takes it

    left_out: list[str] = Options._drop_tables_default  # Matplotlib has no option for it
    before = list(left_out)
    left_out += _FOR_LAYOUT
    try:
        yield
    finally:
        left_out[:] = before


def _settle(figure: Figure) -> None:
    """Lay a figure out once for all its files, with places in millionths: further digits differ between calls."""
    figure.set_dpi(DPI)
    engine = figure.get_layout_engine()
    if not isinstance(engine, ConstrainedLayoutEngine):
        return
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if not axis.get_label_text():
            axis.set_label_coords(0, 0)  # or Matplotlib places it again for every file
    with _room_for_names(figure):
        engine.execute(figure)
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.p0, part.bbox_relative.p1 = part.bbox_relative.get_points().round(6)
    for axes in figure.axes:
        axes.set_position(Bbox(axes.get_position(original=True).get_points().round(6)))
        axes._autotitlepos = False  # type: ignore[attr-defined] # the title's place is found, too


@contextmanager
def _room_for_names(figure: Figure) -> Iterator[None]:
    """Make the names beside the y axes larger, so that they have room wherever letters are drawn wider."""
    named = [axes for axes in figure.axes if isinstance(axes.yaxis.get_major_formatter(), FuncFormatter)]
    names = [(name, float(name.get_fontsize())) for axes in named for name in axes.get_yticklabels()]
    for name, size in names:
        name.set_fontsize(size * _HINTING)
    yield
    for name, size in names:
        name.set_fontsize(size)
