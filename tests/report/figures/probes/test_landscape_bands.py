"""Bands of one moment: the mean of the seeds' lows to the mean of their highs, an arm in its colour."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.report.figures.probe_landscape import landscape_bands_figure
from bnexp.report.figures.probe_panels import make_probed
from bnexp.report.style import arm_styles
from tests.report.figures.made_up import caption, faults, probe_tables, study_of

ARMS = ("none", "before")
STEPS = (0, 10, 20)


def figure_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: tuple[str, ...] = ARMS) -> Figure:
    figure = landscape_bands_figure(make_probed(study_of((trials, trials), arms, probes=probes)), "A question?")
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
    axes = figure_of(trials, probes).axes[panel]
    for place, arm in enumerate(ARMS):
        ends = [over_seeds(trials, probes, arm, f"{probe}{end}").mean(axis=1) for end in ("low", "high")]
        assert band_of(axes, place) == [pytest.approx(pair) for pair in zip(*ends, strict=True)]
        lines = [line for line in axes.lines if line.get_color() == arm_styles(ARMS)[arm].colour]
        assert [line.get_ydata() for line in lines] == [pytest.approx(end.to_numpy()) for end in ends]


def test_smoothness_is_a_mean_in_a_band_from_the_lowest_seed_to_the_highest() -> None:
    trials, probes = probe_tables(ARMS, seeds=3, depth=1, steps=STEPS)
    axes = figure_of(trials, probes).axes[2]
    for place, arm in enumerate(ARMS):
        seeds = over_seeds(trials, probes, arm, "effective_smoothness.scale_free")
        ends = zip(seeds.min(axis=1), seeds.max(axis=1), strict=True)
        assert band_of(axes, place) == [pytest.approx(pair) for pair in ends]
        assert axes.lines[place].get_ydata() == pytest.approx(seeds.mean(axis=1).to_numpy())


def test_a_moment_counts_with_both_its_ends_or_not_at_all() -> None:
    trials, probes = probe_tables(("none",), seeds=2, depth=1, steps=STEPS)
    lost = (probes["trial"] == 1) & (probes["step"] == 10) & (probes["probe"] == "loss_variation.high")
    probes.loc[lost, "value"] = np.inf
    low, high = band_of(figure_of(trials, probes, ("none",)).axes[0], 0)[1]
    alone = probes[(probes["trial"] == 0) & (probes["step"] == 10)].set_index("probe")["value"]
    assert (low, high) == pytest.approx((alone["loss_variation.low"], alone["loss_variation.high"]))


def test_what_spans_decades_is_logarithmic() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=1, steps=STEPS)
    assert [axes.get_yscale() for axes in figure_of(trials, probes).axes] == ["linear"] * 3
    probes.loc[(probes["trial"] == 0) & (probes["probe"] == "loss_variation.high"), "value"] *= 1e3
    assert [axes.get_yscale() for axes in figure_of(trials, probes).axes] == ["log", "linear", "linear"]


def test_only_what_was_measured_has_a_panel() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=1, steps=STEPS)
    figure = figure_of(trials, probes[probes["probe"] != "effective_smoothness.scale_free"])
    assert [axes.get_title() for axes in figure.axes] == ["loss along the gradient", "relative change of the gradient"]
    raw = probes[~probes["probe"].str.startswith(("loss_variation", "effective_smoothness"))]
    raw = raw.assign(probe=raw["probe"].str.replace("relative_", "cosine_"))
    assert landscape_bands_figure(make_probed(study_of((trials, trials), ARMS, probes=raw, grid_keys=())), "") is None


def test_points_are_rows_with_one_scale_per_panel() -> None:
    figure = figure_of(*probe_tables(ARMS, points=5, seeds=1, depth=1, steps=STEPS))
    grid = np.reshape(figure.axes, (3, 3))
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["lr 1", "lr 3", "lr 5"]
    for column in grid.T:
        assert len({axes.get_ylim() for axes in column}) == 1


def test_the_caption_says_what_the_bands_are() -> None:
    trials, probes = probe_tables(ARMS, depth=1, steps=STEPS)
    trials.loc[1, "outcome"] = "diverged"
    assert caption(figure_of(trials, probes)) == (
        "Loss and gradient: lowest and highest over the step sizes of one moment, each the mean over 3 seeds. "
        "Gradients are relative, since with BN raw ones grow as weights shrink. Smoothness: mean over 3 seeds; band: "
        "lowest to highest seed. 1 of 6 trials diverged; what is not finite is left out."
    )
    alone = figure_of(*probe_tables(ARMS, seeds=1, depth=1, steps=STEPS))
    assert caption(alone).endswith("as weights shrink. One seed.")


def test_arms_look_as_in_every_figure() -> None:
    figure = figure_of(*probe_tables(ARMS, seeds=1, depth=1, steps=STEPS))
    lines = figure.subfigs[0].legends[0].get_lines()
    assert [(line.get_color(), line.get_linestyle()) for line in lines] == [("#333333", "--"), ("#0072B2", "-")]


@pytest.mark.parametrize(("arms", "points"), [(7, 2)])
def test_nothing_overlaps(arms: int, points: int) -> None:
    names = tuple(f"arm{i}" for i in range(arms))
    assert faults(figure_of(*probe_tables(names, points=points, depth=1, seeds=2), names)) == []
