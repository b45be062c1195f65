"""The picture of a claim: the pairs that decide it, arm beside arm and as changes; of a described one, its probes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bnexp.analysis.study import choose_metric
from bnexp.claims.evidence import Evidence, Judged, Word
from bnexp.claims.report.rows import as_ratio, margin_text, rounded
from bnexp.report.figures.curves import curves_figure
from bnexp.report.figures.frame import LINE, SMALL, join_caption, new_figure, shorten_text, style_axes
from bnexp.report.figures.pictures import probe_figures
from bnexp.report.style import GREY, PALE, arm_styles, value_text

_WIDTH, _HEIGHT, _NAME = 8.0, 3.1, 0.9
"""Inches: the figure, the drawing, the name of an arm."""
_BESIDE = 2.5
"""How far to the right the columns of the other regime stand."""
_CALM = 30
"""The other regime is left out where its values reach so many times further than those that decide."""
_JITTER = 0.12
"""Half of the width over which the seeds of a column are spread."""
_REGIMES = {
    "equal": "with equal settings",
    "tuned": "each arm with what it chose",
    "measured": "measured in turns",
}


@dataclass(frozen=True)
class _Side:
    """The pairs of one regime, and where they stand."""

    row: Judged
    pale: bool
    ratio: bool

    @property
    def at(self) -> float:
        """The place of the baseline's column; the arm's is one further."""
        return _BESIDE if self.pale else 0.0

    @property
    def column(self) -> float:
        """The place of the changes."""
        return 1.0 if self.pale else 0.0

    @property
    def change(self) -> Float[np.ndarray, " n"]:
        """By seed, in the unit of the axis."""
        with np.errstate(over="ignore"):
            return np.exp(self.row.pairs.change) if self.ratio else self.row.pairs.change

    @property
    def interval(self) -> tuple[float, ...]:
        """The mean change and, where there is one, the ends of its interval, in the unit of the axis."""
        verdict = self.row.verdict
        ends = (verdict.change, verdict.low, verdict.high)
        return tuple(float(np.exp(end)) if self.ratio else end for end in ends if end is not None)

    def colour(self, arm: str) -> str:
        """The arm's own, or a pale grey."""
        return "#B5B5B5" if self.pale else arm_styles([self.row.measure.baseline, self.row.measure.arm])[arm].colour


def pairs_figure(evidence: Evidence) -> Figure | None:
    """Return the picture of the measure that decides a claim, by the regime that does; the other one pale beside it."""
    decisive = evidence.decisive
    if decisive is None or not np.isfinite(decisive.pairs.change).any():
        return None
    sides = [_Side(row, not row.decides, as_ratio(row.measure)) for row in _shown(evidence, decisive)]
    figure, body = new_figure(
        title=decisive.measure.label[:1].upper() + decisive.measure.label[1:],
        caption=_caption(evidence, decisive, sides),
        handles=_handles(decisive),
        width=_WIDTH,
        height=_HEIGHT,
    )
    left, right = body.subplots(1, 2, width_ratios=(len(sides) + 0.6, len(sides) + 0.4))
    _dress_left(left, sides)
    _dress_right(right, sides)
    for side in sides:
        _draw_arms(left, side)
        _draw_changes(right, side)
    return figure


def _shown(evidence: Evidence, decisive: Judged) -> list[Judged]:
    """Return the rows that are drawn: that which decides, and of the same measure that which doesn't, if it is calm."""
    others = [row for row in evidence.rows if row.measure == decisive.measure and row is not decisive]
    return [decisive, *(row for row in others if _calm(row, decisive))]


def _calm(row: Judged, decisive: Judged) -> bool:
    """Tell whether what decides can still be seen beside the changes of the other regime."""
    mine, theirs = (each.pairs.change for each in (decisive, row))
    furthest = _CALM * max(float(np.abs(mine[np.isfinite(mine)]).max()), decisive.measure.margin)
    return len(theirs) > 0 and bool(np.isfinite(theirs).all()) and float(np.abs(theirs).max()) <= furthest


