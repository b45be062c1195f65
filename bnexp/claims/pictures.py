"""The picture of a claim: the pairs that decide it, by arm and as changes. A described claim shows its probes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from bnexp.analysis.study import choose_metric
from bnexp.claims.check_pictures import findings_figure
from bnexp.claims.evidence import Evidence, Judgement
from bnexp.claims.rows import format_number, margin_text, where_text
from bnexp.claims.verdicts import Verdict, VerdictLabel
from bnexp.report.figures.curves import curves_figure
from bnexp.report.figures.frame import LINE, SMALL, WIDE, join_caption, new_figure, shorten_text, style_axes
from bnexp.report.figures.pictures import probe_figures
from bnexp.report.style import GREY, PALE, arm_styles, value_text

_HEIGHT, _NAME = 3.1, 0.9
"""Inches: height of the drawing, width of an arm's name."""
_BESIDE = 2.5
"""The columns of the other regime stand this far to the right."""
_ABREAST = 4
"""With more rows than this the arms are drawn above the changes instead of beside them."""
_CALM = 30
"""The other regime is left out if its values reach this many times further than those that decide."""
_JITTER = 0.12
"""The seeds of a column are spread this far to each side."""
_REGIMES = {"equal": "with equal settings", "tuned": "each arm with what it chose", "measured": "measured in turns"}


@dataclass(frozen=True)
class _Side:
    """The pairs of one regime, and where they are drawn."""

    row: Judgement
    at: float
    """Place of the baseline's column; the arm's is the next one."""
    column: float
    """Place of the changes."""

    @property
    def pale(self) -> bool:
        return not self.row.decides

    @property
    def columns(self) -> tuple[tuple[float, str, Float[np.ndarray, " n"]], ...]:
        """Place, arm and values of the baseline's column and of the arm's."""
        measure, pairs = self.row.measure, self.row.pairs
        return (self.at, measure.baseline, pairs.baseline), (self.at + 1, measure.arm, pairs.treated)

    def on_axis(self, changes: ArrayLike) -> Float[np.ndarray, " n"]:
        """Return changes in the unit of the axis."""
        with np.errstate(over="ignore"):
            return np.exp(changes) if self.row.measure.as_ratio else np.asarray(changes, dtype=float)


def _known(verdict: Verdict) -> list[float]:
    """Return the mean change and, where there is one, the ends of its interval."""
    return [value for value in verdict.estimate if value is not None]


def pairs_figure(evidence: Evidence) -> Figure | None:
    """Return the picture of the measure that decides a claim, in the deciding regime.

    Several deciding rows stand side by side. Beside a single one, the other regime is drawn pale.
    """
    shown = [row for row in evidence.deciding if np.isfinite(row.pairs.change).any()]
    if not shown:
        return None
    decisive = shown[0]
    if len(evidence.deciding) == 1:
        others = [row for row in evidence.rows if row.measure == decisive.measure and row is not decisive]
        shown += [row for row in others if _is_calm(row, decisive)]
    sides = [_Side(row, _BESIDE * place, float(place)) for place, row in enumerate(shown)]
    one = decisive.pairs.one
    figure, body = new_figure(
        title=decisive.measure.label[:1].upper() + decisive.measure.label[1:],
        caption=_pairs_caption(evidence, decisive, sides, one),
        handles=[
            Line2D([], [], color=GREY, lw=0.8, marker="o", ms=3.5, label=f"a {one}"),
            Line2D([], [], color="black", lw=1.6, marker="D", ms=5, label="mean and 95 % interval"),
            Line2D([], [], color="black", lw=0.9, label="no change"),
            Line2D([], [], color="black", lw=1, ls="dotted", label="the margin"),
        ],
        width=WIDE,
        height=2 * _HEIGHT if len(sides) > _ABREAST else _HEIGHT,
    )
    if len(sides) > _ABREAST:
        left, right = body.subplots(2, 1)
    else:
        left, right = body.subplots(1, 2, width_ratios=(len(sides) + 0.6, len(sides) + 0.4))
    _style_arms(left, sides)
    _style_changes(right, sides)
    for side in sides:
        _draw_arms(left, side)
        _draw_changes(right, side)
    return figure


