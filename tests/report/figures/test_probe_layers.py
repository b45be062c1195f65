"""The layers while a network trains: medians over the seeds, the right layers in order, scales that arms share."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, to_rgb

from bnexp.report.figures.probe_layers import (
    GRADIENT,
    activations_figure,
    covariate_shift_figure,
    gradient_norms_figure,
    saturation_figure,
)
from bnexp.report.style import arm_styles
from tests.report.figures.made_up import (
    ODD_NAMES,
    band_ends,
    caption,
    faults,
    legend_of,
    maps_of,
    over_seeds,
    probe_picture,
    probe_tables,
    probed_of,
    where,
)

ARMS = ("none", "before")
gradients_of, activations_of, saturation_of, shift_of = (
    partial(probe_picture, make)
    for make in (gradient_norms_figure, activations_figure, saturation_figure, covariate_shift_figure)
)


# Gradients.


def mesh_of(axes: Axes) -> QuadMesh:
    (mesh,) = (each for each in axes.collections if isinstance(each, QuadMesh))
    return mesh


def values_of(axes: Axes) -> np.ndarray:
    """Values of a map, a row per layer from below; NaN is a cell without a colour."""
    return np.ma.filled(mesh_of(axes).get_array(), np.nan)


def test_a_cell_is_the_median_of_the_seeds_and_the_first_layer_is_below() -> None:
    trials, probes = probe_tables(ARMS, seeds=4, depth=3, steps=(0, 10, 30))
    probes.loc[where(probes, trial=7, probe=GRADIENT), "value"] *= 1e6  # a mean would follow it
    layers = [f"hidden.{i}.linear" for i in range(3)]
    maps = maps_of(gradients_of(trials, probes))
    for arm, axes in zip(ARMS, maps, strict=True):
        expected = [over_seeds(trials, probes, arm, probe=GRADIENT, layer=layer).median(axis=1) for layer in layers]
        assert values_of(axes) == pytest.approx(np.array(expected))
        assert not axes.yaxis_inverted()
    assert [label.get_text() for label in maps[0].get_yticklabels()] == layers


@pytest.mark.parametrize(("steps", "edges"), [((0, 10, 30), [-5, 5, 20, 40]), ((7,), [6.5, 7.5])])
def test_columns_meet_half_way_between_their_steps(steps: tuple[int, ...], edges: list[float]) -> None:
    axes = maps_of(gradients_of(*probe_tables(ARMS, depth=2, steps=steps)))[0]
    assert mesh_of(axes).get_coordinates()[0, :, 0].tolist() == edges


def test_all_maps_have_one_logarithmic_scale_from_the_smallest_value_to_the_largest() -> None:
    maps = maps_of(gradients_of(*probe_tables(ARMS, points=2, depth=4)))
    (norm,) = {mesh_of(axes).norm for axes in maps}
    assert isinstance(norm, LogNorm)
    shown = np.concatenate([values_of(axes).ravel() for axes in maps])
    assert (norm.vmin, norm.vmax) == (shown.min(), shown.max())


def test_zeros_and_what_is_twelve_decades_down_have_the_lowest_colour() -> None:
    trials, probes = probe_tables(("none",), seeds=1, depth=3, steps=(0,))
    probes.loc[probes["probe"] == GRADIENT, "value"] = [0.0, 1e-30, 2.0]
    axes = maps_of(gradients_of(trials, probes))[0]
    assert values_of(axes).ravel() == pytest.approx([2e-12, 2e-12, 2.0])
    assert mesh_of(axes).norm.vmin == pytest.approx(2e-12)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_single_value_has_a_scale_too(value: float) -> None:
    trials, probes = probe_tables(("none",), seeds=1, depth=1, steps=(0,))
    assert faults(gradients_of(trials, probes.assign(value=value), ("none",))) == []


@pytest.mark.parametrize(
    "gone",
    [
        {"trial": 0, "layer": "hidden.1.linear", "step": 10},
        {"trial": 0, "layer": "hidden.1.linear"},
        {"trial": 0, "step": 10},
        {"trial": 2},
    ],
    ids=["a cell", "a layer", "the end", "a map"],
)
def test_what_was_not_measured_has_no_colour_and_the_legend_says_so(gone: dict[str, object]) -> None:
    trials, probes = probe_tables(ARMS, points=2, seeds=1, depth=3, steps=(0, 10))
    assert legend_of(gradients_of(trials, probes)) == []
    figure = gradients_of(trials, probes[~where(probes, **gone)])
    assert legend_of(figure) == ["no value"]
    assert len(maps_of(figure)) == 4
    if "layer" in gone:  # and its neighbours keep their places
        assert np.isnan(values_of(maps_of(figure)[0]))[:, -1].tolist() == [False, True, False]
        assert not np.isnan(values_of(maps_of(figure)[1])).any()


def test_the_caption_says_points_seeds_direction_and_trap() -> None:
    trials, probes = probe_tables(ARMS, points=5, depth=2, steps=(0, 10))
    trials.loc[0, "outcome"] = "diverged"
    assert caption(gradients_of(trials, probes)) == (
        "Showing 3 of 5 grid points. The first layer is at the bottom. Median over 3 seeds. Times the weights' "
        "norm, since with BN raw gradients grow as weights shrink. 1 of 18 trials diverged; what is not "
        "finite is left out."
    )


# Activations.


def test_the_first_the_middle_and_the_last_activation_are_rows() -> None:
    figure = activations_of(*probe_tables(ARMS, seeds=1, depth=7, steps=(0, 10)))
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == [f"hidden.{i}.activation" for i in (0, 3, 6)]
    assert caption(figure) == "3 of 7 activations, the first at the top. One scale per row. One seed."
    few = activations_of(*probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10)))
    assert [axes.get_ylabel() for axes in few.axes[::2]] == ["hidden.0.activation", "hidden.1.activation"]


def test_line_and_band_are_the_medians_of_the_seeds() -> None:
    steps = (0, 10, 20)
    trials, probes = probe_tables(ARMS, seeds=3, depth=1, steps=steps)
    probes.loc[probes["trial"] == 2, "value"] *= 100  # a mean would follow it
    for arm, axes in zip(ARMS, activations_of(trials, probes).axes, strict=True):
        low, middle, high = (
            over_seeds(trials, probes, arm, layer="hidden.0.activation", probe=f"drift.p{percentile}").median(axis=1)
            for percentile in (15, 50, 85)
        )
        (line,) = axes.lines
        assert line.get_xdata().tolist() == list(steps)
        assert line.get_ydata() == pytest.approx(middle.to_numpy())
        assert line.get_color() == arm_styles(ARMS)[arm].colour
        assert band_ends(axes, 0, steps) == pytest.approx(np.array([low, high]))


def test_a_row_has_one_scale_also_over_several_lines_of_arms() -> None:
    names = tuple(f"arm{i}" for i in range(5))
    first, second = np.split(np.array(activations_of(*probe_tables(names, seeds=1, depth=2), names).axes), [6])
    for row in (slice(0, 3), slice(3, 6)):  # three arms a line, then two
        assert len({axes.get_ylim() for axes in first[row]}) == 1
    assert [axes.get_ylim() for axes in second] == [first[row].get_ylim() for row in (0, 0, 3, 3)]


def test_inputs_that_go_far_make_the_scale_logarithmic_and_the_caption_says_so() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10))
    probes.loc[where(probes, trial=0, layer="hidden.1.activation"), "value"] *= 1e4
    figure = activations_of(trials, probes)
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "linear", "symlog", "symlog"]
    assert "beyond ±1 it is logarithmic" in caption(figure)


def test_only_the_middle_grid_point_is_drawn() -> None:
    trials, probes = probe_tables(("none",), points=5, seeds=1, depth=1, steps=(0,))
    figure = activations_of(trials, probes, ("none",))
    middle = probes.loc[where(probes, trial=2, probe="drift.p50", layer="hidden.0.activation"), "value"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == middle.tolist()
    assert caption(figure).startswith("At lr 3, one of 5 grid points.")


def test_an_arm_without_a_value_at_the_point_keeps_its_panel() -> None:
    trials, probes = probe_tables(ARMS, points=2, seeds=1, depth=1, steps=(0, 10))
    none, before = activations_of(trials, probes[probes["trial"] != 2]).axes
    assert ([text.get_text() for text in none.texts], len(none.lines)) == (["no value"], 0)
    assert (len(before.texts), len(before.lines)) == (0, 1)


def test_what_is_not_finite_is_a_gap_and_what_only_norm_layers_have_no_figure() -> None:
    trials, probes = probe_tables(("none",), seeds=1, depth=1, steps=(0, 10, 20))
    probes.loc[where(probes, step=10, probe="drift.p50"), "value"] = np.inf
    (line,) = activations_of(trials, probes, ("none",)).axes[0].lines
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]
    norms = probes[~probes["layer"].str.endswith("activation")]
    assert activations_figure(probed_of(trials, norms, ("none",), grid_keys=())) is None


# A line per layer.


def lightness(axes: Axes) -> list[float]:
    return [float(np.dot(to_rgb(line.get_color()), [0.2126, 0.7152, 0.0722])) for line in axes.lines]


def test_lines_are_medians_over_the_seeds_of_the_layers_in_their_order() -> None:
    trials, probes = probe_tables(ARMS, seeds=3, depth=4, steps=(0, 10, 20))
    probes.loc[where(probes, trial=2, probe="saturation"), "value"] = 1.0  # a mean would follow it
    for arm, axes in zip(ARMS, saturation_of(trials, probes).axes, strict=True):
        for i, line in enumerate(axes.lines):
            seeds = over_seeds(trials, probes, arm, probe="saturation", layer=f"hidden.{i}.activation")
            assert line.get_xdata().tolist() == [0, 10, 20]
            assert line.get_ydata() == pytest.approx(seeds.median(axis=1).to_numpy())
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
    none, before = saturation_of(trials, probes[~where(probes, trial=0, layer="hidden.1.activation")]).axes
    colours = [line.get_color() for line in before.lines]
    assert [line.get_color() for line in none.lines] == [colours[0], colours[2]]


def test_an_arm_without_a_value_at_a_point_says_so_and_a_single_value_is_a_dot() -> None:
    trials, probes = probe_tables(ARMS, points=2, seeds=1, depth=2, steps=(0, 10))
    gone, early, full, _ = saturation_of(trials, probes[(probes["trial"] > 1) | where(probes, trial=1, step=0)]).axes
    assert [text.get_text() for text in gone.texts] == ["no value"]
    assert [line.get_marker() for line in early.lines] == [".", "."]
    assert [line.get_marker() for line in full.lines] == ["", ""]
    assert len(early.texts) == len(full.texts) == 0


def test_the_legend_names_layers_evenly_and_in_one_line() -> None:
    figure = saturation_of(*probe_tables(ARMS, seeds=1, depth=40, steps=(0, 10)))
    names = legend_of(figure)
    assert (names[0], names[-1]) == ("hidden.0.activation", "hidden.39.activation")
    assert figure.subfigs[0].legends[0]._ncols == len(names) >= 3  # type: ignore[attr-defined]
    assert caption(figure) == "A line per layer, 40 from the first (dark) to the last (light). One seed."


def test_dead_units_are_drawn_where_nothing_saturates() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10))
    dead = probes.assign(probe=probes["probe"].replace("saturation", "dead_units"))
    assert saturation_of(trials, pd.concat([probes, dead])).subfigs[1].get_supylabel() == "saturated share"
    assert saturation_of(trials, dead).subfigs[1].get_supylabel() == "dead units"


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


@pytest.mark.parametrize(("least", "bottom"), [(-1.0, -1.05), (-0.3, -0.4)])
def test_a_negative_cosine_is_in_sight(least: float, bottom: float) -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10))
    probes.loc[probes["probe"] == "covariate_shift.cosine", "value"] = least
    assert shift_of(trials, probes).axes[-1].get_ylim() == (pytest.approx(bottom), 1.05)


def test_a_shift_of_zero_everywhere_can_be_drawn() -> None:
    figure = shift_of(*probe_tables(("none",), seeds=1, depth=1), ("none",))
    assert (figure.axes[0].get_yscale(), figure.axes[0].get_ylim()) == ("linear", (0, 1))
    assert faults(figure) == []


def test_without_a_cosine_the_shift_stands_alone() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10))
    assert len(shift_of(trials, probes[probes["probe"] != "covariate_shift.cosine"]).axes) == 2


@pytest.mark.parametrize("name", ODD_NAMES[1::5])
def test_any_name_of_a_layer_fits(name: str) -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=3, steps=(0, 10))
    odd = probes.assign(layer=probes["layer"].replace("hidden.1.activation", f"{name}.activation"))
    assert faults(saturation_of(trials, odd)) == []
