"""A line per arm over a swept setting: means where they should be, with their intervals, nothing averaged."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.analysis.comparison import ArmRow
from bnexp.report.figures.sweep import sweep_figure
from bnexp.report.style import KNOWN
from tests.report.figures.made_up import arm_row, arms_of, caption, comparison_of, legend_of, words

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
