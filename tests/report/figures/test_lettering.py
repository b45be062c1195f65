"""Text stays within the width that it was given, and loses nothing on the way."""

import pytest

from bnexp.report.figures.sheet import inches, shortened, wrapped
from tests.report.figures.made_up import ODD_NAMES


def test_widths_grow_with_the_letters_their_size_and_their_weight() -> None:
    assert 0 == inches("", 8) < inches("i", 8) < inches("W", 8) < inches("W", 10) < inches("W", 10, "bold")
    assert inches("none", 16) == pytest.approx(2 * inches("none", 8), rel=0.02)
    assert inches("$x$", 8) > inches("xx", 8)


@pytest.mark.parametrize("width", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("text", ["", "a question of several words? " * 3, *ODD_NAMES])
def test_every_line_fits_and_no_letter_is_lost(text: str, width: float) -> None:
    broken = wrapped(text, width, 8)
    assert all(inches(line, 8) <= width for line in broken.splitlines())
    assert "".join(broken.split()) == "".join(text.split())


def test_lines_break_between_words_and_text_that_fits_stays_as_it_is() -> None:
    assert wrapped("one two  three", 5, 8) == "one two  three"
    assert wrapped("one two three", inches("one two", 8), 8) == "one two\nthree"
    assert wrapped("one\n two\tthree", 5, 8) == "one two three"


@pytest.mark.parametrize("text", ODD_NAMES)
def test_what_is_shortened_fits_on_a_line_and_says_so(text: str) -> None:
    short = shortened(text, 0.8, 8)
    assert inches(short, 8) <= 0.8
    assert "\n" not in short
    plain = " ".join(text.split())
    assert short == plain or (short[-1] == "…" and plain.startswith(short[:-1]))
