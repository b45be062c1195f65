"""The picture of a check in code: how far each number is from what is claimed, and how far it may be."""

from collections.abc import Sequence
from math import isfinite, log10

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnexp.claims.runs import CheckResult, Finding
from bnexp.report.figures.frame import LINE, SMALL, WIDE, new_figure, style_axes, wrap_text
from bnexp.report.style import GREY, PALE

HOLDS, FAILS = "#009E73", "#D55E00"
"""Colours of the Okabe-Ito palette."""
_NAMES, _FOUND = 0.34, 0.56
"""Shares of the figure's width: the names of findings, and the texts of what was found."""
_LEAST, _MOST = -18, 2
"""Powers of ten at the ends of the axis: 0 stands at the lower end, and what lies beyond at the upper one."""
_MOST_ROWS = 12
"""Most findings that are drawn; tested ones come first."""
_CAPTION = (
    "A dot is the distance between what was computed and what is claimed, on a logarithmic axis. It may lie up to the "
    "grey line; where there is none it has to be 0, and what was found stands beside it."
)
_EXACT = "A dot: exactly as claimed."


def findings_figure(result: CheckResult, title: str) -> Figure | None:
    """Return the picture: a row for each finding, with its error or, if nothing is tested, with what was found."""
    tested = [each for each in result.findings if each.error is not None]
    told = [each for each in result.findings if each.error is None]
    rows = [*tested, *told][:_MOST_ROWS]
    if not rows:
        return None
    names = [wrap_text(each.what, WIDE * _NAMES, SMALL) for each in rows]
    texts = ["" if each.tolerance else wrap_text(each.found, WIDE * _FOUND, SMALL) for each in rows]
    lines = [max(name.count("\n"), text.count("\n")) + 1.5 for name, text in zip(names, texts, strict=True)]
    on_axis = any(each.tolerance for each in rows)
    handles = [
        Line2D([], [], color=HOLDS, marker="o", ls="", ms=6, label="holds"),
        Line2D([], [], color=FAILS, marker="X", ls="", ms=6, label="fails"),
        *([Line2D([], [], color=GREY, lw=3, label="the largest error that is allowed")] if on_axis else []),
    ]
    left_out = len(result.findings) - len(rows)
    more = f" The table has {left_out} more." if left_out else ""
    figure, body = new_figure(
        title=title,
        caption=((_CAPTION if on_axis else _EXACT) if tested else "") + more,
        handles=handles if tested else [],
        width=WIDE,
        height=LINE * (sum(lines) + 3),
    )
    axes = body.subplots()
    places = _places(lines)
    _style(axes, places, names, sum(lines))
    if not on_axis:
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
    for place, each, text in zip(places, rows, texts, strict=True):
        _draw(axes, place, each)
        if text:
            box = {"facecolor": "#FFFFFF", "edgecolor": "none", "pad": 1}
            axes.text(_LEAST + 0.7, place, text, size=SMALL, va="center", color=GREY, bbox=box, parse_math=False)
    return figure


def _places(lines: Sequence[float]) -> list[float]:
    """Return the middle of every row, in lines from the top."""
    return [sum(lines[:place]) + lines[place] / 2 for place in range(len(lines))]


def _style(axes: Axes, places: Sequence[float], names: Sequence[str], lines: float) -> None:
    style_axes(axes)
    axes.set_ylim(lines, 0)
    axes.set_yticks(places, names, fontsize=SMALL, parse_math=False)
    axes.set_xlim(_LEAST - 0.6, _MOST + 0.6)
    powers = range(_LEAST + 2, _MOST, 4)
    axes.set_xticks([_LEAST, *powers], ["0", *(f"{10.0**power:.0e}" if power else "1" for power in powers)])
    axes.set_xlabel("error", fontsize=SMALL, color=GREY)
    axes.grid(axis="y", color=PALE, lw=0.5)


def _draw(axes: Axes, place: float, finding: Finding) -> None:
    if finding.error is None:
        return
    if finding.tolerance:
        limit = _along(finding.tolerance)
        axes.plot([limit, limit], [place - 0.5, place + 0.5], color=GREY, lw=3)
    colour, marker = (HOLDS, "o") if finding.holds else (FAILS, "X")
    axes.plot([_along(finding.error)], [place], color=colour, marker=marker, ms=6, ls="")


def _along(error: float) -> float:
    """Return the place of an error on the axis."""
    if not isfinite(error):
        return _MOST
    return min(max(log10(error), _LEAST), _MOST) if error > 0 else _LEAST
