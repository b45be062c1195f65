"""A line per layer: medians over the seeds, dark first and light last, the same axes for all arms."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from bnexp.report.figures.probe_layers import covariate_shift_figure, saturation_figure
from bnexp.report.figures.probe_panels import Probed, make_probed
from tests.report.figures.made_up import ODD_NAMES, caption, faults, probe_tables, study_of

ARMS = ("none", "before")


def probed_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: tuple[str, ...] = ARMS) -> Probed:
    return make_probed(study_of((trials, trials), arms, probes=probes))


def saturation_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: tuple[str, ...] = ARMS) -> Figure:
    figure = saturation_figure(probed_of(trials, probes, arms), "A question?")
    assert figure is not None
    return figure


def shift_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: tuple[str, ...] = ARMS) -> Figure:
    figure = covariate_shift_figure(probed_of(trials, probes, arms), "A question?")
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
    assert legend._ncols == len(names) >= 3
    assert caption(figure) == "A line per layer, 40 from the first (dark) to the last (light). One seed."


def test_dead_units_are_drawn_where_nothing_saturates() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10))
    both = pd.concat([probes, probes[probes["probe"] == "saturation"].assign(probe="dead_units")])
    assert saturation_of(trials, both).subfigs[1].get_supylabel() == "saturated share"
    dead = probes.assign(probe=probes["probe"].replace("saturation", "dead_units"))
    assert saturation_of(trials, dead).subfigs[1].get_supylabel() == "dead units"
    assert saturation_figure(probed_of(trials, probes[probes["probe"] != "saturation"]), "") is None


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
    assert covariate_shift_figure(probed_of(trials, neither), "") is None


@pytest.mark.parametrize("name", ODD_NAMES[1::5])
def test_any_name_of_a_layer_fits(name: str) -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=3, steps=(0, 10))
    odd = probes.assign(layer=probes["layer"].replace("hidden.1.activation", f"{name}.activation"))
    assert faults(saturation_of(trials, odd)) == []
