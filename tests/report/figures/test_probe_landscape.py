"""The loss along the gradient, and slices of it around the trained weights: coordinates, bands, shared scales."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from bnexp.report.figures.probe_landscape import landscape_bands_figure, slices_figure
from bnexp.report.style import arm_styles
from tests.report.figures.made_up import caption, faults, maps_of, probe_tables, probed_of

ARMS = ("none", "before")
STEPS = (0, 10, 20)


def bands_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: tuple[str, ...] = ARMS) -> Figure:
    figure = landscape_bands_figure(probed_of(trials, probes, arms))
    assert figure is not None
    return figure


def band_of(axes: Axes, arm: int) -> list[tuple[float, float]]:
    """The lower and the upper end of an arm's band at every step."""
    edges = axes.collections[arm].get_paths()[0].vertices
    return [(edges[edges[:, 0] == step, 1].min(), edges[edges[:, 0] == step, 1].max()) for step in STEPS]


def over_seeds(trials: pd.DataFrame, probes: pd.DataFrame, arm: str, probe: str) -> pd.DataFrame:
    of_arm = trials.loc[trials["arm"] == arm, "trial"]
    chosen = probes[probes["trial"].isin(of_arm) & (probes["probe"] == probe)]
    return chosen.pivot(index="step", columns="trial", values="value")


@pytest.mark.parametrize(("panel", "probe"), [(0, "loss_variation."), (1, "gradient_predictiveness.relative_")])
def test_a_band_goes_from_the_mean_of_the_lows_to_the_mean_of_the_highs(panel: int, probe: str) -> None:
    trials, probes = probe_tables(ARMS, seeds=3, depth=1, steps=STEPS)
    axes = bands_of(trials, probes).axes[panel]
    for place, arm in enumerate(ARMS):
        ends = [over_seeds(trials, probes, arm, f"{probe}{end}").mean(axis=1) for end in ("low", "high")]
        assert band_of(axes, place) == [pytest.approx(pair) for pair in zip(*ends, strict=True)]
        lines = [line for line in axes.lines if line.get_color() == arm_styles(ARMS)[arm].colour]
        assert [line.get_ydata() for line in lines] == [pytest.approx(end.to_numpy()) for end in ends]


def test_smoothness_is_a_mean_in_a_band_from_the_lowest_seed_to_the_highest() -> None:
    trials, probes = probe_tables(ARMS, seeds=3, depth=1, steps=STEPS)
    axes = bands_of(trials, probes).axes[2]
    for place, arm in enumerate(ARMS):
        seeds = over_seeds(trials, probes, arm, "effective_smoothness.scale_free")
        ends = zip(seeds.min(axis=1), seeds.max(axis=1), strict=True)
        assert band_of(axes, place) == [pytest.approx(pair) for pair in ends]
        assert axes.lines[place].get_ydata() == pytest.approx(seeds.mean(axis=1).to_numpy())


def test_a_moment_counts_with_both_its_ends_or_not_at_all() -> None:
    trials, probes = probe_tables(("none",), seeds=2, depth=1, steps=STEPS)
    lost = (probes["trial"] == 1) & (probes["step"] == 10) & (probes["probe"] == "loss_variation.high")
    probes.loc[lost, "value"] = np.inf
    low, high = band_of(bands_of(trials, probes, ("none",)).axes[0], 0)[1]
    alone = probes[(probes["trial"] == 0) & (probes["step"] == 10)].set_index("probe")["value"]
    assert (low, high) == pytest.approx((alone["loss_variation.low"], alone["loss_variation.high"]))


def test_what_spans_decades_is_logarithmic() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=1, steps=STEPS)
    assert [axes.get_yscale() for axes in bands_of(trials, probes).axes] == ["linear"] * 3
    probes.loc[(probes["trial"] == 0) & (probes["probe"] == "loss_variation.high"), "value"] *= 1e3
    assert [axes.get_yscale() for axes in bands_of(trials, probes).axes] == ["log", "linear", "linear"]


def test_only_what_was_measured_has_a_panel() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=1, steps=STEPS)
    figure = bands_of(trials, probes[probes["probe"] != "effective_smoothness.scale_free"])
    assert [axes.get_title() for axes in figure.axes] == ["loss along the gradient", "relative change of the gradient"]
    raw = probes[~probes["probe"].str.startswith(("loss_variation", "effective_smoothness"))]
    raw = raw.assign(probe=raw["probe"].str.replace("relative_", "cosine_"))
    assert landscape_bands_figure(probed_of(trials, raw, grid_keys=())) is None


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


def test_arms_look_as_in_every_figure() -> None:
    figure = bands_of(*probe_tables(ARMS, seeds=1, depth=1, steps=STEPS))
    lines = figure.subfigs[0].legends[0].get_lines()
    assert [(line.get_color(), line.get_linestyle()) for line in lines] == [("#333333", "--"), ("#0072B2", "-")]


@pytest.mark.parametrize(("arms", "points"), [(7, 2)])
def test_nothing_overlaps(arms: int, points: int) -> None:
    names = tuple(f"arm{i}" for i in range(arms))
    assert faults(bands_of(*probe_tables(names, points=points, depth=1, seeds=2), names)) == []


# Slices.


