"""What tells arms apart besides the colours and line styles of style.py: a marker for points, a hatch for bars."""

from collections.abc import Sequence
from dataclasses import dataclass


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
