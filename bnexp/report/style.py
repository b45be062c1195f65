"""How arms, grid keys and values look: colours, line styles, markers and short labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bnexp.config.yaml import flow

if TYPE_CHECKING:
    from matplotlib.typing import LineStyleType

LOG_SPAN = 10
"""An axis of positive values that span more than this is logarithmic."""
LINE_WIDTH = 2.0
"""Pixels of a line on a web page; its dashes are multiples of it."""


@dataclass(frozen=True)
class ArmStyle:
    """The look of an arm, the same in every picture and on every page.

    The colours are from the Okabe-Ito palette, which is distinct for any colour vision; line styles, markers and
    hatches do the same for grey print.
    """

    colour: str
    line: "LineStyleType"
    """Solid, or an offset and lengths on and off in line widths."""
    marker: str
    hatch: str
    letter: str
    """The marker in a terminal."""

    @property
    def stroke(self) -> dict[str, Any]:
        """Colour and line style, as Matplotlib's functions take them."""
        return {"color": self.colour, "linestyle": self.line}

    @property
    def dark(self) -> str:
        """The colour on a dark background."""
        return ON_DARK.get(self.colour, self.colour)

    @property
    def ansi(self) -> str:
        """The colour in a terminal, visible on black and on white; empty for the colour of text."""
        return _ANSI[self.colour]

    @property
    def symbol(self) -> str:
        """The marker in plotly.js."""
        return _SYMBOLS[self.marker]

    @property
    def dash(self) -> str:
        """The line style in SVG and plotly.js: lengths on and off in pixels; empty for a solid line."""
        lengths = () if isinstance(self.line, str) else self.line[1] or ()
        return ",".join(f"{length * LINE_WIDTH:g}px" for length in lengths)


KNOWN = {
    "none": ArmStyle("#333333", (0, (3.7, 1.6)), "s", "", "o"),
    "before": ArmStyle("#0072B2", "solid", "o", "////", "#"),
    "after": ArmStyle("#E69F00", (0, (6.4, 1.6, 1, 1.6)), "D", "\\\\\\\\", "+"),
}
"""The arms that mean the same in every experiment."""

_COLOURS = ("#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_LINES: tuple["LineStyleType", ...] = ("solid", (0, (6, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5, 1, 1.5)), (0, (3, 1)))
_MARKERS = "^vP<>Xp"
_HATCHES = ("xxxx", "----", "||||", "++++", "//")
_LETTERS = "*@%=&ABCDEFGHIJKLMNPQRSTUVWYZ"
_ANSI = {
    "#333333": "",
    "#0072B2": "color(33)",
    "#E69F00": "color(172)",
    "#009E73": "color(35)",
    "#D55E00": "color(167)",
    "#CC79A7": "color(170)",
    "#56B4E9": "color(74)",
}

GREY, PALE = "#555555", "#E4E4E4"
"""Colours of everything around the data: text and axes, grid lines."""

ON_DARK = {
    "#333333": "#D3D6DA",
    "#0072B2": "#5AAEE8",
    "#E69F00": "#F0B23C",
    "#009E73": "#3CC79E",
    "#D55E00": "#F58642",
    "#CC79A7": "#E09CC3",
    "#56B4E9": "#7CC8F2",
    GREY: "#A3ABB5",
    PALE: "#30363D",
    "#FFFFFF": "#1B1F24",
    "#000000": "#E5E7EA",
    "#F3F3F3": "#22272D",
    "#DDDDDD": "#3A4149",
    "#AAAAAA": "#5D6670",
    "#B5B5B5": "#6B747E",
    "#8A8A8A": "#8A939D",
}
"""Colours on a dark background: those of the arms with the same hue, but lighter; those of paper and ink."""

_SYMBOLS = {
    "s": "square",
    "o": "circle",
    "D": "diamond",
    "^": "triangle-up",
    "v": "triangle-down",
    "P": "cross",
    "<": "triangle-left",
    ">": "triangle-right",
    "X": "star",
    "p": "pentagon",
}
"""plotly.js's names of the markers; its thin cross is a diverged trial."""


def arm_styles(arms: Sequence[str]) -> dict[str, ArmStyle]:
    """Return the style of each arm: its own for the KNOWN ones, by position for all other names.

    Twenty other arms have different styles, since the parts of a style repeat with different periods.
    """
    others = [arm for arm in arms if arm not in KNOWN]
    by_position = {arm: _style(i) for i, arm in enumerate(others)}
    return {arm: KNOWN.get(arm) or by_position[arm] for arm in arms}


def _style(i: int) -> ArmStyle:
    colour, line, letter = _COLOURS[i % len(_COLOURS)], _LINES[i % len(_LINES)], _LETTERS[i % len(_LETTERS)]
    return ArmStyle(colour, line, _MARKERS[i % len(_MARKERS)], _HATCHES[i % len(_HATCHES)], letter)


def is_logarithmic(values: Sequence[float]) -> bool:
    """Return whether values are drawn on a logarithmic axis: positive ones that span more than LOG_SPAN."""
    return min(values) > 0 and max(values) > LOG_SPAN * min(values)


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return each dotted key without its first component, or whole if two keys would look the same."""
    short = {key: key.partition(".")[2] or key for key in keys}
    names = list(short.values())
    return {key: name if names.count(name) == 1 else key for key, name in short.items()}


def value_text(value: Any) -> str:
    """Write a grid value: floats with four digits, otherwise as YAML would."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return flow(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def point_texts(point: Mapping[str, Any]) -> list[str]:
    """Write a grid point as "key value", one text per key."""
    short = short_keys(list(point))
    return [f"{short[key]} {value_text(value)}" for key, value in point.items()]


def point_title(point: Mapping[str, Any]) -> str:
    """Write a grid point on one line, with no-break spaces between a key and its value."""
    return ", ".join(text.replace(" ", "\u00a0") for text in point_texts(point))
