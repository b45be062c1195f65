"""The loss along the gradient, and slices of it around the trained weights: coordinates, bands, shared scales."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from bnexp.report.figures.probe_landscape import landscape_bands_figure, slices_figure
from bnexp.report.style import arm_styles
from tests.report.figures.made_up import (
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
STEPS = (0, 10, 20)
bands_of, slices_of = (partial(probe_picture, make) for make in (landscape_bands_figure, slices_figure))


@pytest.mark.parametrize(("panel", "probe"), [(0, "loss_variation."), (1, "gradient_predictiveness.relative_")])
def test_a_band_goes_from_the_mean_of_the_lows_to_the_mean_of_the_highs(panel: int, probe: str) -> None:
    trials, probes = probe_tables(ARMS, seeds=3, depth=1, steps=STEPS)
    axes = bands_of(trials, probes).axes[panel]
    for place, arm in enumerate(ARMS):
        ends = [over_seeds(trials, probes, arm, probe=f"{probe}{end}").mean(axis=1) for end in ("low", "high")]
        assert band_ends(axes, place, STEPS) == pytest.approx(np.array(ends))
        lines = [line for line in axes.lines if line.get_color() == arm_styles(ARMS)[arm].colour]
        assert [line.get_ydata() for line in lines] == [pytest.approx(end.to_numpy()) for end in ends]


def test_smoothness_is_a_mean_in_a_band_from_the_lowest_seed_to_the_highest() -> None:
    trials, probes = probe_tables(ARMS, seeds=3, depth=1, steps=STEPS)
    axes = bands_of(trials, probes).axes[2]
    for place, arm in enumerate(ARMS):
        seeds = over_seeds(trials, probes, arm, probe="effective_smoothness.scale_free")
        assert band_ends(axes, place, STEPS) == pytest.approx(np.array([seeds.min(axis=1), seeds.max(axis=1)]))
        assert axes.lines[place].get_ydata() == pytest.approx(seeds.mean(axis=1).to_numpy())


def test_a_moment_counts_with_both_its_ends_or_not_at_all() -> None:
    trials, probes = probe_tables(("none",), seeds=2, depth=1, steps=STEPS)
    probes.loc[where(probes, trial=1, step=10, probe="loss_variation.high"), "value"] = np.inf
    axes = bands_of(trials, probes, ("none",)).axes[0]
    alone = probes[where(probes, trial=0, step=10)].set_index("probe")["value"]
    assert band_ends(axes, 0, (10,)).ravel() == pytest.approx(alone[["loss_variation.low", "loss_variation.high"]])


def test_what_spans_decades_is_logarithmic() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=1, steps=STEPS)
    assert [axes.get_yscale() for axes in bands_of(trials, probes).axes] == ["linear"] * 3
    probes.loc[where(probes, trial=0, probe="loss_variation.high"), "value"] *= 1e3
    assert [axes.get_yscale() for axes in bands_of(trials, probes).axes] == ["log", "linear", "linear"]


def test_only_what_was_measured_has_a_panel() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=1, steps=STEPS)
    figure = bands_of(trials, probes[probes["probe"] != "effective_smoothness.scale_free"])
    assert [axes.get_title() for axes in figure.axes] == ["loss along the gradient", "relative change of the gradient"]


def test_points_are_rows_with_one_scale_per_panel() -> None:
    figure = bands_of(*probe_tables(ARMS, points=5, seeds=1, depth=1, steps=STEPS))
    grid = np.reshape(figure.axes, (3, 3))
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["lr 1", "lr 3", "lr 5"]
    for column in grid.T:
        assert len({axes.get_ylim() for axes in column}) == 1


def test_the_caption_says_what_the_bands_are() -> None:
    trials, probes = probe_tables(ARMS, depth=1, steps=STEPS)
    trials.loc[1, "outcome"] = "diverged"
    assert caption(bands_of(trials, probes)) == (
        "Loss and gradient: lowest and highest over the step sizes of one moment, each the mean over 3 seeds. "
        "Gradients are relative, since with BN raw ones grow as weights shrink. Smoothness: mean over 3 seeds; band: "
        "lowest to highest seed. 1 of 6 trials diverged; what is not finite is left out."
    )
    alone = bands_of(*probe_tables(ARMS, seeds=1, depth=1, steps=STEPS))
    assert caption(alone).endswith("as weights shrink. One seed.")


# Slices.


def tables(**sizes: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    return probe_tables(ARMS, depth=1, steps=(0, 10), **{"seeds": 1} | sizes)


def slices_in(probes: pd.DataFrame) -> "pd.Series[bool]":
    return probes["probe"].str.startswith("landscape")


def contours_of(axes: Axes) -> list[QuadContourSet]:
    """The filled ones and the lines."""
    return [each for each in axes.collections if isinstance(each, QuadContourSet)]


def levels_of(figure: Figure) -> list[float]:
    """The levels that all contours of a figure have."""
    (levels,) = {tuple(contours.levels) for axes in maps_of(figure) for contours in contours_of(axes)}  # type: ignore[attr-defined]
    return list(levels)


def plane(trials: pd.DataFrame, probes: pd.DataFrame, slope: float = 1.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A loss that rises to the right alone."""
    places = probes["probe"].str.extract(r"landscape_slice\[(\S+) ").astype(float)[0]
    return trials, probes.assign(value=probes["value"].where(places.isna(), 2 + slope * places))


