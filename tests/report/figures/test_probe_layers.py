"""The layers while a network trains: medians over the seeds, the right layers in order, scales that arms share."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure

from bnexp.report.figures.probe_layers import (
    GRADIENT,
    activations_figure,
    covariate_shift_figure,
    gradient_norms_figure,
    saturation_figure,
)
from bnexp.report.style import arm_styles
from tests.report.figures.made_up import ODD_NAMES, caption, faults, legend_of, maps_of, probe_tables, probed_of

ARMS = ("none", "before")


# Gradients.


def gradients_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: tuple[str, ...] = ARMS) -> Figure:
    figure = gradient_norms_figure(probed_of(trials, probes, arms))
    assert figure is not None
    return figure


def mesh_of(axes: Axes) -> QuadMesh:
    (mesh,) = (each for each in axes.collections if isinstance(each, QuadMesh))
    return mesh


def values_of(axes: Axes) -> np.ndarray:
    """What a map shows, a row per layer from below; NaN is a cell without a colour."""
    return np.ma.filled(mesh_of(axes).get_array(), np.nan)


def test_a_cell_is_the_median_of_the_seeds_and_the_first_layer_is_below() -> None:
    trials, probes = probe_tables(ARMS, seeds=4, depth=3, steps=(0, 10, 30))
    probes.loc[(probes["trial"] == 7) & (probes["probe"] == GRADIENT), "value"] *= 1e6  # a mean would follow it
    for arm, axes in zip(ARMS, maps_of(gradients_of(trials, probes)), strict=True):
        of_arm = trials.loc[trials["arm"] == arm, "trial"]
        chosen = probes[(probes["probe"] == GRADIENT) & probes["trial"].isin(of_arm)]
        expected = [
            [np.median(chosen.loc[(chosen["layer"] == f"hidden.{i}.linear") & (chosen["step"] == step), "value"])
             for step in (0, 10, 30)]
            for i in range(3)
        ]  # fmt: skip
        assert values_of(axes) == pytest.approx(np.array(expected))
        assert not axes.yaxis_inverted()
    names = maps_of(gradients_of(trials, probes))[0].get_yticklabels()
    assert [label.get_text() for label in names] == [f"hidden.{i}.linear" for i in range(3)]


def test_columns_meet_half_way_between_their_steps() -> None:
    axes = maps_of(gradients_of(*probe_tables(ARMS, depth=2, steps=(0, 10, 30))))[0]
    assert mesh_of(axes).get_coordinates()[0, :, 0].tolist() == [-5, 5, 20, 40]
    alone = maps_of(gradients_of(*probe_tables(ARMS, depth=2, steps=(7,))))[0]
    assert mesh_of(alone).get_coordinates()[0, :, 0].tolist() == [6.5, 7.5]


def test_all_maps_have_one_logarithmic_scale_from_the_smallest_value_to_the_largest() -> None:
    figure = gradients_of(*probe_tables(ARMS, points=2, depth=4))
    norms = {mesh_of(axes).norm for axes in maps_of(figure)}
    (norm,) = norms
    assert isinstance(norm, LogNorm)
    shown = np.concatenate([values_of(axes).ravel() for axes in maps_of(figure)])
    assert (norm.vmin, norm.vmax) == (shown.min(), shown.max())


def test_zeros_and_what_is_twelve_decades_down_have_the_lowest_colour() -> None:
    trials, probes = probe_tables(("none",), seeds=1, depth=3, steps=(0,))
    probes.loc[probes["probe"] == GRADIENT, "value"] = [0.0, 1e-30, 2.0]
    axes = maps_of(gradients_of(trials, probes, ("none",)))[0]
    assert values_of(axes).ravel() == pytest.approx([2e-12, 2e-12, 2.0])
    assert mesh_of(axes).norm.vmin == pytest.approx(2e-12)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_single_value_has_a_scale_too(value: float) -> None:
    trials, probes = probe_tables(("none",), seeds=1, depth=1, steps=(0,))
    probes["value"] = value
    assert faults(gradients_of(trials, probes, ("none",))) == []


def test_what_was_not_measured_has_no_colour_and_the_legend_says_so() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=3, steps=(0, 10))
    assert legend_of(gradients_of(trials, probes)) == []
    gone = (probes["trial"] == 0) & (probes["layer"] == "hidden.1.linear") & (probes["step"] == 10)
    figure = gradients_of(trials, probes[~gone])
    assert np.isnan(values_of(maps_of(figure)[0])).tolist() == [[False] * 2, [False, True], [False] * 2]
    assert legend_of(figure) == ["no value"]


def test_a_map_that_ends_early_or_is_missing_leaves_a_gap_too() -> None:
    trials, probes = probe_tables(ARMS, points=2, seeds=1, depth=2, steps=(0, 10))
    for trial, steps in ((0, [10]), (2, [0, 10])):
        gone = (probes["trial"] == trial) & probes["step"].isin(steps)
        figure = gradients_of(trials, probes[~gone])
        assert legend_of(figure) == ["no value"]
        assert len(maps_of(figure)) == 4


def test_a_layer_that_one_arm_lacks_keeps_its_place() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=3, steps=(0,))
    lacking = (probes["trial"] == 0) & (probes["layer"] == "hidden.1.linear")
    maps = maps_of(gradients_of(trials, probes[~lacking]))
    assert np.isnan(values_of(maps[0])).ravel().tolist() == [False, True, False]
    assert not np.isnan(values_of(maps[1])).any()


def test_the_caption_says_points_seeds_direction_and_trap() -> None:
    trials, probes = probe_tables(ARMS, points=5, depth=2, steps=(0, 10))
    trials.loc[0, "outcome"] = "diverged"
    assert caption(gradients_of(trials, probes)) == (
        "Showing 3 of 5 grid points. The first layer is at the bottom. Median over 3 seeds. Times the weights' "
        "norm, since with BN raw gradients grow as weights shrink. 1 of 18 trials diverged; what is not "
        "finite is left out."
    )


def test_nothing_is_drawn_without_the_probe() -> None:
    trials, probes = probe_tables(ARMS, depth=1, steps=(0,))
    without = probed_of(trials, probes[probes["probe"] != GRADIENT], grid_keys=())
    assert gradient_norms_figure(without) is None


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "points", "depth"), [(2, 3, 40), (5, 2, 3)])
def test_no_text_of_the_maps_overlaps(arms: int, points: int, depth: int) -> None:
    names = tuple(f"arm{i}" for i in range(arms))
    tables = probe_tables(names, points=points, depth=depth, seeds=1, steps=(0, 10_000, 20_000))
    assert faults(gradients_of(*tables, names)) == []


# Activations.


def activations_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: tuple[str, ...] = ARMS) -> Figure:
    figure = activations_figure(probed_of(trials, probes, arms))
    assert figure is not None
    return figure


def panels_of(figure: Figure, columns: int) -> list[list[Axes]]:
    return [figure.axes[i : i + columns] for i in range(0, len(figure.axes), columns)]


def test_the_first_the_middle_and_the_last_activation_are_rows() -> None:
    figure = activations_of(*probe_tables(ARMS, seeds=1, depth=7, steps=(0, 10)))
    names = [row[0].get_ylabel() for row in panels_of(figure, 2)]
    assert names == [f"hidden.{i}.activation" for i in (0, 3, 6)]
    assert caption(figure) == "3 of 7 activations, the first at the top. One scale per row. One seed."
    few = activations_of(*probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10)))
    assert [row[0].get_ylabel() for row in panels_of(few, 2)] == ["hidden.0.activation", "hidden.1.activation"]


def test_line_and_band_are_the_medians_of_the_seeds() -> None:
    trials, probes = probe_tables(ARMS, seeds=3, depth=1, steps=(0, 10, 20))
    probes.loc[probes["trial"] == 2, "value"] *= 100  # a mean would follow it
    (row,) = panels_of(activations_of(trials, probes), 2)
    for arm, axes in zip(ARMS, row, strict=True):
        of_arm = trials.loc[trials["arm"] == arm, "trial"]
        chosen = probes[(probes["layer"] == "hidden.0.activation") & probes["trial"].isin(of_arm)]
        low, mid, high = (
            chosen[chosen["probe"] == f"drift.{name}"].groupby("step")["value"].median().to_numpy()
            for name in ("p15", "p50", "p85")
        )
        (line,), (band,) = axes.lines, axes.collections
        assert line.get_xdata().tolist() == [0, 10, 20]
        assert line.get_ydata() == pytest.approx(mid)
        edges = band.get_paths()[0].vertices
        for step, ends in zip((0, 10, 20), zip(low, high, strict=True), strict=True):
            at = edges[edges[:, 0] == step, 1]
            assert (at.min(), at.max()) == pytest.approx(ends)
        assert line.get_color() == arm_styles(ARMS)[arm].colour


def test_a_row_has_one_scale_also_over_several_lines_of_arms() -> None:
    names = tuple(f"arm{i}" for i in range(5))
    figure = activations_of(*probe_tables(names, seeds=1, depth=2), names)
    limits: dict[str, set[tuple[float, float]]] = {}
    layer = ""
    for axes in figure.axes:
        layer = axes.get_ylabel() or layer
        limits.setdefault(layer, set()).add(axes.get_ylim())
    assert {layer: len(found) for layer, found in limits.items()} == {f"hidden.{i}.activation": 1 for i in (0, 1)}


def test_inputs_that_go_far_make_the_scale_logarithmic_and_the_caption_says_so() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10))
    far = (probes["trial"] == 0) & (probes["layer"] == "hidden.1.activation")
    probes.loc[far, "value"] *= 1e4
    figure = activations_of(trials, probes)
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "linear", "symlog", "symlog"]
    assert "beyond ±1 it is logarithmic" in caption(figure)


def test_only_the_middle_grid_point_is_drawn() -> None:
    trials, probes = probe_tables(("none",), points=5, seeds=1, depth=1, steps=(0,))
    figure = activations_of(trials, probes, ("none",))
    middle = probes[(probes["trial"] == 2) & (probes["probe"] == "drift.p50")]["value"].iloc[0]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [middle]
    assert caption(figure).startswith("At lr 3, one of 5 grid points.")


def test_an_arm_without_a_value_at_the_point_keeps_its_panel() -> None:
    trials, probes = probe_tables(ARMS, points=2, seeds=1, depth=1, steps=(0, 10))
    none, before = activations_of(trials, probes[probes["trial"] != 2]).axes
    assert ([text.get_text() for text in none.texts], len(none.lines)) == (["no value"], 0)
    assert (len(before.texts), len(before.lines)) == (0, 1)


def test_what_is_not_finite_is_a_gap_and_what_is_not_there_no_figure() -> None:
    trials, probes = probe_tables(("none",), seeds=1, depth=1, steps=(0, 10, 20))
    probes.loc[(probes["step"] == 10) & (probes["probe"] == "drift.p50"), "value"] = np.inf
    line = activations_of(trials, probes, ("none",)).axes[0].lines[0]
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]
    norms = probes[~probes["layer"].str.endswith("activation")]
    assert activations_figure(probed_of(trials, norms, ("none",), grid_keys=())) is None


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "depth"), [(1, 1), (5, 4)])
def test_no_text_of_the_bands_overlaps(arms: int, depth: int) -> None:
    names = tuple(f"arm{i}" for i in range(arms))
    assert faults(activations_of(*probe_tables(names, depth=depth, seeds=1), names)) == []


# A line per layer.


def saturation_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: tuple[str, ...] = ARMS) -> Figure:
    figure = saturation_figure(probed_of(trials, probes, arms))
    assert figure is not None
    return figure


def shift_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: tuple[str, ...] = ARMS) -> Figure:
    figure = covariate_shift_figure(probed_of(trials, probes, arms))
    assert figure is not None
    return figure


def lightness(axes: Axes) -> list[float]:
    return [float(np.dot(to_rgb(line.get_color()), [0.2126, 0.7152, 0.0722])) for line in axes.lines]


def test_lines_are_medians_over_the_seeds_of_the_layers_in_their_order() -> None:
    trials, probes = probe_tables(ARMS, seeds=3, depth=4, steps=(0, 10, 20))
    outlier = (probes["trial"] == 2) & (probes["probe"] == "saturation")
    probes.loc[outlier, "value"] = 1.0  # a mean would follow it
    for arm, axes in zip(ARMS, saturation_of(trials, probes).axes, strict=True):
        of_arm = trials.loc[trials["arm"] == arm, "trial"]
        for i, line in enumerate(axes.lines):
            chosen = probes[probes["trial"].isin(of_arm) & (probes["layer"] == f"hidden.{i}.activation")]
            medians = chosen[chosen["probe"] == "saturation"].groupby("step")["value"].median()
            assert line.get_xdata().tolist() == [0, 10, 20]
            assert line.get_ydata() == pytest.approx(medians.to_numpy())
        assert len(axes.lines) == 4
        assert lightness(axes) == sorted(lightness(axes))


@pytest.mark.parametrize(("largest", "top"), [(1.0, 1.02), (0.5, 0.6), (0.0, 0.05)])
def test_shares_begin_at_0_and_fill_the_panels_of_all_arms(largest: float, top: float) -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10))
    probes["value"] = np.where(probes["trial"] == 0, largest, largest / 10)
    limits = [axes.get_ylim() for axes in saturation_of(trials, probes).axes]
    assert limits == [(0, pytest.approx(top))] * 2


def test_a_layer_has_one_colour_in_all_panels_also_where_another_arm_lacks_it() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=3, steps=(0, 10))
    lacking = (probes["trial"] == 0) & (probes["layer"] == "hidden.1.activation")
    none, before = saturation_of(trials, probes[~lacking]).axes
    colours = [line.get_color() for line in before.lines]
    assert [line.get_color() for line in none.lines] == [colours[0], colours[2]]


def test_an_arm_without_a_value_at_a_point_says_so_and_a_single_value_is_a_dot() -> None:
    trials, probes = probe_tables(ARMS, points=2, seeds=1, depth=2, steps=(0, 10))
    kept = (probes["trial"] > 1) | ((probes["trial"] == 1) & (probes["step"] == 0))
    gone, early, full, _ = saturation_of(trials, probes[kept]).axes
    assert [text.get_text() for text in gone.texts] == ["no value"]
    assert [line.get_marker() for line in early.lines] == [".", "."]
    assert [line.get_marker() for line in full.lines] == ["", ""]
    assert len(early.texts) == len(full.texts) == 0


def test_the_legend_names_layers_evenly_and_in_one_line() -> None:
    figure = saturation_of(*probe_tables(ARMS, seeds=1, depth=40, steps=(0, 10)))
    legend = figure.subfigs[0].legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    assert (names[0], names[-1]) == ("hidden.0.activation", "hidden.39.activation")
    assert legend._ncols == len(names) >= 3  # type: ignore[attr-defined]
    assert caption(figure) == "A line per layer, 40 from the first (dark) to the last (light). One seed."


def test_dead_units_are_drawn_where_nothing_saturates() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10))
    both = pd.concat([probes, probes[probes["probe"] == "saturation"].assign(probe="dead_units")])
    assert saturation_of(trials, both).subfigs[1].get_supylabel() == "saturated share"
    dead = probes.assign(probe=probes["probe"].replace("saturation", "dead_units"))
    assert saturation_of(trials, dead).subfigs[1].get_supylabel() == "dead units"
    assert saturation_figure(probed_of(trials, probes[probes["probe"] != "saturation"])) is None


def test_three_grid_points_are_rows_of_the_saturation() -> None:
    figure = saturation_of(*probe_tables(ARMS, points=5, seeds=1, depth=1, steps=(0, 10)))
    assert [axes.get_ylabel() for axes in figure.axes] == ["lr 1", "", "lr 3", "", "lr 5", ""]


def test_the_shift_is_logarithmic_above_its_cosine_with_shared_axes() -> None:
    figure = shift_of(*probe_tables(ARMS, points=2, depth=3))
    relative, cosine = figure.axes[:2], figure.axes[2:]
    assert [axes.get_ylabel() for axes in figure.axes] == ["relative shift", "", "cosine", ""]
    assert {axes.get_yscale() for axes in relative} == {"log"}
    assert len({axes.get_ylim() for axes in relative}) == 1
    assert {axes.get_ylim() for axes in cosine} == {(-0.05, 1.05)}
    shown = np.concatenate([line.get_ydata() for axes in relative for line in axes.lines])
    low, high = relative[0].get_ylim()
    assert low < shown[shown > 0].min() < shown.max() < high
    assert caption(figure).startswith("At lr 2, one of 2 grid points. How a layer's gradient changes")


def test_a_negative_cosine_is_in_sight() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10))
    for least, bottom in ((-1.0, -1.05), (-0.3, -0.4)):
        probes.loc[probes["probe"] == "covariate_shift.cosine", "value"] = least
        assert shift_of(trials, probes).axes[-1].get_ylim() == (pytest.approx(bottom), 1.05)


def test_a_shift_of_zero_everywhere_can_be_drawn() -> None:
    figure = shift_of(*probe_tables(("none",), seeds=1, depth=1), ("none",))
    assert (figure.axes[0].get_yscale(), figure.axes[0].get_ylim()) == ("linear", (0, 1))
    assert faults(figure) == []


def test_without_a_cosine_the_shift_stands_alone() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10))
    alone = probes[probes["probe"] != "covariate_shift.cosine"]
    assert len(shift_of(trials, alone).axes) == 2
    neither = alone[alone["probe"] != "covariate_shift.relative"]
    assert covariate_shift_figure(probed_of(trials, neither)) is None


@pytest.mark.parametrize("name", ODD_NAMES[1::5])
def test_any_name_of_a_layer_fits(name: str) -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=3, steps=(0, 10))
    odd = probes.assign(layer=probes["layer"].replace("hidden.1.activation", f"{name}.activation"))
    assert faults(saturation_of(trials, odd)) == []
