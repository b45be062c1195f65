"""How arms, grid keys and values look: colours, line styles, markers and short labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bnexp.config.yaml import flow

if TYPE_CHECKING:
    from matplotlib.typing import LineStyleType

# One look per arm, the same in every figure: a colour of the Okabe-Ito palette and a line style.
#
# The palette can be told apart with any colour vision; the line styles do the same for grey print.


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


@dataclass(frozen=True)
class ArmMark:
    """How an arm looks where it has no line."""

    marker: str
    hatch: str


_KNOWN = {"none": ArmMark("s", ""), "before": ArmMark("o", "////"), "after": ArmMark("D", "\\\\\\\\")}
_MARKERS = ("^", "v", "P", "<", ">", "X", "p")
_HATCHES = ("xxxx", "----", "||||", "++++", "//")


def arm_marks(arms: Sequence[str]) -> dict[str, ArmMark]:
    """Return the marks of each arm, as steady as its style: its own for the known ones, by position for the others."""
    others = [arm for arm in arms if arm not in _KNOWN]
    drawn = {arm: ArmMark(_MARKERS[i % len(_MARKERS)], _HATCHES[i % len(_HATCHES)]) for i, arm in enumerate(others)}
    return {arm: _KNOWN.get(arm) or drawn[arm] for arm in arms}


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return each dotted key without its first component, or whole where two keys would look the same."""
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
