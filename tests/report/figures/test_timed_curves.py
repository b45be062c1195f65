"""The learning curves over time: the same means, at the seconds that the trials had taken."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bnexp.report.figures.curves import curves_figure
from tests.helpers import crossed
from tests.report.figures.made_up import ODD_NAMES, faults, run_tables, words

ARMS = ("none", "before")
RISING = np.array([[[[0.1, 0.2, 0.4], [0.1, 0.4, 0.6]], [[0.1, 0.7, 0.8], [0.1, 0.9, 1.0]]]])
KEYS = {"grid_keys": ("train.lr",), "column": "test_accuracy", "title": "A question?"}


def figure_of(tables: tuple[pd.DataFrame, pd.DataFrame], arms: tuple[str, ...] = ARMS, **more: object) -> Figure:
    return curves_figure(*tables, arms=arms, **{**KEYS, **more}, timed=True)


def test_means_stand_at_their_seconds() -> None:
    (panel,) = figure_of(run_tables(RISING, seconds=(0.1, 0.25))).axes
    none, before = panel.lines
    assert none.get_xdata() == pytest.approx([0, 0.1, 0.2])
    assert none.get_ydata() == pytest.approx([0.1, 0.3, 0.5])
    assert before.get_xdata() == pytest.approx([0, 0.25, 0.5])
    assert before.get_ydata() == pytest.approx([0.1, 0.8, 0.9])


def test_seconds_are_the_mean_over_the_seeds() -> None:
    trials, curves = run_tables(RISING)
    curves.loc[curves["trial"] == 1, "seconds"] *= 3
    none = figure_of((trials, curves)).axes[0].lines[0]
    assert none.get_xdata() == pytest.approx([0, 0.2, 0.4])


def test_the_first_record_need_not_be_before_training() -> None:
    trials, curves = run_tables(RISING, seconds=(0.1, 0.25))
    none = figure_of((trials, curves[curves["epoch"] > 0])).axes[0].lines[0]
    assert none.get_xdata() == pytest.approx([0.1, 0.2])


def test_time_does_not_run_back_where_the_slower_trial_stops() -> None:
    accuracy = RISING.copy()
    accuracy[0, 0, 1, 2] = np.nan
    trials, curves = run_tables(accuracy)
    trials.loc[1, "outcome"] = "diverged"
    curves.loc[curves["trial"] == 1, "seconds"] *= 9
    panel = figure_of((trials, curves)).axes[0]
    assert panel.lines[0].get_xdata() == pytest.approx([0, 0.5, 0.6])
    (mark,) = [line for line in panel.lines if line.get_marker() == "x"]
    assert mark.get_xydata() == pytest.approx(np.array([[0.5, 0.4]]))


def test_lines_look_as_over_epochs_and_panels_are_the_same() -> None:
    tables = run_tables(np.full((20, 2, 2, 3), 0.5))
    over_time, over_epochs = figure_of(tables), curves_figure(*tables, arms=ARMS, **KEYS)
    assert len(over_time.axes) == 16
    for panel, other in zip(over_time.axes, over_epochs.axes, strict=True):
        assert panel.get_title() == other.get_title()
        for line, twin in zip(panel.lines, other.lines, strict=True):
            assert (line.get_color(), line.get_linestyle()) == (twin.get_color(), twin.get_linestyle())
    assert len(figure_of(tables, max_panels=4).axes) == 4


def test_it_says_what_seconds_are() -> None:
    shown = words(figure_of(run_tables(RISING)))
    assert {"seconds", "test accuracy", "A question?", "none", "before"} <= set(shown)
    assert any("Seconds: a trial's share of the time of all that trained with it" in text for text in shown)


@pytest.mark.parametrize(("seconds", "points"), crossed([1e-5, 0.01, 1.0, 90.0, 123456.0], [1, 4, 16], fast=3))
def test_nothing_overlaps_however_long_it_took(seconds: float, points: int) -> None:
    assert faults(figure_of(run_tables(np.full((points, 2, 2, 3), 0.5), seconds=(seconds, 3 * seconds)))) == []


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_shown_as_it_is(name: str) -> None:
    trials, curves = run_tables(np.full((3, 2, 1, 3), 0.5), (name, "before"))
    figure = figure_of((trials.assign(**{"train.lr": name}), curves), (name, "before"), title=name)
    assert faults(figure) == []


def test_nothing_recorded_yet() -> None:
    trials, curves = run_tables(RISING)
    figure = figure_of((trials, curves[:0]))
    assert figure.axes[0].lines[:] == []
    assert any("Nothing recorded yet." in text for text in words(figure))
