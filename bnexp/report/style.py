"""One look per arm, the same in every figure: a colour of the Okabe-Ito palette and a line style.

The palette can be told apart with any colour vision; the line styles do the same for grey print.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Matplotlib is slow to import and not needed to name a style
    from matplotlib.typing import LineStyleType


@dataclass(frozen=True)
class ArmStyle:
    """How the curves of an arm are drawn."""

    colour: str
    line: "LineStyleType"
    """A name, or an offset and lengths on and off in line widths."""


KNOWN = {
    "none": ArmStyle("#333333", "dashed"),
    "before": ArmStyle("#0072B2", "solid"),
    "after": ArmStyle("#E69F00", "dashdot"),
}
"""The arms that mean the same in every experiment."""

_COLOURS = ("#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_LINES: tuple["LineStyleType", ...] = ("solid", (0, (6, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5, 1, 1.5)), (0, (3, 1)))


def arm_styles(arms: Sequence[str]) -> dict[str, ArmStyle]:
    """Return the style of each arm: its own for the KNOWN ones, by position for all other names.

    Twenty other arms differ from one another, since colours and line styles repeat at different lengths.
    """
    others = [arm for arm in arms if arm not in KNOWN]
    drawn = {arm: ArmStyle(_COLOURS[i % len(_COLOURS)], _LINES[i % len(_LINES)]) for i, arm in enumerate(others)}
    return {arm: KNOWN.get(arm) or drawn[arm] for arm in arms}
