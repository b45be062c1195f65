"""Text stays within the width that it was given, and loses nothing on the way, not even in the fonts of a PDF."""

import re
import zlib
from io import BytesIO

import pytest
from fontTools.ttLib import TTFont

from bnexp.report.figures.frame import SMALL, figure_bytes, new_figure, shorten_text, text_width, wrap_text
from tests.report.figures.made_up import ODD_NAMES


@pytest.mark.parametrize("width", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("text", ["", "a question of several words? " * 3, *ODD_NAMES])
def test_every_line_fits_and_no_letter_is_lost(text: str, width: float) -> None:
    broken = wrap_text(text, width, 8)
    assert all(text_width(line, 8) <= width for line in broken.splitlines())
    assert "".join(broken.split()) == "".join(text.split())


def test_lines_break_between_words_and_text_that_fits_stays_as_it_is() -> None:
    assert wrap_text("one two  three", 5, 8) == "one two  three"
    assert wrap_text("one two three", text_width("one two", 8), 8) == "one two\nthree"
    assert wrap_text("one\n two\tthree", 5, 8) == "one two three"
    assert wrap_text("one lr\u00a01", text_width("one lr", 8), 8) == "one\nlr\u00a01"


@pytest.mark.parametrize("text", ODD_NAMES)
def test_what_is_shortened_fits_on_a_line_and_says_so(text: str) -> None:
    short = shorten_text(text, 0.8, 8)
    assert text_width(short, 8) <= 0.8
    assert "\n" not in short
    plain = " ".join(text.split())
    assert short == plain or (short[-1] == "…" and plain.startswith(short[:-1]))


def test_a_pdf_has_fonts_with_its_letters_but_without_the_tables_that_set_text() -> None:
    figure, _ = new_figure(title="VA", caption="", handles=[], width=3, height=1)
    font_file = re.search(rb"/Length1 \d+.*?stream\n(.*?)\nendstream", figure_bytes(figure, "pdf"), re.DOTALL)
    assert font_file
    font = TTFont(BytesIO(zlib.decompress(font_file[1])))
    assert {*"VA"} <= {*font.getGlyphOrder()}
    assert {"glyf", "hmtx"} <= {*font.keys()}
    assert not {"GPOS", "GSUB", "kern"} & {*font.keys()}


def test_names_beside_an_axis_have_room_where_letters_are_drawn_wider() -> None:
    figure, body = new_figure(title="", caption="", handles=[], width=6, height=2)
    axes = body.subplots()
    axes.set_yticks([0, 1], ["a name", "a name that is as long as those of settings are"], fontsize=SMALL)
    figure_bytes(figure, "svg")
    names = [name.get_window_extent() for name in axes.get_yticklabels()]
    assert all(name.get_fontsize() == SMALL for name in axes.get_yticklabels())
    assert min(name.x0 for name in names) > 0.06 * max(name.width for name in names)
