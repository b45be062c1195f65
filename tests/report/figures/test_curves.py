"""The figure holds the panels it should, says what it leaves out, and lands on disk as a PNG."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from bnexp.report.figures.curves import curve_figure, default_curve_metric, draw_curves
from bnexp.report.panels import make_panels

ARMS = ("none", "before")


def figure_of(frames, arms: tuple[str, ...] = ARMS, title: str = "a title") -> Figure:
    panels = make_panels(*frames, grid_keys=["train.lr"], arms=arms, column="test_accuracy", limit=16)
    return curve_figure(panels, arms=arms, label="test accuracy", title=title)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for part in figure.subfigs for text in part.texts]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for part in figure.subfigs for legend in part.legends for text in legend.get_texts()]


@pytest.mark.parametrize("points", [1, 3, 5, 16])
def test_a_panel_per_grid_point(run_frames, points: int) -> None:
    axes = figure_of(run_frames(np.full((points, 2, 2, 3), 0.5))).axes
    assert [panel.get_title() for panel in axes] == [f"lr {point + 1}" for point in range(points)]
    assert all(len(panel.lines) == 2 and len(panel.collections) == 2 for panel in axes)
    assert {panel.get_ylim() for panel in axes} == {(0, 1.02)}


def test_more_points_than_panels_are_said_in_the_caption(run_frames) -> None:
    figure = figure_of(run_frames(np.full((40, 2, 1, 3), 0.5)))
    assert len(figure.axes) == 16
    assert "Showing 16 of 40 grid points. One seed." in texts(figure)


def test_a_single_seed_is_just_a_line(run_frames) -> None:
    (panel,) = figure_of(run_frames(np.full((1, 2, 1, 3), 0.5))).axes
    assert (len(panel.lines), len(panel.collections)) == (2, 0)


def test_the_end_of_a_diverged_trial_is_marked_and_explained(run_frames) -> None:
    trials, curves = run_frames(np.full((1, 2, 2, 3), 0.5))
    trials.loc[0, "outcome"] = "diverged"
    figure = figure_of((trials, curves))
    (marks,) = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert marks.get_xydata().tolist() == [[2, 0.5]]
    assert legend_of(figure) == ["none", "before", "diverged"]
    assert any(
        "Cross: where a trial diverged; a stopped one keeps its last value." in text.replace("\n", " ")
        for text in texts(figure)
    )


@pytest.mark.parametrize("name", ["_hidden", "half a $", "$x$", "a name " * 12])
def test_any_arm_name_is_shown_as_it_is(run_frames, name: str, tmp_path: Path) -> None:
    figure = figure_of(run_frames(np.full((1, 2, 1, 3), 0.5), (name, "before")), (name, "before"), title=name)
    assert legend_of(figure) == [name, "before"]
    shown = [*figure.subfigs[0].legends[0].get_texts(), *(text for part in figure.subfigs[::2] for text in part.texts)]
    assert not any(text.get_parse_math() for text in shown)  # or "$x$" would lose its dollars
    figure.savefig(tmp_path / "figure.png")


def test_nothing_overlaps(run_frames, tmp_path: Path) -> None:
    trials, curves = run_frames(np.full((5, 3, 2, 3), 0.5), ("none", "a long name " * 4, "after"))
    figure = figure_of((trials, curves), tuple(trials["arm"].unique()), title="A question as long as this? " * 5)
    figure.savefig(tmp_path / "figure.png")
    top, _, bottom = figure.subfigs
    heading, legend = top.texts[0].get_window_extent(), top.legends[0].get_window_extent()
    panels = [axes.get_tightbbox() for axes in figure.axes]
    assert figure.bbox.y1 > heading.y1
    assert heading.y0 >= legend.y1 - 1
    assert legend.y0 >= max(panel.y1 for panel in panels) - 1
    assert bottom.texts[0].get_window_extent().y1 < min(panel.y0 for panel in panels)
    assert all(text.get_window_extent().x1 < figure.bbox.x1 for text in (*top.texts, *bottom.texts))
    assert not any(a.overlaps(b) for i, a in enumerate(panels) for b in panels[:i])


def test_drawing_writes_a_png(run_frames, tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    trials, curves = run_frames(np.full((2, 2, 2, 3), 0.5))
    draw_curves(
        trials, curves, grid_keys=["train.lr"], arms=ARMS, metric_column="test_accuracy", title="Why?", path=path
    )
    assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_the_curve_drawn_is_the_best_that_was_measured(run_frames) -> None:
    _, curves = run_frames(np.full((1, 2, 1, 3), 0.5))
    assert default_curve_metric(curves) == "test_accuracy"
    assert default_curve_metric(curves.assign(test_accuracy=np.nan)) == "train_accuracy"
    assert default_curve_metric(curves.assign(test_accuracy=np.nan, val_accuracy=0.4)) == "val_accuracy"
