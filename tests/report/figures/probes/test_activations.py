"""Percentiles of what goes into the activations: the right layers, medians over the seeds, one scale per row."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.report.figures.probe_layers import activations_figure
from bnexp.report.figures.probe_panels import make_probed
from bnexp.report.style import arm_styles
from tests.report.figures.made_up import caption, faults, probe_tables, study_of

ARMS = ("none", "before")


def figure_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: tuple[str, ...] = ARMS) -> Figure:
    figure = activations_figure(make_probed(study_of((trials, trials), arms, probes=probes)), "A question?")
    assert figure is not None
    return figure


def panels_of(figure: Figure, columns: int) -> list[list[Axes]]:
    return [figure.axes[i : i + columns] for i in range(0, len(figure.axes), columns)]


def test_the_first_the_middle_and_the_last_activation_are_rows() -> None:
    figure = figure_of(*probe_tables(ARMS, seeds=1, depth=7, steps=(0, 10)))
    names = [row[0].get_ylabel() for row in panels_of(figure, 2)]
    assert names == [f"hidden.{i}.activation" for i in (0, 3, 6)]
    assert caption(figure) == "3 of 7 activations, the first at the top. One scale per row. One seed."
    few = figure_of(*probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10)))
    assert [row[0].get_ylabel() for row in panels_of(few, 2)] == ["hidden.0.activation", "hidden.1.activation"]


def test_line_and_band_are_the_medians_of_the_seeds() -> None:
    trials, probes = probe_tables(ARMS, seeds=3, depth=1, steps=(0, 10, 20))
    probes.loc[probes["trial"] == 2, "value"] *= 100  # a mean would follow it
    (row,) = panels_of(figure_of(trials, probes), 2)
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
    figure = figure_of(*probe_tables(names, seeds=1, depth=2), names)
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
    figure = figure_of(trials, probes)
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "linear", "symlog", "symlog"]
    assert "beyond ±1 it is logarithmic" in caption(figure)


def test_only_the_middle_grid_point_is_drawn() -> None:
    trials, probes = probe_tables(("none",), points=5, seeds=1, depth=1, steps=(0,))
    figure = figure_of(trials, probes, ("none",))
    middle = probes[(probes["trial"] == 2) & (probes["probe"] == "drift.p50")]["value"].iloc[0]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [middle]
    assert caption(figure).startswith("At lr 3, one of 5 grid points.")


def test_an_arm_without_a_value_at_the_point_keeps_its_panel() -> None:
    trials, probes = probe_tables(ARMS, points=2, seeds=1, depth=1, steps=(0, 10))
    none, before = figure_of(trials, probes[probes["trial"] != 2]).axes
    assert ([text.get_text() for text in none.texts], len(none.lines)) == (["no value"], 0)
    assert (len(before.texts), len(before.lines)) == (0, 1)


def test_what_is_not_finite_is_a_gap_and_what_is_not_there_no_figure() -> None:
    trials, probes = probe_tables(("none",), seeds=1, depth=1, steps=(0, 10, 20))
    probes.loc[(probes["step"] == 10) & (probes["probe"] == "drift.p50"), "value"] = np.inf
    line = figure_of(trials, probes, ("none",)).axes[0].lines[0]
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]
    norms = probes[~probes["layer"].str.endswith("activation")]
    assert (
        activations_figure(make_probed(study_of((trials, trials), ("none",), probes=norms, grid_keys=())), "") is None
    )


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "depth"), [(1, 1), (5, 4)])
def test_nothing_overlaps(arms: int, depth: int) -> None:
    names = tuple(f"arm{i}" for i in range(arms))
    assert faults(figure_of(*probe_tables(names, depth=depth, seeds=1), names)) == []
