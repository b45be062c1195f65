"""The figure of curves holds the panels that it should, says what it leaves out, and marks what diverged."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bnexp.report.figures.curves import curves_figure
from tests.helpers import crossed
from tests.report.figures.made_up import caption, faults, legend_of, run_tables, study_of, words

ARMS = ("none", "before")
RISING = np.array([[[[0.1, 0.2, 0.4], [0.1, 0.4, 0.6]], [[0.1, 0.7, 0.8], [0.1, 0.9, 1.0]]]])


def figure_of(tables: tuple[pd.DataFrame, pd.DataFrame], arms: tuple[str, ...] = ARMS, **more: object) -> Figure:
    return curves_figure(study_of(tables, arms), "final_test_accuracy", **more)


@pytest.mark.parametrize("points", [1, 3, 5, 16])
def test_a_panel_per_grid_point(points: int) -> None:
    axes = figure_of(run_tables(np.full((points, 2, 2, 3), 0.5))).axes
    assert [panel.get_title() for panel in axes] == [f"lr\u00a0{point + 1}" for point in range(points)]
    assert all(len(panel.lines) == 2 and len(panel.collections) == 2 for panel in axes)
    assert {panel.get_ylim() for panel in axes} == {(0, 1.02)}


def test_more_points_than_panels_and_a_single_seed_are_said_in_the_caption() -> None:
    figure = figure_of(run_tables(np.full((40, 2, 1, 3), 0.5)))
    assert len(figure.axes) == 16
    assert caption(figure) == "Showing 16 of 40 grid points. One seed."
    assert [len(axes.collections) for axes in figure.axes] == [0] * 16
    assert caption(figure_of((run_tables(RISING)[0], run_tables(RISING)[1][:0]))) == "Nothing recorded yet."


def test_where_a_trial_diverged_is_marked_and_explained() -> None:
    trials, curves = run_tables(np.full((1, 2, 2, 3), 0.5))
    trials.loc[0, ["outcome", "diverged_step"]] = "diverged", 15
    figure = figure_of((trials, curves))
    (marks,) = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert marks.get_xydata().tolist() == [[1.5, 0.5]]
    assert legend_of(figure) == ["none", "before", "diverged"]
    assert "Cross: where a trial diverged; a stopped one keeps its last value." in caption(figure)


def test_arms_go_by_their_labels() -> None:
    study = study_of(run_tables(RISING))
    labelled = curves_figure(replace(study, labels={"before": "with BN"}), "final_test_accuracy")
    assert legend_of(labelled) == ["none", "with BN"]


def test_over_time_means_stand_at_the_mean_seconds_of_their_trials() -> None:
    trials, curves = run_tables(RISING, seconds=(0.1, 0.25))
    figure = figure_of((trials, curves), timed=True)
    none, before = figure.axes[0].lines
    assert none.get_xydata() == pytest.approx(np.array([[0, 0.1], [0.1, 0.3], [0.2, 0.5]]))
    assert before.get_xydata() == pytest.approx(np.array([[0, 0.1], [0.25, 0.8], [0.5, 0.9]]))
    assert {"seconds", "test accuracy", "A question?"} <= set(words(figure))
    assert "Seconds: a trial's share of the time of all that trained with it" in caption(figure)
    curves.loc[curves["trial"] == 1, "seconds"] *= 3
    later = figure_of((trials, curves[curves["epoch"] > 0]), timed=True)  # nothing before training
    assert later.axes[0].lines[0].get_xdata() == pytest.approx([0.2, 0.4])


def test_time_does_not_run_back_where_the_slower_trial_stops() -> None:
    accuracy = RISING.copy()
    accuracy[0, 0, 1, 2] = np.nan
    trials, curves = run_tables(accuracy)
    trials.loc[1, "outcome"] = "diverged"
    curves.loc[curves["trial"] == 1, "seconds"] *= 9
    panel = figure_of((trials, curves), timed=True).axes[0]
    assert panel.lines[0].get_xdata() == pytest.approx([0, 0.5, 0.6])
    (mark,) = [line for line in panel.lines if line.get_marker() == "x"]
    assert mark.get_xydata() == pytest.approx(np.array([[0.5, 0.4]]))


@pytest.mark.parametrize(("seconds", "points"), crossed([1e-5, 1.0, 123456.0], [1, 4, 16], fast=3))
def test_nothing_overlaps_however_long_it_took(seconds: float, points: int) -> None:
    tables = run_tables(np.full((points, 2, 2, 3), 0.5), seconds=(seconds, 3 * seconds))
    assert faults(figure_of(tables, timed=True)) == []


@pytest.mark.parametrize(
    ("measured", "shown"),
    [({}, "test accuracy"), ({"val_accuracy": 0.4}, "val accuracy"), ({"val_accuracy": np.nan}, "train accuracy")],
)
def test_the_curve_drawn_is_the_best_that_was_measured(measured: dict[str, float], shown: str) -> None:
    trials, curves = run_tables(np.full((1, 2, 1, 3), 0.5))
    lost = {"test_accuracy": np.nan} if measured else {}
    assert shown in words(figure_of((trials, curves.assign(**lost, **measured))))