def _is_calm(row: Judgement, decisive: Judgement) -> bool:
    """Return whether the deciding changes can still be seen beside those of the other regime."""
    mine, theirs = (each.pairs.change for each in (decisive, row))
    furthest = _CALM * max(float(np.abs(mine[np.isfinite(mine)]).max()), decisive.measure.margin)
    return len(theirs) > 0 and bool(np.isfinite(theirs).all()) and float(np.abs(theirs).max()) <= furthest


def _pairs_caption(evidence: Evidence, decisive: Judgement, sides: Sequence[_Side], one: str) -> str:
    margin, verdict = decisive.measure.margin, decisive.verdict
    least = margin_text(float(sides[0].on_axis(margin)), decisive.measure.as_ratio)
    corrected = "" if evidence.claim.settings.as_worded else " as corrected"
    deciding, pale = ([side.row for side in sides if side.pale is pale] for pale in (False, True))
    words = ", ".join(
        f"{where_text(row.point)} {row.verdict.label}" if row.point else str(row.verdict.label) for row in deciding
    )
    return join_caption(
        f"{_REGIMES[decisive.regime]}, n = {verdict.n} {one}s: {words}{corrected}; the margin is {least}",
        *(f"pale: {_REGIMES[row.regime]}, {row.verdict.label}" for row in pale),
        "hollow: a bound only" if any(side.row.pairs.bound.any() for side in sides) else "",
        decisive.pairs.void,
    )


def _style_arms(axes: Axes, sides: Sequence[_Side]) -> None:
    _style(axes, [(side, side.columns[0][0] + 0.5) for side in sides])
    columns = [column for side in sides for column in side.columns]
    names = [shorten_text(arm, _NAME, SMALL) for _, arm, _ in columns]
    axes.set_xticks([x for x, _, _ in columns], names, parse_math=False)
    axes.set_xlim(-0.6, columns[-1][0] + 0.6)
    measure = sides[0].row.measure
    moved = [  # needed if an arm's number is itself a change; otherwise the title says what it is
        f"change from {key.partition('.')[2]} {value_text(first)} to {value_text(last)}"
        for key, (first, last) in measure.change.items()
    ]
    axes.set_ylabel("; ".join(moved), size=SMALL, color=GREY, parse_math=False)
    values = np.concatenate([values for _, _, values in columns])
    values = values[np.isfinite(values)]
    if measure.of_logarithms and len(values) and values.min() > 0:
        _make_logarithmic(axes, values)


def _style_changes(axes: Axes, sides: Sequence[_Side]) -> None:
    measure = sides[0].row.measure
    _style(axes, [(side, side.column) for side in sides])
    axes.set_xticks([])
    axes.set_xlim(-0.6, sides[-1].column + 0.6)
    nothing, *least = map(float, sides[0].on_axis([0.0, measure.margin, -measure.margin]))
    axes.axhline(nothing, color="black", lw=0.9, zorder=1)
    for margin in least:
        axes.axhline(margin, color="black", lw=1, ls="dotted", zorder=1)
    if measure.as_ratio:
        drawn = [side.on_axis([*side.row.pairs.change, *_known(side.row.verdict)]) for side in sides]
        values = np.concatenate([[nothing, *least], *drawn])
        _make_logarithmic(axes, values[np.isfinite(values) & (values > 0)], sign="×")
    beside: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "size": SMALL}
    axes.annotate("agrees ↑", (1, nothing), xytext=(4, 3), va="bottom", **beside)
    axes.annotate("against ↓", (1, nothing), xytext=(4, -3), va="top", color=GREY, **beside)


def _style(axes: Axes, places: Sequence[tuple[_Side, float]]) -> None:
    """Name the regimes above their columns, and leave room around the drawing."""
    style_axes(axes)
    axes.margins(y=0.12)
    axes.grid(axis="y", color=PALE, lw=0.5)
    for side, x in places:
        text = where_text(side.row.point) or side.row.regime
        _write_above(axes, text, x, "center", GREY if side.pale else "black")