def _caption(evidence: Evidence, decisive: Judged, sides: Sequence[_Side]) -> str:
    margin, verdict = decisive.measure.margin, decisive.verdict
    unit = "rounds" if decisive.regime == "measured" else "seeds"
    least = margin_text(float(np.exp(margin)) if sides[0].ratio else margin, sides[0].ratio)
    corrected = "" if evidence.claim.settings.as_worded else " as corrected"
    return join_caption(
        f"{_REGIMES[decisive.regime]}, n = {verdict.n} {unit}: {verdict.word}{corrected}; the margin is {least}",
        *(f"pale: {_REGIMES[side.row.regime]}, {side.row.verdict.word}" for side in sides[1:]),
        "hollow: a bound only" if any(side.row.pairs.bound.any() for side in sides) else "",
        decisive.pairs.void,
    )


def _handles(decisive: Judged) -> list[Line2D]:
    one = "round" if decisive.regime == "measured" else "seed"
    return [
        Line2D([], [], color=GREY, lw=0.8, marker="o", ms=3.5, label=f"a {one}"),
        Line2D([], [], color="black", lw=1.6, marker="D", ms=5, label="mean and 95 % interval"),
        Line2D([], [], color="black", lw=0.9, label="no change"),
        Line2D([], [], color="black", lw=1, ls="dotted", label="the margin"),
    ]


def _dress_left(axes: Axes, sides: Sequence[_Side]) -> None:
    _dress(axes, [(side, side.at + 0.5) for side in sides])
    columns = [(side.at + place, arm) for side in sides for place, arm in enumerate(_arms(side.row))]
    axes.set_xticks([x for x, _ in columns], [shorten_text(arm, _NAME, SMALL) for _, arm in columns], parse_math=False)
    axes.set_xlim(-0.6, columns[-1][0] + 0.6)
    axes.set_ylabel(_moved(sides[0].row), size=SMALL, color=GREY, parse_math=False)
    values = np.concatenate([each for side in sides for each in (side.row.pairs.baseline, side.row.pairs.treated)])
    values = values[np.isfinite(values)]
    if sides[0].row.measure.of_logarithms and len(values) and values.min() > 0:
        axes.set_yscale("log")
        _number(axes.yaxis, values)


def _moved(row: Judged) -> str:
    """Say what an arm's number is where it is a change itself; else the title does."""
    return "; ".join(
        f"change from {key.partition('.')[2]} {value_text(first)} to {value_text(last)}"
        for key, (first, last) in row.measure.change.items()
    )


def _dress_right(axes: Axes, sides: Sequence[_Side]) -> None:
    first = sides[0]
    _dress(axes, [(side, side.column) for side in sides])
    axes.set_xticks([])
    axes.set_xlim(-0.6, sides[-1].column + 0.6)
    nothing, margin = (1.0, float(np.exp(first.row.measure.margin))) if first.ratio else (0.0, first.row.measure.margin)
    axes.axhline(nothing, color="black", lw=0.9, zorder=1)
    axes.axhline(margin, color="black", lw=1, ls="dotted", zorder=1)
    if first.ratio:
        axes.set_yscale("log")
        values = np.concatenate([[nothing, margin], *([*side.change, *side.interval] for side in sides)])
        _number(axes.yaxis, values[np.isfinite(values) & (values > 0)], sign="×")
    beside: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "size": SMALL}
    axes.annotate("agrees ↑", (1, nothing), xytext=(4, 3), va="bottom", **beside)
    axes.annotate("against ↓", (1, nothing), xytext=(4, -3), va="top", color=GREY, **beside)


