"""A map per arm that holds its rows: every mean in its cell, what is missing left grey, what diverged counted."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bnexp.analysis.comparison import ArmRow
from bnexp.report.figures.heat_map import heat_map_figure
from bnexp.report.style import arm_styles
from tests.report.figures.made_up import (
    arm_row,
    arms_of,
    caption,
    comparison_of,
    crossed,
    faults,
    legend_of,
    maps_of,
    words,
)

XS, YS, ARMS = (0.01, 0.1, 1.0), (0.5, 2.0), ("none", "before")
POINT = {"train.lr": 1.0, "model.init.scale": 1.0}


def ramp(x: float, y: float, arm: int) -> float:
    """A value of its own for every cell of XS, YS and ARMS."""
    return round(0.1 + 0.1 * XS.index(x) + 0.03 * YS.index(y) + 0.4 * arm, 2)


def figure_of(rows: list[ArmRow], arms: tuple[str, ...] = ARMS, metric: str = "final_test_accuracy") -> Figure:
    study, comparison = arms_of(*arms), comparison_of(rows, metric=metric)
    return heat_map_figure(study, comparison, "train.lr", "model.init.scale")


def values_of(axes: Axes) -> np.ndarray:
    """Values of a map, a row of cells per y from below; NaN is a cell without a colour."""
    (mesh,) = axes.collections
    return np.ma.filled(mesh.get_array(), np.nan)


def written(axes: Axes) -> dict[tuple[float, float], str]:
    """The texts of the cells by their places (x, y), each on one line."""
    return {text.get_position(): " ".join(text.get_text().split()) for text in axes.texts if text.get_text()}


def labels(ticks: list) -> list[str]:
    return [tick.get_text() for tick in ticks]


def names_of(figure: Figure) -> list[str]:
    return [" ".join(axes.get_legend().get_texts()[0].get_text().split()) for axes in maps_of(figure)]


@pytest.mark.parametrize("order", [1, -1])
def test_every_mean_stands_in_its_cell_whatever_the_order_of_the_rows(order: int) -> None:
    figure = figure_of(crossed(XS, YS, ARMS, ramp)[::order])
    assert names_of(figure) == list(ARMS)
    for arm, axes in enumerate(maps_of(figure)):
        assert values_of(axes).tolist() == [[ramp(x, y, arm) for x in XS] for y in YS]
        assert written(axes) == {(i, j): f"{ramp(x, y, arm):.2f}" for i, x in enumerate(XS) for j, y in enumerate(YS)}
    assert labels(maps_of(figure)[0].get_xticklabels()) == ["0.01", "0.1", "1"]
    assert labels(maps_of(figure)[0].get_yticklabels()) == ["0.5", "2"]
    assert {"lr", "init.scale", "final test accuracy", "A question?"} <= set(words(figure))


def test_arms_stand_beside_the_line_of_every_other_figure_where_they_have_rows() -> None:
    (axes,) = maps_of(figure_of(crossed(XS, YS, ("before",)), ("none", "before", "after")))
    (line,) = axes.get_legend().get_lines()
    assert (line.get_color(), line.get_linestyle()) == (arm_styles(ARMS)["before"].colour, "-")


def test_other_numbers_are_averaged_and_that_is_said() -> None:
    figure = figure_of([arm_row(POINT | {"model.depth": depth}, "none", depth / 10) for depth in (2, 3, 7)], ("none",))
    assert values_of(maps_of(figure)[0]) == pytest.approx(0.4)
    assert caption(figure) == "Each cell: mean over 6 seeds at 3 grid points, which differ in depth."
    places = ((1.0, 2), (1.0, 3), (0.1, 2))
    rows = [arm_row(POINT | {"train.lr": lr, "model.depth": depth}, "none", 0.1) for lr, depth in places]
    fewer = figure_of(rows, ("none",))
    assert caption(fewer) == "Each cell: mean over 6 seeds at up to 2 grid points, which differ in depth."


def test_other_settings_that_are_no_numbers_have_maps_of_their_own() -> None:
    rows = [replace(row, point=row.point | {"a.b": name}) for name in ("relu", "tanh") for row in crossed(XS, YS, ARMS)]
    figure = figure_of(rows)
    assert names_of(figure) == [f"{arm}, b {name}" for name in ("relu", "tanh") for arm in ARMS]
    assert maps_of(figure)[0].get_gridspec().ncols == len(ARMS)


def test_cells_without_a_result_have_no_colour_and_no_mean_that_is_not_finite_is_averaged_away() -> None:
    rows = crossed(XS, YS, ARMS, ramp)
    figure = figure_of([replace(rows[0], mean=None, n=0, trials=0), replace(rows[1], mean=None), *rows[3:]])
    none, before = maps_of(figure)
    assert np.isnan(values_of(none)).tolist() == [[True, False, False], [True, False, False]]
    assert np.isnan(values_of(before)).tolist() == [[True, False, False], [False, False, False]]
    assert legend_of(figure) == ["no result"]
    assert legend_of(figure_of(crossed(XS, YS, ARMS))) == []
    half = [arm_row(POINT | {"model.depth": depth}, "none", mean) for depth, mean in ((2, 0.3), (3, None))]
    assert np.isnan(values_of(maps_of(figure_of(half, ("none",), "final_train_loss"))[0])).all()
    half[1] = replace(half[1], n=0, trials=0)  # not finished: the other one stands alone
    assert values_of(maps_of(figure_of(half, ("none",)))[0]) == pytest.approx(0.3)


def test_diverged_trials_are_counted() -> None:
    rows = crossed(XS, YS, ARMS, ramp)
    figure = figure_of([replace(rows[0], diverged=2), *rows[1:-1], replace(rows[-1], mean=None, diverged=6)])
    none, before = maps_of(figure)
    assert (written(none)[0, 0], written(before)[2, 1]) == ("0.10 × 2/6", "× 6/6")
    assert legend_of(figure) == ["no result", "diverged trials"]
    assert caption(figure) == "Each cell: mean over 6 seeds. Below a value, after a cross: diverged of finished trials."


def test_accuracies_share_a_scale_from_0_to_1_and_losses_what_there_is() -> None:
    rows = crossed(XS, YS, ARMS, ramp)
    assert {axes.collections[0].get_clim() for axes in maps_of(figure_of(rows))} == {(0, 1)}
    meshes = [axes.collections[0] for axes in maps_of(figure_of(rows, metric="final_train_loss"))]
    assert {mesh.get_clim() for mesh in meshes} == {(0.1, 0.73)}
    assert {mesh.get_cmap().name for mesh in meshes} == {"cividis_r"}  # the lowest loss is as bright
    wide = crossed((1.0, 2.0, 3.0), (1.0,), ("none",), lambda x, y, k: 10.0 ** (2 * x - 3))
    (axes,) = maps_of(figure_of(wide, ("none",), "final_train_loss"))
    assert axes.collections[0].norm(values_of(axes)).tolist() == [[0, pytest.approx(0.5), 1]]


def test_values_stand_out_from_their_cells() -> None:
    means = np.linspace(0, 1, 11)
    (axes,) = maps_of(figure_of(crossed(means.tolist(), (1.0,), ("none",), lambda x, y, k: x), ("none",)))
    assert [text.get_text() for text in axes.texts] == [f"{mean:.2f}" for mean in means]
    FigureCanvasAgg(axes.figure.figure).draw()
    for text, ground in zip(axes.texts, axes.collections[0].get_facecolor()[:, :3], strict=True):
        linear = np.where(ground <= 0.04045, ground / 12.92, ((ground + 0.055) / 1.055) ** 2.4)
        luminance, ink = float(linear @ [0.2126, 0.7152, 0.0722]), {"black": 0.0, "white": 1.0}[text.get_color()]
        assert (max(ink, luminance) + 0.05) / (min(ink, luminance) + 0.05) >= 4.5  # WCAG AA


def test_values_are_written_where_there_is_room_and_elsewhere_a_cross_stands_for_the_count() -> None:
    roomy, narrow = (np.geomspace(1e-3, 10, count).tolist() for count in (16, 40))
    assert [len(written(axes)) for axes in maps_of(figure_of(crossed(roomy, roomy, ARMS)))] == [256, 256]
    rows = [replace(row, diverged=i % 2) for i, row in enumerate(crossed(narrow, narrow, ("none",)))]
    assert list(written(maps_of(figure_of(rows, ("none",)))[0]).values()) == ["×"] * 800


@pytest.mark.parametrize(("maps", "columns"), [(1, 1), (4, 4), (5, 3), (9, 3)])
def test_many_arms_wrap(maps: int, columns: int) -> None:
    arms = tuple(f"arm{i}" for i in range(maps))
    axes = maps_of(figure_of(crossed((1.0, 2.0), (1.0, 2.0), arms), arms))
    assert (len(axes), axes[0].get_gridspec().ncols) == (maps, columns)


def test_values_that_are_no_numbers_keep_their_order() -> None:
    points = [
        {"train.lr": lr, "model.init.scale": scheme} for lr in (None, 1.0, 0.1) for scheme in ("xavier", "he", "$x$")
    ]
    (axes,) = maps_of(figure_of([arm_row(point, "none") for point in points], ("none",)))
    assert labels(axes.get_xticklabels()) == ["0.1", "1", "null"]
    assert labels(axes.get_yticklabels()) == ["xavier", "he", "$x$"]


def test_some_of_many_slanted_values_are_written() -> None:
    figure = figure_of(crossed(np.geomspace(1e-3, 10, 100).tolist(), (1.0,), ("none",)), ("none",))
    (axes,) = maps_of(figure)
    words(figure)
    every = np.diff([axes.transData.transform((place, 0))[0] for place in axes.get_xticks()]) / figure.dpi
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {45}
    assert 0.15 < every.min() < 0.3


@pytest.mark.parametrize(
    ("across", "up", "arms"),
    [
        *[(2, 2, 9), (100, 1, 2)],
        *[
            pytest.param(*size, marks=pytest.mark.slow)
            for size in ((16, 16, 2), (1, 1, 1), (10, 10, 3), (32, 4, 4), (1, 100, 2))
        ],
    ],
)
def test_nothing_overlaps(across: int, up: int, arms: int) -> None:
    names = tuple(f"arm{i}" for i in range(arms))
    rows = crossed(np.geomspace(1e-3, 10, across).tolist(), np.geomspace(1e-4, 1, up).tolist(), names)
    assert faults(figure_of([replace(row, diverged=i % 3) for i, row in enumerate(rows)], names)) == []
