"""The picture of a paper: the published accuracies on our runs and their prediction intervals."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnexp.claims.rows import where_text
from bnexp.papers.results import Result, Row
from bnexp.report.figures.frame import LINE, SMALL, WIDE, join_caption, new_figure, style_axes
from bnexp.report.style import GREY, ArmStyle, arm_styles

_ROW, _AXIS = 1.3 * LINE, 0.5
"""Inches: height of an accuracy's line, and of the axis below."""


def paper_figure(result: Result) -> Figure | None:
    """Return the picture: a line for each arm in each setting. None if nothing has run."""
    lines = _lines([(_label(row, result), row) for row in result.rows if row.baseline is None and row.ours])
    if not lines:
        return None
    rows = [row for _, row in lines]
    published = Line2D([], [], color="black", marker="x", ms=6, mew=1.6, lw=0, label="published")
    styles = arm_styles(list(dict.fromkeys(row.arm for row in rows)))
    figure, body = new_figure(
        title=result.paper.settings.title,
        caption=join_caption(
            f"{len(rows[0].ours)} runs for each line",
            "pale crosses: published in another setting"
            if any(row.published and not row.same_setting for row in rows)
            else "",
        ),
        handles=[
            *([published] if any(row.published for row in rows) else []),
            Line2D([], [], color=GREY, marker="o", ms=3, lw=0, label="a run of ours"),
            Line2D([], [], color=GREY, lw=4, alpha=0.4, label="95 % prediction interval of those that learned"),
        ],
        width=WIDE,
        height=_AXIS + _ROW * len(rows),
    )
    axes = body.subplots()
    style_axes(axes)
    axes.set_xlim(-0.02, 1.02)
    axes.set_yticks(range(len(rows)), [label for label, _ in lines], fontsize=SMALL)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("accuracy", fontsize=SMALL)
    for place, row in enumerate(rows):
        _draw(axes, row, place, styles[row.arm])
    return figure


def _lines(rows: Sequence[tuple[str, Row]]) -> list[tuple[str, Row]]:
    """Return each line once; an arm that is compared with several others has several rows, with numbers or without."""
    numbered = {label for label, row in rows if row.published}
    kept = {(label, row.published): row for label, row in rows if row.published or label not in numbered}
    return [(label, row) for (label, _), row in kept.items()]


def _label(row: Row, result: Result) -> str:
    kind = row.metric.removesuffix("_accuracy").replace("_", " ")
    step = [f"step {row.step:,}"] if row.step else []
    where = [where_text(row.where)] if row.where else []
    return ", ".join([*where, kind, *step, result.experiment.label(row.arm)])


def _draw(axes: Axes, row: Row, place: int, style: ArmStyle) -> None:
    if row.interval.low is not None and row.interval.high is not None:
        axes.plot([row.interval.low, row.interval.high], [place, place], color=style.colour, lw=4, alpha=0.4)
    axes.plot(row.ours, [place] * len(row.ours), color=style.colour, marker="o", ms=3, lw=0)
    alpha = 1.0 if row.same_setting else 0.35
    axes.plot(row.published, [place] * len(row.published), color="black", marker="x", ms=6, mew=1.6, lw=0, alpha=alpha)