def _dress(axes: Axes, columns: Sequence[tuple[_Side, float]]) -> None:
    """Name the regimes above their columns, and leave room for what is drawn."""
    style_axes(axes)
    axes.margins(y=0.12)
    axes.grid(axis="y", color=PALE, lw=0.5)
    for side, x in columns:
        colour = GREY if side.pale else "black"
        axes.annotate(
            side.row.regime,
            (x, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            size=SMALL,
            color=colour,
        )


def _number(axis: Axis, values: Float[np.ndarray, " n"], sign: str = "") -> None:
    """Number a logarithmic axis in plain numbers: round ones over less than a decade, else of its steps."""
    wide = values.max() / values.min() if len(values) else 1.0
    steps = (1.0,) if wide > 1000 else (1.0, 2.0, 5.0) if wide > 30 else (1.0, 2.0, 3.0, 5.0, 7.0)
    axis.set(
        major_locator=LogLocator(subs=steps) if wide > 5 else MaxNLocator(5),
        minor_locator=NullLocator(),
        major_formatter=FuncFormatter(lambda value, place: f"{sign}{rounded(value)}"),
    )


def _arms(row: Judged) -> tuple[str, str]:
    return row.measure.baseline, row.measure.arm


def _draw_arms(axes: Axes, side: _Side) -> None:
    pairs, (baseline, arm) = side.row.pairs, _arms(side.row)
    for before, after in zip(pairs.baseline, pairs.treated, strict=True):
        axes.plot(
            [side.at, side.at + 1], [before, after], color="#DDDDDD" if side.pale else "#AAAAAA", lw=0.7, zorder=2
        )
    for place, (name, values) in enumerate(((baseline, pairs.baseline), (arm, pairs.treated))):
        for value, bound in zip(values, pairs.bound, strict=True):
            _draw_dot(axes, side.at + place, value, side.colour(name), arm_styles([baseline, arm])[name].marker, bound)


def _draw_changes(axes: Axes, side: _Side) -> None:
    changes, colour = side.change, side.colour(side.row.measure.arm)
    marker = arm_styles(list(_arms(side.row)))[side.row.measure.arm].marker
    for x, change, bound in zip(_spread(len(changes)), changes, side.row.pairs.bound, strict=True):
        _draw_dot(axes, side.column - 0.2 + x, change, colour, marker, bound)
    if not side.interval:
        return
    mean, *ends = side.interval
    dark = "#8A8A8A" if side.pale else "black"
    if ends:
        axes.plot([side.column + 0.2] * 2, ends, color=dark, lw=1.6, solid_capstyle="butt", zorder=3)
    axes.plot([side.column + 0.2], [mean], marker="D", ms=5, color=dark, zorder=4)


def _draw_dot(axes: Axes, x: float, y: float, colour: str, marker: str, bound: bool) -> None:
    axes.plot([x], [y], marker=marker, ms=4, color=colour, mfc="white" if bound else colour, ls="", zorder=3)


def _spread(count: int) -> Float[np.ndarray, " n"]:
    return np.linspace(-_JITTER, _JITTER, count) if count > 1 else np.zeros(count)


COLOURS = {
    Word.supported: "#009E73",
    Word.opposite: "#D55E00",
    Word.too_small: "#999999",
    Word.inconclusive: "#E69F00",
}
"""Of the Okabe-Ito palette; the words stand beside them."""
_VERDICTS_WIDTH, _FURTHEST = 8.0, 300.0
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
    figure, body = new_figure(
        title="Verdicts from data",
        caption=_CAPTION + (" An arrow: beyond the axis." if any(map(_leaves, (row for _, row in rows))) else ""),
        handles=[*handles, Line2D([], [], color=GREY, ls="dotted", lw=1, label="the margin")],
        width=_VERDICTS_WIDTH,
        height=LINE * (1.3 * len(rows) + 5),
    )
    axes = body.subplots()
    _style_verdict_axes(axes, [name for name, _ in rows])
    for y, (_, row) in enumerate(rows):
        _line(axes, y, row)
    return figure


def _style_verdict_axes(axes: Axes, names: Sequence[str]) -> None:
    style_axes(axes)
    axes.set_xscale("symlog", linthresh=1)
    axes.set(xlim=(-_FURTHEST * _ROOM, _FURTHEST * _ROOM), ylim=(len(names) - 0.5, -0.5))
    axes.xaxis.set(
        major_locator=FixedLocator(_TICKS), minor_locator=NullLocator(), major_formatter=FuncFormatter(_verdict_number)
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


def _verdict_number(value: float, place: int) -> str:
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


def claim_figure(evidence: Evidence) -> Figure | None:
    """Return the picture of a claim: of what decides it, or of what is described; None where nothing has run."""
    if evidence.decisive:
        return pairs_figure(evidence)
    described = evidence.claim.settings.kind == "descriptive" and evidence.experiment and evidence.studies
    if not described:
        return None
    study = replace(list(evidence.studies.values())[-1], question=evidence.claim.id.replace("_", " "))
    drawn = dict(probe_figures(study, title=study.title))
    probes = evidence.experiment.probes if evidence.experiment else ()
    wanted = [probe.spec.figure for probe in probes if probe.spec.figure in drawn]
    return drawn[wanted[0]] if wanted else curves_figure(study, choose_metric(study.trials))
