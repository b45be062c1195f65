"""Text in configurations and messages: the characters that it may have, and how numbers and lists are written."""

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

LONGEST_SHOWN = 500
"""Characters of a message that can quote what was written."""

ESCAPES = "; in double quotes \\ begins an escape: write paths in single quotes, or with /"
"""Said where a backslash of YAML text has become something else, as in "C:\\new"."""

# What moves the cursor, changes colours or turns text around once it is printed, and what UTF-8 can't write.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(text: str) -> str:
    """Return text for one line of a terminal: what isn't printable is written as in Python."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def printable(text: str) -> str:
    """Return text for one line of a terminal, cut short where it is long."""
    return escaped(text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…")


def _one_line(text: str) -> str:
    if _CONTROLS.search(text):
        raise ValueError(f"expected text of one line without control characters{ESCAPES}")
    return text


def _lines(text: str) -> str:
    if _CONTROLS.search(text.replace("\n", "").replace("\t", "")):
        raise ValueError("expected text without control characters")
    return text


Line = Annotated[str, Field(max_length=4_096), AfterValidator(_one_line)]
"""Text of one line, such as a path."""
Label = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_one_line)]
"""A name in tables and pictures."""
Lines = Annotated[str, Field(max_length=2_000), AfterValidator(_lines)]
"""Text of any number of lines, with tabs."""


def counted(number: int, thing: str) -> str:
    """Write how many there are of a thing: 1 trial, 2 trials."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def have(number: int) -> str:
    """Write the verb that goes with a number of things."""
    return "has" if number == 1 else "have"


def listed(names: Iterable[object], word: str = "and") -> str:
    """Write names one after the other: "a", "a and b", "a, b and c"."""
    *firsts, last = map(str, names)
    return f"{', '.join(firsts)} {word} {last}" if firsts else last


def gibibytes(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def duration(seconds: float) -> str:
    """Write an estimated time."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
