"""Over a swept setting: means and their intervals where they should be; bars of what can be trained."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.analysis.comparison import ArmRow, RobustnessRow
from bnexp.report.figures.sweep import sweep_figure, usable_range_figure, width_text
from bnexp.report.style import KNOWN
from tests.report.figures.made_up import (
    arm_row,
    arms_of,
    caption,
    comparison_of,
    faults,
    legend_of,
    robustness,
    study_of,
    words,
)

ARMS = ("none", "before")


def figure_of(rows: list[ArmRow], key: str = "train.lr", arms: tuple[str, ...] = ARMS, **more: object) -> Figure:
    return sweep_figure(arms_of(*arms), comparison_of(rows, **more), key)


def rows_over(values: tuple, *others: dict, key: str = "train.lr") -> list[ArmRow]:
    """Rows of two arms; the arm before is 0.4 better, and its mean rises along the values."""
    return [
        arm_row({**other, key: value}, arm, 0.1 + 0.1 * i + 0.4 * k, low=0.05 + 0.1 * i, high=0.7 + 0.1 * i)
        for other in others or ({},)
        for i, value in enumerate(values)
        for k, arm in enumerate(ARMS)
    ]


def line_of(axes: Axes, arm: str) -> np.ndarray:
    """Points (x, y) of an arm's marks."""
    (marks,) = [line for line in axes.lines if line.get_marker() == KNOWN[arm].marker and len(line.get_xdata())]
    return np.asarray(marks.get_xydata())


def test_means_and_intervals_stand_at_their_values() -> None:
    (axes,) = figure_of(rows_over((0.01, 0.1, 1.0))).axes
    assert axes.get_xscale() == "log"
    assert axes.get_xticks().tolist() == [0.01, 0.1, 1.0]
    for arm, first in (("none", 0.1), ("before", 0.5)):
        points = line_of(axes, arm)
        assert points[:, 0] == pytest.approx([0.01, 0.1, 1.0], rel=0.15)  # arms stand beside each other
        assert points[:, 1] == pytest.approx([first, first + 0.1, first + 0.2])
    ends = [path.vertices[:, 1] for path in axes.collections[0].get_paths()]
    assert np.array(ends) == pytest.approx(np.array([[0.05, 0.7], [0.15, 0.8], [0.25, 0.9]]))


def test_it_says_what_it_shows() -> None:
    figure = figure_of(rows_over((1.0, 2.0)))
    assert {"lr", "final test accuracy", "A question?"} <= set(words(figure))
    assert legend_of(figure) == ["none", "before", "guessing"]
    assert caption(figure) == "Mean over 6 seeds. Line: 95 % interval."


def test_values_of_other_settings_have_panels_of_their_own() -> None:
    others = [{"model.activation": name, "model.depth": depth} for name in ("relu", "tanh") for depth in (2, 4, 8)]
    figure = figure_of(rows_over((0.1, 1.0), *others))
    titles = [axes.get_title().replace("\u00a0", " ") for axes in figure.axes]
    assert titles[:2] == ["activation relu, depth 2", "activation relu, depth 4"]
    assert (len(titles), figure.axes[0].get_gridspec().ncols) == (6, 3)  # a row per activation
    many = figure_of(rows_over((0.1, 1.0), *({"model.depth": depth} for depth in range(40))))
    assert caption(many).startswith("Showing 16 of 40 combinations of the other settings.")


def test_an_arm_that_a_panel_lacks_draws_nothing_there() -> None:
    rows = rows_over((0.1, 1.0), {"model.depth": 2}, {"model.depth": 4})
    figure = figure_of([row for row in rows if row.arm == "none" or row.point["model.depth"] == 4])
    assert all(len(line.get_xdata()) for axes in figure.axes for line in axes.lines)  # else the layout is torn apart


def test_a_setting_that_is_no_number_has_places_without_a_line() -> None:
    (axes,) = figure_of(rows_over(("relu", None, "tanh"), key="model.activation"), "model.activation").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["relu", "null", "tanh"]
    assert [line for line in axes.lines if len(line.get_xdata()) == 3 and line.get_linestyle() != "None"] == []
    assert line_of(axes, "before")[:, 0].round().tolist() == [0, 1, 2]


