"""Slices of the loss: of one seed, of its last step, at their coordinates, in one scale of colours."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from bnexp.report.figures.probe_landscape import slices_figure
from bnexp.report.figures.probe_panels import make_probed
from tests.report.figures.made_up import caption, faults, probe_tables, study_of

ARMS = ("none", "before")


def tables(**sizes: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    return probe_tables(ARMS, depth=1, steps=(0, 10), **sizes)


def figure_of(trials: pd.DataFrame, probes: pd.DataFrame) -> Figure:
    figure = slices_figure(make_probed(study_of((trials, trials), ARMS, probes=probes)), "A question?")
    assert figure is not None
    return figure


def panels_of(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def contours_of(axes: Axes) -> list[QuadContourSet]:
    """The filled ones and the lines."""
    return [each for each in axes.collections if isinstance(each, QuadContourSet)]


def levels_of(figure: Figure) -> list[list[float]]:
    return [contours.levels.tolist() for axes in panels_of(figure) for contours in contours_of(axes)]


def plane(trials: pd.DataFrame, probes: pd.DataFrame, slope: float = 1.0) -> pd.DataFrame:
    """A loss that rises to the right alone."""
    places = probes["probe"].str.extract(r"landscape_slice\[(\S+) ").astype(float)[0]
    return probes.assign(value=probes["value"].where(places.isna(), 2 + slope * places))


def test_the_contours_lie_where_the_loss_is_along_the_first_direction() -> None:
    trials, probes = tables(seeds=1)
    for axes in panels_of(figure_of(trials, plane(trials, probes))):
        _, lines = contours_of(axes)
        for level, path in zip(lines.levels[1:-1], lines.get_paths()[1:-1], strict=True):
            assert path.vertices[:, 0] == pytest.approx(np.full(len(path.vertices), level - 2))
            assert (path.vertices[:, 1].min(), path.vertices[:, 1].max()) == (-1, 1)


def test_all_panels_have_one_scale_and_the_trained_weights_in_the_middle() -> None:
    figure = figure_of(*tables(points=2, seeds=1))
    assert len({tuple(levels) for levels in levels_of(figure)}) == 1
    assert len({id(contours_of(axes)[0].norm) for axes in panels_of(figure)}) == 1
    for axes in panels_of(figure):
        assert [line.get_xydata().tolist() for line in axes.lines] == [[[0, 0]]]


def test_levels_are_in_equal_ratios_where_losses_span_decades() -> None:
    trials, probes = tables(seeds=1)
    figure = figure_of(trials, probes)
    levels = levels_of(figure)[0]
    assert isinstance(contours_of(panels_of(figure)[0])[0].norm, LogNorm)
    assert np.ptp(np.diff(np.log(levels))) == pytest.approx(0, abs=1e-9)
    shown = probes.loc[probes["probe"].str.startswith("landscape"), "value"]
    assert (levels[0], levels[-1]) == pytest.approx((shown.min(), shown.max()))
    linear = levels_of(figure_of(trials, plane(trials, probes)))[0]
    assert np.ptp(np.diff(linear)) == pytest.approx(0, abs=1e-9)
    assert (linear[0], linear[-1]) == (1, 3)


def test_a_loss_far_above_the_others_does_not_hide_them() -> None:
    trials, probes = tables(seeds=1)
    probes.loc[(probes["trial"] == 0) & (probes["probe"] == "landscape_slice[1 1]"), "value"] = 1e30
    figure = figure_of(trials, probes)
    assert levels_of(figure)[0][-1] == pytest.approx(1e6 * levels_of(figure)[0][0])
    assert faults(figure) == []


def test_the_seed_is_the_lowest_that_all_arms_have_and_the_caption_names_it() -> None:
    trials, probes = tables(seeds=3)
    gone = (probes["trial"] == 3) & probes["probe"].str.startswith("landscape")
    figure = figure_of(trials, probes[~gone])  # seed 0 of the second arm
    assert caption(figure).startswith("Seed 1 at step 10.")
    values = probes[probes["trial"].isin([1, 4]) & probes["probe"].str.startswith("landscape")]["value"]
    assert levels_of(figure)[0][0] == pytest.approx(values.min())
    assert levels_of(figure)[0][-1] == pytest.approx(values.max())


def test_the_last_step_is_drawn() -> None:
    trials, probes = tables(seeds=1)
    earlier = probes[probes["probe"].str.startswith("landscape")].assign(step=0, value=5e3)
    assert levels_of(figure_of(trials, pd.concat([probes, earlier]))) == levels_of(figure_of(trials, probes))


def test_a_loss_that_is_not_finite_is_a_hole_and_the_legend_says_so() -> None:
    trials, probes = tables(seeds=1)

    def legend(figure: Figure) -> list[str]:
        return [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()]

    assert legend(figure_of(trials, probes)) == ["trained weights"]
    probes.loc[probes["probe"] == "landscape_slice[1 1]", "value"] = np.inf
    figure = figure_of(trials, probes)
    assert legend(figure) == ["trained weights", "no finite loss"]
    assert levels_of(figure)[0][-1] < 100


def test_an_arm_without_a_slice_at_a_point_keeps_its_panel() -> None:
    trials, probes = tables(points=2, seeds=1)
    gone = (probes["trial"] == 0) & probes["probe"].str.startswith("landscape")
    figure = figure_of(trials, probes[~gone])
    assert [len(contours_of(axes)) for axes in panels_of(figure)] == [0, 2, 2, 2]
    assert figure.subfigs[0].legends[0].get_texts()[1].get_text() == "no finite loss"


def test_a_line_or_an_odd_name_is_no_slice() -> None:
    trials, probes = tables(seeds=1)
    line = probes[probes["probe"].str.endswith(" 0]")]
    for some in (line, probes.assign(probe="landscape_slice[x y]"), probes.assign(probe="landscape_slice[1]")):
        assert slices_figure(make_probed(study_of((trials, trials), ARMS, probes=some, grid_keys=())), "") is None


def test_a_flat_loss_can_be_drawn() -> None:
    trials, probes = tables(seeds=1)
    assert faults(figure_of(trials, plane(trials, probes, slope=0.0))) == []


@pytest.mark.slow
def test_nothing_overlaps_with_three_points() -> None:
    assert faults(figure_of(*tables(points=4, seeds=1))) == []