def _write_above(axes: Axes, text: str, x: float, ha: Literal["left", "center", "right"], colour: str) -> None:
    place: dict[str, Any] = {"xycoords": axes.get_xaxis_transform(), "xytext": (0, 4), "textcoords": "offset points"}
    axes.annotate(text, (x, 1), ha=ha, size=SMALL, color=colour, **place)


def _make_logarithmic(axes: Axes, values: Float[np.ndarray, " n"], sign: str = "") -> None:
    """Make the y axis logarithmic, with plain numbers: round ones within a decade, otherwise logarithmic steps."""
    wide = values.max() / values.min() if len(values) else 1.0
    steps = (1.0,) if wide > 1000 else (1.0, 2.0, 5.0) if wide > 30 else (1.0, 2.0, 3.0, 5.0, 7.0)
    axes.set_yscale("log")
    axes.yaxis.set(
        major_locator=LogLocator(subs=steps) if wide > 5 else MaxNLocator(5),
        minor_locator=NullLocator(),
        major_formatter=FuncFormatter(lambda value, _: f"{sign}{format_number(value)}"),
    )


def _draw_arms(axes: Axes, side: _Side) -> None:
    (left, _, baseline), (right, _, treated) = side.columns
    colour = "#DDDDDD" if side.pale else "#AAAAAA"
    axes.plot([left, right], np.stack([baseline, treated]), color=colour, lw=0.7, zorder=2)
    for x, arm, values in side.columns:
        _draw_dots(axes, side, arm, np.full(len(values), x), values)


def _draw_changes(axes: Axes, side: _Side) -> None:
    changes = side.on_axis(side.row.pairs.change)
    spread = np.linspace(-_JITTER, _JITTER, len(changes)) if len(changes) > 1 else np.zeros(len(changes))
    _draw_dots(axes, side, side.row.measure.arm, side.column - 0.2 + spread, changes)
    if known := _known(side.row.verdict):
        mean, *ends = side.on_axis(known)
        colour = "#8A8A8A" if side.pale else "black"
        axes.plot([side.column + 0.2] * len(ends), ends, color=colour, lw=1.6, solid_capstyle="butt", zorder=3)
        axes.plot([side.column + 0.2], [mean], marker="D", ms=5, color=colour, zorder=4)