def tables(**sizes: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    return probe_tables(ARMS, depth=1, steps=(0, 10), **sizes)


def slices_of(trials: pd.DataFrame, probes: pd.DataFrame) -> Figure:
    figure = slices_figure(probed_of(trials, probes, ARMS))
    assert figure is not None
    return figure


def contours_of(axes: Axes) -> list[QuadContourSet]:
    """The filled ones and the lines."""
    return [each for each in axes.collections if isinstance(each, QuadContourSet)]


def levels_of(figure: Figure) -> list[list[float]]:
    return [contours.levels.tolist() for axes in maps_of(figure) for contours in contours_of(axes)]  # type: ignore[attr-defined]


def plane(trials: pd.DataFrame, probes: pd.DataFrame, slope: float = 1.0) -> pd.DataFrame:
    """A loss that rises to the right alone."""
    places = probes["probe"].str.extract(r"landscape_slice\[(\S+) ").astype(float)[0]
    return probes.assign(value=probes["value"].where(places.isna(), 2 + slope * places))


def test_the_contours_lie_where_the_loss_is_along_the_first_direction() -> None:
    trials, probes = tables(seeds=1)
    for axes in maps_of(slices_of(trials, plane(trials, probes))):
        _, lines = contours_of(axes)
        for level, path in zip(lines.levels[1:-1], lines.get_paths()[1:-1], strict=True):
            assert path.vertices[:, 0] == pytest.approx(np.full(len(path.vertices), level - 2))
            assert (path.vertices[:, 1].min(), path.vertices[:, 1].max()) == (-1, 1)


def test_all_panels_have_one_scale_and_the_trained_weights_in_the_middle() -> None:
    figure = slices_of(*tables(points=2, seeds=1))
    assert len({tuple(levels) for levels in levels_of(figure)}) == 1
    assert len({id(contours_of(axes)[0].norm) for axes in maps_of(figure)}) == 1
    for axes in maps_of(figure):
        assert [line.get_xydata().tolist() for line in axes.lines] == [[[0, 0]]]


def test_levels_are_in_equal_ratios_where_losses_span_decades() -> None:
    trials, probes = tables(seeds=1)
    figure = slices_of(trials, probes)
    levels = levels_of(figure)[0]
    assert isinstance(contours_of(maps_of(figure)[0])[0].norm, LogNorm)
    assert np.ptp(np.diff(np.log(levels))) == pytest.approx(0, abs=1e-9)
    shown = probes.loc[probes["probe"].str.startswith("landscape"), "value"]
    assert (levels[0], levels[-1]) == pytest.approx((shown.min(), shown.max()))
    linear = levels_of(slices_of(trials, plane(trials, probes)))[0]
    assert np.ptp(np.diff(linear)) == pytest.approx(0, abs=1e-9)
    assert (linear[0], linear[-1]) == (1, 3)


def test_a_loss_far_above_the_others_does_not_hide_them() -> None:
    trials, probes = tables(seeds=1)
    probes.loc[(probes["trial"] == 0) & (probes["probe"] == "landscape_slice[1 1]"), "value"] = 1e30
    figure = slices_of(trials, probes)
    assert levels_of(figure)[0][-1] == pytest.approx(1e6 * levels_of(figure)[0][0])
    assert faults(figure) == []


def test_the_seed_is_the_lowest_that_all_arms_have_and_the_caption_names_it() -> None:
    trials, probes = tables(seeds=3)
    gone = (probes["trial"] == 3) & probes["probe"].str.startswith("landscape")
    figure = slices_of(trials, probes[~gone])  # seed 0 of the second arm
    assert caption(figure).startswith("Seed 1 at step 10.")
    values = probes[probes["trial"].isin([1, 4]) & probes["probe"].str.startswith("landscape")]["value"]
    assert levels_of(figure)[0][0] == pytest.approx(values.min())
    assert levels_of(figure)[0][-1] == pytest.approx(values.max())


def test_the_last_step_is_drawn() -> None:
    trials, probes = tables(seeds=1)
    earlier = probes[probes["probe"].str.startswith("landscape")].assign(step=0, value=5e3)
    assert levels_of(slices_of(trials, pd.concat([probes, earlier]))) == levels_of(slices_of(trials, probes))


def test_a_loss_that_is_not_finite_is_a_hole_and_the_legend_says_so() -> None:
    trials, probes = tables(seeds=1)

    def legend(figure: Figure) -> list[str]:
        return [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()]

    assert legend(slices_of(trials, probes)) == ["trained weights"]
    probes.loc[probes["probe"] == "landscape_slice[1 1]", "value"] = np.inf
    figure = slices_of(trials, probes)
    assert legend(figure) == ["trained weights", "no finite loss"]
    assert levels_of(figure)[0][-1] < 100


def test_an_arm_without_a_slice_at_a_point_keeps_its_panel() -> None:
    trials, probes = tables(points=2, seeds=1)
    gone = (probes["trial"] == 0) & probes["probe"].str.startswith("landscape")
    figure = slices_of(trials, probes[~gone])
    assert [len(contours_of(axes)) for axes in maps_of(figure)] == [0, 2, 2, 2]
    assert figure.subfigs[0].legends[0].get_texts()[1].get_text() == "no finite loss"


def test_a_line_or_an_odd_name_is_no_slice() -> None:
    trials, probes = tables(seeds=1)
    line = probes[probes["probe"].str.endswith(" 0]")]
    for some in (line, probes.assign(probe="landscape_slice[x y]"), probes.assign(probe="landscape_slice[1]")):
        assert slices_figure(probed_of(trials, some, grid_keys=())) is None


def test_a_flat_loss_can_be_drawn() -> None:
    trials, probes = tables(seeds=1)
    assert faults(slices_of(trials, plane(trials, probes, slope=0.0))) == []


@pytest.mark.slow
def test_no_text_of_three_slices_overlaps() -> None:
    assert faults(slices_of(*tables(points=4, seeds=1))) == []