def test_the_contours_lie_where_the_loss_is_along_the_first_direction() -> None:
    for axes in maps_of(slices_of(*plane(*tables()))):
        _, lines = contours_of(axes)
        for level, path in zip(lines.levels[1:-1], lines.get_paths()[1:-1], strict=True):
            assert path.vertices[:, 0] == pytest.approx(np.full(len(path.vertices), level - 2))
            assert (path.vertices[:, 1].min(), path.vertices[:, 1].max()) == (-1, 1)


def test_all_panels_have_one_scale_and_the_trained_weights_in_the_middle() -> None:
    maps = maps_of(slices_of(*tables(points=2)))
    assert len({id(contours_of(axes)[0].norm) for axes in maps}) == 1
    for axes in maps:
        assert [line.get_xydata().tolist() for line in axes.lines] == [[[0, 0]]]


def test_levels_are_in_equal_ratios_where_losses_span_decades() -> None:
    trials, probes = tables()
    figure = slices_of(trials, probes)
    levels, shown = levels_of(figure), probes.loc[slices_in(probes), "value"]
    assert isinstance(contours_of(maps_of(figure)[0])[0].norm, LogNorm)
    assert levels == pytest.approx(np.geomspace(shown.min(), shown.max(), len(levels)))
    linear = levels_of(slices_of(*plane(trials, probes)))
    assert linear == pytest.approx(np.linspace(1, 3, len(linear)))


def test_a_loss_far_above_the_others_does_not_hide_them() -> None:
    trials, probes = tables()
    probes.loc[where(probes, trial=0, probe="landscape_slice[1 1]"), "value"] = 1e30
    figure = slices_of(trials, probes)
    assert levels_of(figure)[-1] == pytest.approx(1e6 * levels_of(figure)[0])
    assert faults(figure) == []


def test_the_seed_is_the_lowest_that_all_arms_have_and_the_caption_names_it() -> None:
    trials, probes = tables(seeds=3)
    figure = slices_of(trials, probes[~(slices_in(probes) & (probes["trial"] == 3))])  # seed 0 of the second arm
    assert caption(figure).startswith("Seed 1 at step 10.")
    values = probes.loc[probes["trial"].isin([1, 4]) & slices_in(probes), "value"]
    assert levels_of(figure)[:: len(levels_of(figure)) - 1] == pytest.approx([values.min(), values.max()])


def test_the_last_step_is_drawn() -> None:
    trials, probes = tables()
    earlier = probes[slices_in(probes)].assign(step=0, value=5e3)
    assert levels_of(slices_of(trials, pd.concat([probes, earlier]))) == levels_of(slices_of(trials, probes))


def test_a_loss_that_is_not_finite_is_a_hole_and_the_legend_says_so() -> None:
    trials, probes = tables()
    assert legend_of(slices_of(trials, probes)) == ["trained weights"]
    probes.loc[probes["probe"] == "landscape_slice[1 1]", "value"] = np.inf
    figure = slices_of(trials, probes)
    assert legend_of(figure) == ["trained weights", "no finite loss"]
    assert levels_of(figure)[-1] < 100


def test_an_arm_without_a_slice_at_a_point_keeps_its_panel() -> None:
    trials, probes = tables(points=2)
    figure = slices_of(trials, probes[~(slices_in(probes) & (probes["trial"] == 0))])
    assert [len(contours_of(axes)) for axes in maps_of(figure)] == [0, 2, 2, 2]
    assert legend_of(figure) == ["trained weights", "no finite loss"]


def test_a_line_or_an_odd_name_is_no_slice() -> None:
    trials, probes = tables()
    line = probes[probes["probe"].str.endswith(" 0]")]
    for some in (line, probes.assign(probe="landscape_slice[x y]"), probes.assign(probe="landscape_slice[1]")):
        assert slices_figure(probed_of(trials, some, grid_keys=())) is None


def test_a_flat_loss_can_be_drawn() -> None:
    assert faults(slices_of(*plane(*tables(), slope=0.0))) == []