def _draw_dots(axes: Axes, side: _Side, arm: str, xs: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> None:
    """Draw a mark per seed; it is hollow if the value is only a bound."""
    style = arm_styles([side.row.measure.baseline, side.row.measure.arm])[arm]
    marker, colour = style.marker, "#B5B5B5" if side.pale else style.colour
    for x, y, bound in zip(xs, values, side.row.pairs.bound, strict=True):
        axes.plot([x], [y], marker=marker, ms=4, color=colour, mfc="white" if bound else colour, ls="", zorder=3)


# All verdicts in one picture.

COLOURS = {
    VerdictLabel.supported: "#009E73",
    VerdictLabel.opposite: "#D55E00",
    VerdictLabel.equivalent: "#56B4E9",
    VerdictLabel.too_small: "#999999",
    VerdictLabel.inconclusive: "#E69F00",
}
"""Colours of the Okabe-Ito palette; the legend names the verdicts."""
_FURTHEST = 300.0
"""The axis ends at this many margins; an arrow stands for what lies beyond."""
_TICKS = (-100, -10, -1, 0, 1, 10, 100)
_ROOM = 1.25
"""The axis goes on by this factor, so that no mark stands on its end."""
_CAPTION = (
    "The mean change of each claim's measure with its 95 % interval, in units of the least that counts, the claim's "
    "margin; the axis is logarithmic beyond 1. Right of 0 agrees with the claim. SUPPORTED: the interval is right of 0 "
    "and its mean right of the dotted line; OPPOSITE: the same on the left; EQUIVALENT: the interval is between the "
    "dotted lines; TOO SMALL: it is on one side of 0, and its mean between them."
)


def verdicts_figure(found: Sequence[Evidence]) -> Figure | None:
    """Return the picture of all deciding changes, in margins; None if data have decided nothing."""
    rows = [(_name(each.claim.id, row), row) for each in found for row in each.deciding]
    if not rows:
        return None
    places = [[value / row.measure.margin for value in _known(row.verdict) if isfinite(value)] for _, row in rows]
    beyond = any(abs(value) > _FURTHEST for row in places for value in row)
    handles = [Line2D([], [], color=colour, marker="o", ls="", ms=5, label=word) for word, colour in COLOURS.items()]
    figure, body = new_figure(
        title="Verdicts from data",
        caption=_CAPTION + (" An arrow: beyond the axis." if beyond else ""),
        handles=[*handles, Line2D([], [], color=GREY, ls="dotted", lw=1, label="the margin")],
        width=WIDE,
        height=LINE * (1.3 * len(rows) + 5),
    )
    axes = body.subplots()
    _style_verdicts(axes, [name for name, _ in rows])
    for y, ((_, row), values) in enumerate(zip(rows, places, strict=True)):
        if values:
            _draw_verdict(axes, y, values, COLOURS[row.verdict.label])
    return figure


def _name(claim: str, row: Judgement) -> str:
    return f"{claim}, {where_text(row.point)}" if row.point else claim


def _style_verdicts(axes: Axes, names: Sequence[str]) -> None:
    style_axes(axes)
    axes.set_xscale("symlog", linthresh=1)
    axes.set(xlim=(-_FURTHEST * _ROOM, _FURTHEST * _ROOM), ylim=(len(names) - 0.5, -0.5))
    axes.xaxis.set(
        major_locator=FixedLocator(_TICKS),
        minor_locator=NullLocator(),
        major_formatter=FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")),
    )
    axes.set_yticks(range(len(names)), names, fontsize=SMALL, parse_math=False)
    axes.set_xlabel("mean change / margin", fontsize=SMALL, color=GREY)
    axes.axvline(0, color=GREY, lw=0.8)
    for margin in (-1, 1):
        axes.axvline(margin, color=GREY, lw=1, ls="dotted")
    axes.grid(axis="y", color=PALE, lw=0.5)
    _write_above(axes, "← against the claim", -1, "right", "black")
    _write_above(axes, "agrees with the claim →", 1, "left", "black")


def _draw_verdict(axes: Axes, y: int, values: Sequence[float], colour: str) -> None:
    """Draw the mean and its interval, in margins, with an arrow at each end of the axis that they go beyond."""
    mean, *ends = np.clip(values, -_FURTHEST, _FURTHEST)
    if ends:
        axes.plot(ends, [y] * len(ends), color=colour, lw=1.6, solid_capstyle="butt")
    axes.plot([mean], [y], marker="o", ms=4.5, color=colour)
    for right in {value > 0 for value in values if abs(value) > _FURTHEST}:
        end = _FURTHEST * (_ROOM if right else -_ROOM)
        axes.plot([end], [y], marker=">" if right else "<", ms=5, color=colour, clip_on=False)


def claim_figure(evidence: Evidence) -> Figure | None:
    """Return the picture of a claim: what decides it, or what is described; None if nothing has run."""
    if evidence.deciding:
        return pairs_figure(evidence)
    if evidence.result:
        return findings_figure(evidence.result, " ".join(evidence.claim.settings.claim.split()))
    described = evidence.claim.settings.kind == "descriptive" and evidence.experiment and evidence.studies
    if not described:
        return None
    study = replace(list(evidence.studies.values())[-1], question=evidence.claim.id.replace("_", " "))
    drawn = dict(probe_figures(study, title=study.title))
    probes = evidence.experiment.probes if evidence.experiment else ()
    wanted = [probe.spec.figure for probe in probes if probe.spec.figure in drawn]
    return drawn[wanted[0]] if wanted else curves_figure(study, choose_metric(study.trials))
