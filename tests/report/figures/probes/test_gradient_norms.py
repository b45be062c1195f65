"""A map per arm, layers over steps: the medians of the seeds, in one logarithmic scale of colours."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from bnexp.report.figures.probe_gradients import PROBE, gradient_norms_figure
from bnexp.report.figures.probe_panels import make_probed
from tests.report.figures.made_up import caption, faults, probe_tables, study_of

ARMS = ("none", "before")


def figure_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: tuple[str, ...] = ARMS) -> Figure:
    figure = gradient_norms_figure(make_probed(study_of((trials, trials), arms, probes=probes)), "A question?")
    assert figure is not None
    return figure


def maps_of(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def mesh_of(axes: Axes) -> QuadMesh:
    (mesh,) = (each for each in axes.collections if isinstance(each, QuadMesh))
    return mesh


def values_of(axes: Axes) -> np.ndarray:
    """What a map shows, a row per layer from below; NaN is a cell without a colour."""
    return np.ma.filled(mesh_of(axes).get_array(), np.nan)


def test_a_cell_is_the_median_of_the_seeds_and_the_first_layer_is_below() -> None:
    trials, probes = probe_tables(ARMS, seeds=4, depth=3, steps=(0, 10, 30))
    probes.loc[(probes["trial"] == 7) & (probes["probe"] == PROBE), "value"] *= 1e6  # a mean would follow it
    for arm, axes in zip(ARMS, maps_of(figure_of(trials, probes)), strict=True):
        of_arm = trials.loc[trials["arm"] == arm, "trial"]
        chosen = probes[(probes["probe"] == PROBE) & probes["trial"].isin(of_arm)]
        expected = [
            [np.median(chosen.loc[(chosen["layer"] == f"hidden.{i}.linear") & (chosen["step"] == step), "value"])
             for step in (0, 10, 30)]
            for i in range(3)
        ]  # fmt: skip
        assert values_of(axes) == pytest.approx(np.array(expected))
        assert not axes.yaxis_inverted()
    names = maps_of(figure_of(trials, probes))[0].get_yticklabels()
    assert [label.get_text() for label in names] == [f"hidden.{i}.linear" for i in range(3)]


def test_columns_meet_half_way_between_their_steps() -> None:
    axes = maps_of(figure_of(*probe_tables(ARMS, depth=2, steps=(0, 10, 30))))[0]
    assert mesh_of(axes).get_coordinates()[0, :, 0].tolist() == [-5, 5, 20, 40]
    alone = maps_of(figure_of(*probe_tables(ARMS, depth=2, steps=(7,))))[0]
    assert mesh_of(alone).get_coordinates()[0, :, 0].tolist() == [6.5, 7.5]


def test_all_maps_have_one_logarithmic_scale_from_the_smallest_value_to_the_largest() -> None:
    figure = figure_of(*probe_tables(ARMS, points=2, depth=4))
    norms = {mesh_of(axes).norm for axes in maps_of(figure)}
    (norm,) = norms
    assert isinstance(norm, LogNorm)
    shown = np.concatenate([values_of(axes).ravel() for axes in maps_of(figure)])
    assert (norm.vmin, norm.vmax) == (shown.min(), shown.max())


def test_zeros_and_what_is_twelve_decades_down_have_the_lowest_colour() -> None:
    trials, probes = probe_tables(("none",), seeds=1, depth=3, steps=(0,))
    probes.loc[probes["probe"] == PROBE, "value"] = [0.0, 1e-30, 2.0]
    axes = maps_of(figure_of(trials, probes, ("none",)))[0]
    assert values_of(axes).ravel() == pytest.approx([2e-12, 2e-12, 2.0])
    assert mesh_of(axes).norm.vmin == pytest.approx(2e-12)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_single_value_has_a_scale_too(value: float) -> None:
    trials, probes = probe_tables(("none",), seeds=1, depth=1, steps=(0,))
    probes["value"] = value
    assert faults(figure_of(trials, probes, ("none",))) == []


def test_what_was_not_measured_has_no_colour_and_the_legend_says_so() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=3, steps=(0, 10))
    assert figure_of(trials, probes).subfigs[0].legends[0].get_texts() == []
    gone = (probes["trial"] == 0) & (probes["layer"] == "hidden.1.linear") & (probes["step"] == 10)
    figure = figure_of(trials, probes[~gone])
    assert np.isnan(values_of(maps_of(figure)[0])).tolist() == [[False] * 2, [False, True], [False] * 2]
    assert [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()] == ["no value"]


def test_a_map_that_ends_early_or_is_missing_leaves_a_gap_too() -> None:
    trials, probes = probe_tables(ARMS, points=2, seeds=1, depth=2, steps=(0, 10))
    for trial, steps in ((0, [10]), (2, [0, 10])):
        gone = (probes["trial"] == trial) & probes["step"].isin(steps)
        figure = figure_of(trials, probes[~gone])
        assert [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()] == ["no value"]
        assert len(maps_of(figure)) == 4


def test_a_layer_that_one_arm_lacks_keeps_its_place() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=3, steps=(0,))
    lacking = (probes["trial"] == 0) & (probes["layer"] == "hidden.1.linear")
    maps = maps_of(figure_of(trials, probes[~lacking]))
    assert np.isnan(values_of(maps[0])).ravel().tolist() == [False, True, False]
    assert not np.isnan(values_of(maps[1])).any()


def test_the_caption_says_points_seeds_direction_and_trap() -> None:
    trials, probes = probe_tables(ARMS, points=5, depth=2, steps=(0, 10))
    trials.loc[0, "outcome"] = "diverged"
    assert caption(figure_of(trials, probes)) == (
        "Showing 3 of 5 grid points. The first layer is at the bottom. Median over 3 seeds. Times the weights' "
        "norm, since with BN raw gradients grow as weights shrink. 1 of 18 trials diverged; what is not "
        "finite is left out."
    )


def test_nothing_is_drawn_without_the_probe() -> None:
    trials, probes = probe_tables(ARMS, depth=1, steps=(0,))
    without = make_probed(study_of((trials, trials), ARMS, probes=probes[probes["probe"] != PROBE], grid_keys=()))
    assert gradient_norms_figure(without, "") is None


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "points", "depth"), [(2, 3, 40), (5, 2, 3)])
def test_nothing_overlaps(arms: int, points: int, depth: int) -> None:
    names = tuple(f"arm{i}" for i in range(arms))
    tables = probe_tables(names, points=points, depth=depth, seeds=1, steps=(0, 10_000, 20_000))
    assert faults(figure_of(*tables, names)) == []
