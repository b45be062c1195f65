"""A bar from the lowest to the highest usable value, on an axis that suits the values."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bnexp.analysis.comparison import RobustnessRow
from bnexp.report.figures.sweep import usable_range_figure, width_text
from bnexp.report.style import arm_styles
from tests.report.figures.made_up import ARMS, caption, comparison_of, faults, robustness, study_of, words

ROWS = [
    robustness("train.lr", "none", 0.01, 0.1, best_at=0.1),
    robustness("train.lr", "before", 0.001, 3.0, best_at=0.3),
    robustness("train.lr", "after", None, None),
    robustness("model.dropout", "none", 0.0, 0.5, best_at=0.25),
    robustness("model.dropout", "before", 0.25, 0.25),
]
TRIED = {"train.lr": [0.0001, 0.01, 10.0], "model.dropout": [0.0, 0.25, 0.5]}


def figure_of(rows: list[RobustnessRow], arms: tuple[str, ...] = ARMS, tried: dict[str, list[float]] = TRIED) -> Figure:
    trials = pd.DataFrame({key: pd.Series(tried.get(key, [0.001, 1.0])) for key in {row.axis for row in rows}})
    study = study_of((trials, pd.DataFrame()), arms)
    return usable_range_figure(study, comparison_of([], robustness=tuple(rows)))


def bars(axes: Axes) -> list[tuple[float, float, float]]:
    """Place and ends of each bar."""
    return [(bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]  # type: ignore[attr-defined]


def places(axes: Axes, marker: str) -> list[list[float]]:
    return [place.tolist() for line in axes.lines if line.get_marker() == marker for place in line.get_xydata()]


def test_bars_marks_and_widths_are_the_rows() -> None:
    lr, dropout = figure_of(ROWS[::-1]).axes[::-1]
    assert bars(lr) == [pytest.approx((0, 0.01, 0.1)), pytest.approx((1, 0.001, 3.0))]
    assert bars(dropout) == [pytest.approx((0, 0, 0.5))]
    assert (places(lr, "D"), places(dropout, "D")) == ([[0.1, 0], [0.3, 1]], [[0.25, 0], [0.25, 1]])
    assert places(dropout, "|") == [[0.25, 1]]
    assert [label.get_text() for label in lr.get_yticklabels()] == list(ARMS)
    assert [label.get_text() for label in dropout.get_yticklabels()] == list(ARMS[:2])
    assert [axes.get_xlabel() for axes in (lr, dropout)] == ["lr", "dropout"]
    assert [text.get_text() for text in lr.texts] == ["10×", "3,000×", "none usable"]
    assert [text.get_text() for text in dropout.texts] == ["0 to 0.5", "only 0.25"]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.1, 0.3416, "3.42×"),
        (0.001, 1.0, "1,000×"),
        (1.0, 999.9, "1,000×"),
        (1.0, 99.96, "100×"),
        (0.0001, 543.21, "5,430,000×"),
        (0.3, 0.3, "only 0.3"),
        (-1.0, 1.0, "-1 to 1"),
        (None, None, "none usable"),
    ],
)
def test_widths(low: float | None, high: float | None, text: str) -> None:
    width = {"width": None} if low is not None and low <= 0 else {}
    assert width_text(robustness("train.lr", "none", low, high, **width)) == text


def test_the_axis_is_logarithmic_where_values_are_positive_and_span_more_than_ten() -> None:
    assert [axes.get_xscale() for axes in figure_of(ROWS).axes] == ["log", "linear"]
    for tried, scale in (([1.0, 10.0], "linear"), ([0.5, 10.0], "log")):
        (axes,) = figure_of(ROWS[:1], tried={"train.lr": tried}).axes
        assert axes.get_xscale() == scale
        assert axes.get_xticks().tolist() == tried


def test_many_values_have_ticks_at_round_numbers() -> None:
    (axes,) = figure_of(ROWS[:1], tried={"train.lr": np.geomspace(1e-4, 1, 40).tolist()}).axes
    assert len(axes.get_xticks()) < 10


def test_values_tried_are_dots_and_reach_over_the_axis() -> None:
    figure = figure_of(ROWS)
    lr = figure.axes[0]
    assert places(lr, ".") == [[value, arm] for arm in range(3) for value in TRIED["train.lr"]]
    low, high = lr.get_xlim()
    assert low < 0.0001
    assert high > 10
    assert {"best mean", "values tried"} <= set(words(figure))


def test_a_bar_that_ends_with_the_values_tried_is_pointed_out() -> None:
    note = "A bar at the edge may go on beyond the values tried."
    assert note not in caption(figure_of(ROWS[:3]))
    assert note in caption(figure_of(ROWS[:3], tried={"train.lr": [0.0001, 0.01, 3.0]}))


def test_arms_have_their_colour_and_a_hatch() -> None:
    none, before = figure_of(ROWS).axes[0].patches
    for bar, arm in ((none, "none"), (before, "before")):
        assert to_hex(bar.get_edgecolor()).upper() == arm_styles(ARMS)[arm].colour.upper()
        assert (bar.get_hatch() or "") == arm_styles(ARMS)[arm].hatch


@pytest.mark.parametrize(("axes", "arms"), [(1, 1), (4, 3), (2, 12)])
def test_nothing_overlaps(axes: int, arms: int) -> None:
    names = tuple(f"arm{i}" for i in range(arms))
    rows = [robustness(f"train.a{i}", arm, 0.001, 0.1 * 7**i) for i in range(axes) for arm in names]
    assert faults(figure_of(rows, names)) == []
