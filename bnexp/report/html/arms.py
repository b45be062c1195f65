"""How the page draws an arm: the colour and line style of every figure, a twin for dark ground, a marker."""

from collections.abc import Sequence
from dataclasses import dataclass

from bnexp.report.marks import arm_marks
from bnexp.report.style import ArmStyle, arm_styles

LINE_WIDTH = 2.0
"""Pixels; dashes are multiples of it."""

ON_DARK = {
    "#333333": "#D3D6DA",
    "#0072B2": "#5AAEE8",
    "#E69F00": "#F0B23C",
    "#009E73": "#3CC79E",
    "#D55E00": "#F58642",
    "#CC79A7": "#E09CC3",
    "#56B4E9": "#7CC8F2",
}
"""The colours of style.py on a dark ground: the same hue, light enough to be seen."""

# As Matplotlib draws them, in line widths on and off.
_NAMED = {"solid": (), "dashed": (3.7, 1.6), "dashdot": (6.4, 1.6, 1.0, 1.6), "dotted": (1.0, 1.65)}

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
"""The markers of marks.py in plotly.js; crosses are diverged trials."""


@dataclass(frozen=True)
class ArmLook:
    """An arm on the page."""

    name: str
    light: str
    """Colour on a light ground."""
    dark: str
    dash: str
    """Lengths on and off in pixels, as SVG and plotly.js write them; empty for a solid line."""
    symbol: str
    """Marker in plotly.js."""


def arm_looks(arms: Sequence[str]) -> tuple[ArmLook, ...]:
    """Return the look of each arm, in their order."""
    marks = arm_marks(arms)
    return tuple(
        ArmLook(arm, style.colour, ON_DARK.get(style.colour, style.colour), _dash(style), _SYMBOLS[marks[arm].marker])
        for arm, style in arm_styles(arms).items()
    )


def _dash(style: ArmStyle) -> str:
    lengths = _NAMED[style.line] if isinstance(style.line, str) else style.line[1] or ()
    return ",".join(f"{length * LINE_WIDTH:g}px" for length in lengths)