def test_diverged_trials_are_marked_and_what_has_no_mean_is_left_out() -> None:
    rows = [arm_row({"train.lr": lr}, "none", mean, diverged=lr) for lr, mean in ((0, 0.5), (1, 0.1), (2, None))]
    figure = figure_of(rows)
    crosses = [line.get_xydata()[0].tolist() for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert crosses == [[pytest.approx(1, abs=0.1), 0.1]]
    assert "a trial diverged" in legend_of(figure)
    assert len(line_of(figure.axes[0], "none")) == 2


def test_losses_have_a_scale_of_their_own_and_no_guessing() -> None:
    rows = [arm_row({"train.lr": lr}, "none", 10.0**-lr) for lr in (1, 2, 3)]
    figure = figure_of(rows, metric="final_train_loss")
    assert figure.axes[0].get_yscale() == "log"
    assert legend_of(figure) == ["none"]


# Usable ranges.


THREE = ("none", "before", "after")
ROWS = [
    robustness("train.lr", "none", 0.01, 0.1, best_at=0.1),
    robustness("train.lr", "before", 0.001, 3.0, best_at=0.3),
    robustness("train.lr", "after", None, None),
    robustness("model.dropout", "none", 0.0, 0.5, best_at=0.25),
    robustness("model.dropout", "before", 0.25, 0.25),
]
TRIED = {"train.lr": [0.0001, 0.01, 10.0], "model.dropout": [0.0, 0.25, 0.5]}


def ranges_of(
    rows: list[RobustnessRow], arms: tuple[str, ...] = THREE, tried: dict[str, list[float]] = TRIED
) -> Figure:
    trials = pd.DataFrame({key: pd.Series(tried.get(key, [0.001, 1.0])) for key in {row.axis for row in rows}})
    study = study_of((trials, pd.DataFrame()), arms)
    return usable_range_figure(study, comparison_of([], robustness=tuple(rows)))


def bars(axes: Axes) -> list[tuple[float, float, float]]:
    """Place and ends of each bar."""
    return [(bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]  # type: ignore[attr-defined]


def places(axes: Axes, marker: str) -> list[list[float]]:
    return [place.tolist() for line in axes.lines if line.get_marker() == marker for place in line.get_xydata()]


def test_bars_marks_and_widths_are_the_rows() -> None:
    lr, dropout = ranges_of(ROWS[::-1]).axes[::-1]
    assert bars(lr) == [pytest.approx((0, 0.01, 0.1)), pytest.approx((1, 0.001, 3.0))]
    assert bars(dropout) == [pytest.approx((0, 0, 0.5))]
    assert (places(lr, "D"), places(dropout, "D")) == ([[0.1, 0], [0.3, 1]], [[0.25, 0], [0.25, 1]])
    assert places(dropout, "|") == [[0.25, 1]]
    assert [label.get_text() for label in lr.get_yticklabels()] == list(THREE)
    assert [label.get_text() for label in dropout.get_yticklabels()] == list(THREE[:2])
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
    assert [axes.get_xscale() for axes in ranges_of(ROWS).axes] == ["log", "linear"]
    for tried, scale in (([1.0, 10.0], "linear"), ([0.5, 10.0], "log")):
        (axes,) = ranges_of(ROWS[:1], tried={"train.lr": tried}).axes
        assert axes.get_xscale() == scale
        assert axes.get_xticks().tolist() == tried


def test_many_values_have_ticks_at_round_numbers() -> None:
    (axes,) = ranges_of(ROWS[:1], tried={"train.lr": np.geomspace(1e-4, 1, 40).tolist()}).axes
    assert len(axes.get_xticks()) < 10


def test_values_tried_are_dots_and_reach_over_the_axis() -> None:
    figure = ranges_of(ROWS)
    lr = figure.axes[0]
    assert places(lr, ".") == [[value, arm] for arm in range(3) for value in TRIED["train.lr"]]
    low, high = lr.get_xlim()
    assert low < 0.0001
    assert high > 10
    assert {"best mean", "values tried"} <= set(words(figure))


def test_a_bar_that_ends_with_the_values_tried_is_pointed_out() -> None:
    note = "A bar at the edge may go on beyond the values tried."
    assert note not in caption(ranges_of(ROWS[:3]))
    assert note in caption(ranges_of(ROWS[:3], tried={"train.lr": [0.0001, 0.01, 3.0]}))


@pytest.mark.parametrize(("axes", "arms"), [(1, 1), (4, 3), (2, 12)])
def test_no_text_of_the_ranges_overlaps(axes: int, arms: int) -> None:
    names = tuple(f"arm{i}" for i in range(arms))
    rows = [robustness(f"train.a{i}", arm, 0.001, 0.1 * 7**i) for i in range(axes) for arm in names]
    assert faults(ranges_of(rows, names)) == []
