"""The picture of all verdicts from data: every claim's mean change with its interval, in margins."""

from collections.abc import Sequence
from math import isfinite

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bnexp.claims.evidence import Evidence, Judged
from bnexp.claims.verdicts import Word
from bnexp.report.figures.sheet import GREY, LINE, PALE, SMALL, dress, make_sheet

COLOURS = {
    Word.supported: "#009E73",
    Word.opposite: "#D55E00",
    Word.too_small: "#999999",
    Word.inconclusive: "#E69F00",
}
"""Of the Okabe-Ito palette; the words stand beside them."""
_WIDTH, _FURTHEST = 8.0, 300.0
"""Inches, and margins: what lies beyond is an arrow at the end of the axis."""
_TICKS = (-100, -10, -1, 0, 1, 10, 100)
_ROOM = 1.25
"""How much further the axis goes than what is drawn, so that no mark stands on its end."""
_CAPTION = (
    "The mean change of each claim's measure with its 95 % interval, in units of the least that counts, the claim's "
    "margin; the axis is logarithmic beyond 1. Right of 0 agrees with the claim: SUPPORTED is an interval right of 0 "
    "whose mean is right of the dotted line."
)


def verdicts_figure(found: Sequence[Evidence]) -> Figure | None:
    """Return all changes that decide, in margins; None where data have decided nothing."""
    rows = [(each.claim.id, each.decisive) for each in found if each.decisive]
    if not rows:
        return None
    handles = [Line2D([], [], color=colour, marker="o", ls="", ms=5, label=word) for word, colour in COLOURS.items()]
    figure, body = make_sheet(
        title="Verdicts from data",
        caption=_CAPTION + (" An arrow: beyond the axis." if any(map(_leaves, (row for _, row in rows))) else ""),
        handles=[*handles, Line2D([], [], color=GREY, ls="dotted", lw=1, label="the margin")],
        width=_WIDTH,
        height=LINE * (1.3 * len(rows) + 5),
    )
    axes = body.subplots()
    _dress(axes, [name for name, _ in rows])
    for y, (_, row) in enumerate(rows):
        _line(axes, y, row)
    return figure


def _dress(axes: Axes, names: Sequence[str]) -> None:
    dress(axes)
    axes.set_xscale("symlog", linthresh=1)
    axes.set(xlim=(-_FURTHEST * _ROOM, _FURTHEST * _ROOM), ylim=(len(names) - 0.5, -0.5))
    axes.xaxis.set(
        major_locator=FixedLocator(_TICKS), minor_locator=NullLocator(), major_formatter=FuncFormatter(_number)
    )
    axes.set_yticks(range(len(names)), names, fontsize=SMALL, parse_math=False)
    axes.set_xlabel("mean change / margin", fontsize=SMALL, color=GREY)
    axes.axvline(0, color=GREY, lw=0.8)
    axes.axvline(1, color=GREY, lw=1, ls="dotted")
    axes.grid(axis="y", color=PALE, lw=0.5)
    for text, place, side in (("← against the claim", -1, "right"), ("agrees with the claim →", 1, "left")):
        axes.annotate(
            text,
            (place, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 4),
            textcoords="offset points",
            ha=side,
            size=SMALL,
        )


def _number(value: float, place: int) -> str:
    return f"{value:g}".replace("-", "−")


def _line(axes: Axes, y: int, row: Judged) -> None:
    verdict, colour = row.verdict, COLOURS[row.verdict.word]
    values = [value for value in (verdict.change, verdict.low, verdict.high) if value is not None and isfinite(value)]
    if not values:
        return
    places = [value / row.measure.margin for value in values]
    mean, *ends = (max(-_FURTHEST, min(_FURTHEST, place)) for place in places)
    if ends:
        axes.plot(ends, [y, y], color=colour, lw=1.6, solid_capstyle="butt")
    axes.plot([mean], [y], marker="o", ms=4.5, color=colour)
    for beyond in {place > 0 for place in places if abs(place) > _FURTHEST}:
        end = _FURTHEST * (_ROOM if beyond else -_ROOM)
        axes.plot([end], [y], marker=">" if beyond else "<", ms=5, color=colour, clip_on=False)


def _leaves(row: Judged) -> bool:
    """Tell whether a change or its interval reaches beyond the axis."""
    ends = (row.verdict.change, row.verdict.low, row.verdict.high)
    return any(abs(end / row.measure.margin) > _FURTHEST for end in ends if end is not None)
