"""Where along a swept setting each arm can be trained: its longest stretch of usable values, as a bar."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bnexp.analysis.comparison import RobustnessRow
from bnexp.analysis.robustness import USABLE_SHARE
from bnexp.report.figures.sheet import GREY, PALE, SMALL, dress, make_sheet, sentences, wrapped
from bnexp.report.style import ArmMark, ArmStyle, arm_marks, arm_styles, short_keys, value_text
from bnexp.report.views import usable_text

_WIDTH, _BAR, _AXIS, _NAMES = 8.0, 0.28, 0.62, 1.8
"""Inches: the figure, the height of an arm, what an axis takes below its arms, the names of the arms at most."""
_BEST: dict[str, Any] = {"linestyle": "", "marker": "D", "markersize": 5, "color": "black", "markerfacecolor": "white"}
_TRIED: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 3, "color": GREY}


def usable_range_figure(
    rows: Sequence[RobustnessRow],
    *,
    arms: Sequence[str],
    title: str,
    tried: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Return the figure: a panel per axis, in it a bar per arm.

    Args:
        rows: one per axis and arm.
        arms: in the order in which they are to come.
        title: stands above.
        tried: the values of each axis, shown as dots; otherwise an axis ends where its rows do.
    """
    panels = _panels(rows, arms)
    slot = _BAR + 0.14 * max((_name(row).count("\n") for row in rows), default=0)
    heights = [len(panel) * slot + _AXIS for panel in panels.values()]
    figure, body = make_sheet(
        title=title,
        caption=_caption(rows, tried or {}),
        handles=_handles(rows, tried),
        width=_WIDTH,
        height=max(0.5, sum(heights)),
    )
    if not panels:
        return figure
    grid = body.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    names = short_keys(list(panels))
    for axes, (key, panel) in zip(grid.flat, panels.items(), strict=True):
        values = (tried or {}).get(key, ())
        _dress(axes, panel, names[key], _known(panel, values))
        for y, row in enumerate(panel):
            axes.plot(values, [y] * len(values), zorder=3, **_TRIED)
            _draw_bar(axes, row, y, arm_styles(arms)[row.arm], arm_marks(arms)[row.arm])
    return figure


def width_text(row: RobustnessRow) -> str:
    """Write how wide the usable stretch is: 3,000×, three digits at most; its ends where a ratio means nothing."""
    if row.usable_low is None or row.usable_high is None:
        return "none usable"
    if row.usable_low == row.usable_high:
        return f"only {value_text(row.usable_low)}"
    if row.width is None:
        return f"{value_text(row.usable_low)} to {value_text(row.usable_high)}"
    return f"{float(f'{row.width:.3g}'):,.0f}×" if row.width > 999 else f"{row.width:.3g}×"


def _name(row: RobustnessRow) -> str:
    return wrapped(row.arm, _NAMES, SMALL)


def _panels(rows: Sequence[RobustnessRow], arms: Sequence[str]) -> dict[str, list[RobustnessRow]]:
    panels: dict[str, list[RobustnessRow]] = {}
    for row in rows:
        if row.arm in arms:
            panels.setdefault(row.axis, []).append(row)
    return {key: sorted(panel, key=lambda row: arms.index(row.arm)) for key, panel in panels.items()}


def _known(panel: Sequence[RobustnessRow], tried: Sequence[float]) -> list[float]:
    ends = [end for row in panel for end in (row.usable_low, row.usable_high, row.best_at, row.worst_at)]
    return sorted({*tried, *(end for end in ends if end is not None)})


def _caption(rows: Sequence[RobustnessRow], tried: Mapping[str, Sequence[float]]) -> str:
    ends = {key: (min(values), max(values)) for key, values in tried.items()}
    open_ended = any({row.usable_low, row.usable_high} & {*ends.get(row.axis, ())} for row in rows)
    trained = f"{100 * USABLE_SHARE:.0f} % of the seeds did not diverge and ended {usable_text(rows)}"
    usable = f"{trained}, at the best of the other settings"
    return sentences(
        f"bar: the longest stretch of values at which {usable}"
        if rows
        else "no setting was swept over several numbers",
        "×: its upper end over its lower" if any(row.width is not None for row in rows) else "",
        "a bar at the edge may go on beyond the values tried" if open_ended else "",
    )


def _handles(rows: Sequence[RobustnessRow], tried: Mapping[str, Sequence[float]] | None) -> list[Line2D]:
    best = [Line2D([], [], label="best mean", **_BEST)] if any(row.best_at is not None for row in rows) else []
    return best + ([Line2D([], [], label="values tried", **_TRIED)] if tried else [])


def _dress(axes: Axes, panel: Sequence[RobustnessRow], name: str, known: Sequence[float]) -> None:
    dress(axes)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.spines["left"].set_visible(False)
    if known and known[0] > 0 and known[-1] > 10 * known[0]:
        axes.set_xscale("log")
        edge = (known[-1] / known[0]) ** 0.03
        axes.set_xlim(known[0] / edge, known[-1] * edge)
        steps = (1,) if known[-1] > 300 * known[0] else (1, 2, 5)
        axes.xaxis.set(major_locator=LogLocator(subs=steps), minor_locator=NullLocator())
    elif known:
        edge = 0.03 * (known[-1] - known[0]) or 0.5
        axes.set_xlim(known[0] - edge, known[-1] + edge)
    else:
        axes.xaxis.set_major_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: value_text(float(value))))
    axes.set_ylim(len(panel) - 0.5, -0.5)
    axes.set_yticks(range(len(panel)), [_name(row) for row in panel], parse_math=False, size=SMALL)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(name, size=SMALL + 1, parse_math=False)


def _draw_bar(axes: Axes, row: RobustnessRow, y: float, style: ArmStyle, mark: ArmMark) -> None:
    low, high = row.usable_low, row.usable_high
    if low is not None and high is not None and high > low:
        axes.barh(
            y,
            high - low,
            left=low,
            height=0.56,
            facecolor=(style.colour, 0.35),
            edgecolor=style.colour,
            hatch=mark.hatch,
            linewidth=1.2,
        )
    elif low is not None:
        axes.plot(low, y, "|", color=style.colour, markersize=12, markeredgewidth=4)  # too narrow for a bar
    if row.best_at is not None:
        axes.plot(row.best_at, y, zorder=4, **_BEST)
    colour = GREY if low is None else "black"
    axes.text(1.02, y, width_text(row), transform=axes.get_yaxis_transform(), size=SMALL, color=colour, va="center")
