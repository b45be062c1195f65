"""Tuning curves as a picture: a line and a band per arm over the tries, on validation and on test images."""

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from bnexp.analysis.tuning_curve import Tried, Tuning, TuningLead, TuningRow, tuning_rows
from bnexp.report.figures.tuning_curve import MOST_PLACES, tuning_figure
from tests.report.figures.made_up import arms_of, caption, comparison_of, faults

BEST = {"none": np.linspace(0.1, 0.7, 9), "before": np.linspace(0.3, 0.9, 9)}
LEAD = TuningLead("a-run", {}, "before", 2, "none", 9, 0.7)


def rows(depth: int | None = None) -> list[TuningRow]:
    point = {} if depth is None else {"model.depth": depth}
    studies = {arm: (Tried(np.atleast_2d(best), np.atleast_2d(best) - 0.05),) for arm, best in BEST.items()}
    return [row for arm in BEST for row in tuning_rows(Tuning("a-run", point, arm, studies[arm]))]


def figure_of(tuning: list[TuningRow]) -> Figure:
    return tuning_figure(arms_of(*BEST), comparison_of([], tuning=tuple(tuning), tuning_leads=(LEAD,)), "A title")


def test_lines_go_through_the_expected_best_on_validation_and_on_test_images() -> None:
    figure, known = figure_of(rows()), rows()
    assert [axes.get_title() for axes in figure.axes] == [
        "validation images, which choose it",
        "test images, which choose nothing",
    ]
    for axes, measure in zip(figure.axes, ("validation", "test"), strict=True):
        for line, arm in zip(axes.lines, BEST, strict=True):
            assert list(line.get_xdata()) == [1, 2, 4, 8, 9]
            assert list(line.get_ydata()) == [getattr(row, measure) for row in known if row.arm == arm]
    assert "On average before needs 2 tries for what none needs 9 for" in caption(figure)
    assert faults(figure) == []


def test_without_test_images_there_is_one_panel() -> None:
    figure = figure_of([replace(row, test=None, test_low=None, test_high=None) for row in rows()])
    assert len(figure.axes) == 1


def test_of_many_grid_points_some_are_shown_and_that_is_said() -> None:
    figure = figure_of([row for depth in range(1, 7) for row in rows(depth)])
    assert len(figure.axes) == 2 * MOST_PLACES
    assert f"Showing {MOST_PLACES} of 6 grid points" in caption(figure)
    assert faults(figure) == []
