"""The ladder: where each arm stands between no normalization and whole batch normalization, the best arm on top."""

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnexp.analysis.comparison import Comparison, Rung
from bnexp.analysis.study import Study
from bnexp.report.columns import words
from bnexp.report.figures.frame import LINE, SMALL, WIDE, join_caption, new_figure, shorten_text, style_axes
from bnexp.report.style import PALE, arm_styles

REGIMES = {"": ("o", 0.0), "best_": ("D", 0.32)}
"""The mark, and how far it is below the arm's line: at equal settings, and with each arm at its own best point."""
_NAMES = 1.6
"""Inches for the names of the arms."""


def ladder_figure(study: Study, comparison: Comparison, title: str) -> Figure:
    """Return the figure: a line per arm, with its difference to the baseline (left) and to whole BN (right)."""
    rungs = comparison.ladder
    tuned = any(rung.best_difference is not None for rung in rungs)
    over = f"mean over {comparison.points} grid points" if comparison.points > 1 else "equal settings"
    labels = {"": over, "best_": "each arm at its own best"}
    shown = [regime for regime in REGIMES if tuned or not regime]
    handles = [
        Line2D([], [], color="black", marker=REGIMES[regime][0], markersize=5, linestyle="", label=labels[regime])
        for regime in shown
    ]
    figure, body = new_figure(
        title=title,
        caption=join_caption(
            f"difference in {words(comparison.metric)}, paired over {comparison.unit}s",
            "line: its 95 % interval; the mark is hollow where that contains 0",
        ),
        handles=handles,
        width=WIDE,
        height=len(rungs) * LINE * 1.9 + 0.7,
    )
    left, right = body.subplots(1, 2, sharey=True)
    for axes, prefix, arm in ((left, "", rungs[0].baseline), (right, "to_full_", rungs[0].full)):
        _style(axes, f"to {study.label(arm)}")
        for y, rung, regime in _lines(rungs, shown):
            _draw(axes, rung, f"{regime}{prefix}", y, REGIMES[regime][0], arm_styles(study.arms)[rung.arm].colour)
    names = [shorten_text(study.label(rung.arm), _NAMES, SMALL) for rung in rungs]
    left.set_yticks(range(len(rungs)), names, parse_math=False, size=SMALL)
    left.set_ylim(len(rungs) - 0.3, -0.6)
    return figure


def _lines(rungs: tuple[Rung, ...], regimes: list[str]) -> Iterator[tuple[float, Rung, str]]:
    return ((place + REGIMES[regime][1], rung, regime) for place, rung in enumerate(rungs) for regime in regimes)


def _style(axes: Axes, title: str) -> None:
    style_axes(axes)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.axvline(0, color="black", linewidth=0.9)
    axes.tick_params(axis="y", length=0, pad=6)
    axes.set_title(title, size=SMALL + 1, loc="left", parse_math=False)


def _draw(axes: Axes, rung: Rung, prefix: str, y: float, mark: str, colour: str) -> None:
    difference, low, high = (getattr(rung, f"{prefix}difference{end}") for end in ("", "_low", "_high"))
    if difference is None:
        return
    sure = low is not None and (low > 0 or high < 0)
    if low is not None:
        axes.plot([low, high], [y, y], color=colour, linewidth=1.5)
    axes.plot(difference, y, mark, color=colour, markerfacecolor=colour if sure else "white", markersize=5)
