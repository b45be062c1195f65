"""A line per grid point and arm: where it should be, with its interval, and on the side that it says."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnexp.analysis.comparison import ArmRow
from bnexp.report.figures.differences import difference_figure
from bnexp.report.style import arm_styles
from tests.report.figures.made_up import arm_row, arms_of, comparison_of, faults, words

ARMS = ("none", "before", "after")


def figure_of(rows: list[ArmRow], arms: tuple[str, ...] = ARMS, metric: str = "final_test_accuracy") -> Figure:
    return difference_figure(arms_of(*arms), comparison_of(rows, metric=metric))


def treated(lr: float, arm: str, mean: float | None, spread: float | None = 0.01, **values: object) -> ArmRow:
    """A row whose difference and interval are given."""
    ends = (None, None) if spread is None or mean is None else (mean - spread, mean + spread)
    known = {"difference": mean, "difference_low": ends[0], "difference_high": ends[1]}
    return arm_row({"train.lr": lr}, arm, **known, **values)


def marks(figure: Figure, arm: str) -> list[Line2D]:
    """The marks of an arm's mean differences, from above."""
    marker = arm_styles(ARMS)[arm].marker
    return [line for line in figure.axes[0].lines if line.get_marker() == marker and len(line.get_xdata()) == 1]


def names_of(figure: Figure) -> list[str]:
    return [label.get_text().replace("\u00a0", " ") for label in figure.axes[0].get_yticklabels()]


def at(lines: list[Line2D]) -> list[float]:
    return [float(line.get_xdata()[0]) for line in lines]


def heights(axes: Axes) -> list[float]:
    """Heights of all lines that show a difference, in the order in which they were drawn."""
    return [float(line.get_ydata()[0]) for line in axes.lines if line.get_marker() not in ("|", "None")]


def intervals(figure: Figure) -> list[tuple[float, float]]:
    return [tuple(line.get_xdata()) for line in figure.axes[0].lines if line.get_marker() == "|"]  # type: ignore[misc]


ROWS = [
    arm_row({"train.lr": 0.1}, "none"),
    treated(0.1, "before", 0.4, 0.1),
    treated(0.1, "after", -0.05, 0.1),
    arm_row({"train.lr": 1.0}, "none"),
    treated(1.0, "before", -0.2, 0.05, pairs=5),
    treated(1.0, "after", 0.3, None, pairs=1),
]


def test_every_difference_stands_at_its_value_with_its_interval_by_grid_point_and_arm() -> None:
    figure = figure_of(ROWS)
    (axes,) = figure.axes
    assert at(marks(figure, "before")) == [0.4, -0.2]
    assert at(marks(figure, "after")) == [-0.05, 0.3]
    assert intervals(figure) == [pytest.approx(ends) for ends in ((0.3, 0.5), (-0.15, 0.05), (-0.25, -0.15))]
    assert [text.get_text() for text in axes.texts if text.get_text().isdigit()] == ["6", "6", "5", "1"]
    assert names_of(figure) == ["lr 0.1", "lr 1"]
    assert axes.yaxis_inverted()
    assert heights(axes) == sorted(heights(axes))
    assert np.reshape(heights(axes), (2, 2)).mean(axis=1) == pytest.approx(axes.get_yticks())


def test_a_mark_is_full_where_the_interval_leaves_out_0() -> None:
    figure = figure_of(ROWS)
    full = [line.get_markerfacecolor() != "white" for line in (*marks(figure, "before"), *marks(figure, "after"))]
    assert full == [True, True, False, False]


def test_zero_is_a_line_in_sight_with_room_on_both_sides() -> None:
    for sign in (1, -1):
        axes = figure_of([treated(0.1, "before", 0.8 * sign)]).axes[0]
        assert [0, 0] in [list(line.get_xdata()) for line in axes.lines]
        low, high = axes.get_xlim()
        assert 0.29 < -low / (high - low) < 0.71


def test_the_side_that_favours_the_arm_is_written_out() -> None:
    assert {"← worse than none", "better than none →"} <= set(words(figure_of(ROWS)))
    assert {"← better than none", "worse than none →"} <= set(words(figure_of(ROWS, metric="final_train_loss")))
    assert "difference in final train loss" in words(figure_of(ROWS, metric="final_train_loss"))


def test_a_hundred_points_are_an_even_choice_and_the_caption_says_so() -> None:
    rows = [treated(float(lr), arm, lr / 200) for lr in range(1, 101) for arm in ARMS[1:]]
    figure = figure_of(rows)
    names = names_of(figure)
    assert (len(names), names[0], names[-1]) == (20, "lr 1", "lr 100")
    assert set(np.diff([float(name.split()[1]) for name in names])) == {5.0, 6.0}
    assert at(marks(figure, "before")) == [float(name.split()[1]) / 200 for name in names]
    assert any(text.startswith("Showing 20 of 100 grid points. Mark:") for text in words(figure))
    assert faults(figure) == []


def test_more_arms_than_lines_still_show_a_point() -> None:
    arms = ("none", *(f"arm{i}" for i in range(50)))
    figure = figure_of([treated(lr, arm, 0.1) for lr in (0.1, 1.0) for arm in arms], arms)
    assert len(figure.axes[0].get_yticks()) == 1
    assert len(intervals(figure)) == 50
    assert faults(figure) == []


def test_one_seed_has_no_interval_and_the_caption_says_why() -> None:
    figure = figure_of([treated(0.1, "before", 0.3, None, pairs=1)])
    assert intervals(figure) == []
    assert "Mark: mean difference, paired over seeds. One pair shows no interval." in words(figure)


def test_what_has_no_difference_says_so() -> None:
    figure = figure_of([treated(0.1, "before", None, pairs=0), treated(1.0, "before", None, pairs=6)])
    assert [text for text in words(figure) if text in ("no pair", "not finite")] == ["no pair", "not finite"]
    assert marks(figure, "before") == []
    assert "No difference to show yet." in words(figure_of([]))


def test_an_arm_that_is_missing_at_a_point_leaves_no_gap() -> None:
    figure = figure_of([row for row in ROWS if row is not ROWS[2]])
    assert len(marks(figure, "before")) == 2
    assert len(marks(figure, "after")) == 1
    assert heights(figure.axes[0])[0] == pytest.approx(figure.axes[0].get_yticks()[0])


def test_an_interval_beyond_what_is_possible_does_not_stretch_the_axis() -> None:
    figure = figure_of([treated(0.1, "before", 0.5, 5.0, pairs=2)])
    axes = figure.axes[0]
    assert np.abs(axes.get_xlim()).max() == pytest.approx(1.05)
    assert intervals(figure) == [axes.get_xlim()]
    arrows = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in "<>" and len(line.get_xdata()) == 1]  # type: ignore[operator]
    assert arrows == list(axes.get_xlim())
    assert any("An arrow: beyond the axis." in text for text in words(figure))


def test_a_single_huge_loss_does_not_hide_the_others() -> None:
    rows = [treated(float(lr), "before", 0.1 * lr) for lr in range(1, 10)] + [treated(10.0, "before", 1e9)]
    axes = figure_of(rows, metric="final_train_loss").axes[0]
    assert 0.9 < axes.get_xlim()[1] < 10
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == ">"] == [axes.get_xlim()[1]] * 3


def test_without_a_grid_the_arms_name_the_lines() -> None:
    figure = figure_of([arm_row({}, arm) for arm in ARMS])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["before", "after"]
