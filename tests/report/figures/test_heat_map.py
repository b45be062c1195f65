"""A map per arm that holds its rows: every mean in its cell, what is missing left grey, what diverged marked."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bnexp.analysis.comparison import ArmRow
from bnexp.report.figures.heat_map import heat_map_figure
from bnexp.report.style import arm_styles
from tests.report.figures.made_up import ODD_NAMES, arm_row, crossed, faults, words

XS, YS, ARMS = (0.01, 0.1, 1.0), (0.5, 2.0), ("none", "before")


def ramp(x: float, y: float, arm: int) -> float:
    """A value of its own for every cell of XS, YS and ARMS."""
    return round(0.1 + 0.1 * XS.index(x) + 0.03 * YS.index(y) + 0.4 * arm, 2)


def figure_of(rows: list[ArmRow], arms: tuple[str, ...] = ARMS, metric: str = "final_test_accuracy") -> Figure:
    return heat_map_figure(rows, x="train.lr", y="model.init.scale", arms=arms, metric=metric, title="A question?")


def maps_of(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def values_of(axes: Axes) -> np.ndarray:
    """What a map shows, a row of cells per y from below; NaN is a cell without a colour."""
    (mesh,) = axes.collections
    return np.ma.filled(mesh.get_array(), np.nan)


def labels(ticks: list) -> list[str]:
    return [tick.get_text() for tick in ticks]


def crosses(axes: Axes) -> list[list[float]]:
    """Cells (x, y) with a cross."""
    return [line.get_xydata()[0].round().tolist() for line in axes.lines if line.get_marker() == "x"]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()]


@pytest.mark.parametrize("order", [1, -1])
def test_every_mean_stands_in_its_cell_whatever_the_order_of_the_rows(order: int) -> None:
    maps = maps_of(figure_of(crossed(XS, YS, ARMS, ramp)[::order]))
    assert [axes.get_legend().get_texts()[0].get_text() for axes in maps] == list(ARMS)
    for arm, axes in enumerate(maps):
        assert values_of(axes).tolist() == [[ramp(x, y, arm) for x in XS] for y in YS]
        written = {(*text.get_position(),): text.get_text() for text in axes.texts}
        assert written == {(i, j): f"{ramp(x, y, arm):.2f}" for i, x in enumerate(XS) for j, y in enumerate(YS)}
    assert labels(maps[0].get_xticklabels()) == ["0.01", "0.1", "1"]
    assert labels(maps[0].get_yticklabels()) == ["0.5", "2"]


def test_axes_and_scale_are_named() -> None:
    assert {"lr", "init.scale", "final test accuracy", "A question?"} <= set(words(figure_of(crossed(XS, YS, ARMS))))


def test_arms_stand_beside_the_line_of_every_other_figure() -> None:
    for axes, (_, style) in zip(maps_of(figure_of(crossed(XS, YS, ARMS))), arm_styles(ARMS).items(), strict=True):
        (line,) = axes.get_legend().get_lines()
        assert (line.get_color(), line.get_linestyle()) == (style.colour, {"dashed": "--", "solid": "-"}[style.line])


def test_a_cell_is_the_mean_over_the_other_keys() -> None:
    rows = [arm_row({"train.lr": 1.0, "model.init.scale": 1.0, "model.depth": d}, "none", d / 10) for d in (2, 3, 7)]
    figure = figure_of(rows, ("none",))
    assert values_of(maps_of(figure)[0]) == pytest.approx(0.4)
    assert "Mean over 6 seeds and up to 3 grid points of the other settings." in words(figure)


def test_cells_without_a_result_are_grey_and_hatched() -> None:
    rows = crossed(XS, YS, ARMS, ramp)
    rows = [replace(rows[0], mean=None, n=0, trials=0), replace(rows[1], mean=None), *rows[3:]]
    figure = figure_of(rows)
    none, before = maps_of(figure)
    assert np.isnan(values_of(none)).tolist() == [[True, False, False], [True, False, False]]
    assert np.isnan(values_of(before)).tolist() == [[True, False, False], [False, False, False]]
    assert (len(none.patches), len(before.patches)) == (2, 1)
    assert all(patch.get_hatch() for patch in none.patches)
    assert legend_of(figure) == ["no result"]
    assert legend_of(figure_of(crossed(XS, YS, ARMS))) == []


def test_a_mean_that_is_not_finite_is_not_averaged_away() -> None:
    point = {"train.lr": 1.0, "model.init.scale": 1.0}
    rows = [arm_row({**point, "model.depth": 2}, "none", 0.3), arm_row({**point, "model.depth": 3}, "none", None)]
    (axes,) = maps_of(figure_of(rows, ("none",), "final_train_loss"))
    assert np.isnan(values_of(axes)).all()


def test_an_unfinished_point_does_not_blank_the_finished_ones() -> None:
    point = {"train.lr": 1.0, "model.init.scale": 1.0}
    rows = [
        arm_row({**point, "model.depth": 2}, "none", 0.3),
        arm_row({**point, "model.depth": 3}, "none", None, n=0, trials=0),
    ]
    assert values_of(maps_of(figure_of(rows, ("none",)))[0]) == pytest.approx(0.3)


def test_diverged_trials_are_marked_and_counted() -> None:
    rows = crossed(XS, YS, ARMS, ramp)
    figure = figure_of([replace(rows[0], diverged=2), *rows[1:-1], replace(rows[-1], mean=None, diverged=6)])
    none, before = maps_of(figure)
    assert (crosses(none), crosses(before)) == ([[0, 0]], [[2, 1]])
    assert {"2/6"} == {text.get_text() for text in none.texts if "/" in text.get_text()}
    assert {"6/6"} == {text.get_text() for text in before.texts if "/" in text.get_text()}
    assert legend_of(figure) == ["no result", "diverged trials"]
    assert "Mean over 6 seeds. After a cross: diverged of finished trials." in words(figure)


def test_accuracies_share_a_scale_from_0_to_1_and_losses_what_there_is() -> None:
    rows = crossed(XS, YS, ARMS, ramp)
    assert {axes.collections[0].get_clim() for axes in maps_of(figure_of(rows))} == {(0, 1)}
    meshes = [axes.collections[0] for axes in maps_of(figure_of(rows, metric="final_train_loss"))]
    assert {mesh.get_clim() for mesh in meshes} == {(0.1, 0.73)}
    assert {mesh.get_cmap().name for mesh in meshes} == {
        "cividis_r"
    }  # the lowest loss is as bright as the best accuracy


def test_losses_of_many_magnitudes_stay_apart() -> None:
    rows = crossed((1.0, 2.0, 3.0), (1.0,), ("none",), lambda x, y, k: 10.0 ** (2 * x - 3))
    (axes,) = maps_of(figure_of(rows, ("none",), "final_train_loss"))
    assert axes.collections[0].norm(values_of(axes)).tolist() == [[0, pytest.approx(0.5), 1]]


@pytest.mark.parametrize("mean", np.linspace(0, 1, 21).tolist())
def test_a_value_stands_out_from_its_cell(mean: float) -> None:
    (axes,) = maps_of(figure_of(crossed((1.0,), (1.0,), ("none",), lambda x, y, k: mean), ("none",)))
    (text,) = axes.texts
    FigureCanvasAgg(axes.figure.figure).draw()
    ground = luminance(axes.collections[0].get_facecolor()[0][:3])
    ink = {"black": 0.0, "white": 1.0}[text.get_color()]
    assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 4.5  # WCAG AA


def luminance(colour: np.ndarray) -> float:
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize(("count", "written"), [(2, True), (10, True), (16, True), (40, False)])
def test_values_are_written_where_there_is_room(count: int, written: bool) -> None:
    values = np.geomspace(1e-3, 10, count).tolist()
    figure = figure_of(crossed(values, values, ARMS))
    assert [len(axes.texts) for axes in maps_of(figure)] == [written * count**2] * 2


def test_where_there_is_no_room_for_two_lines_a_cross_stands_for_the_value() -> None:
    values = np.geomspace(1e-3, 10, 32).tolist()
    rows = [replace(row, diverged=1) for row in crossed((1.0,), values, ("none",))]
    figure = figure_of(rows, ("none",))
    (axes,) = maps_of(figure)
    assert (len(crosses(axes)), len(axes.texts)) == (32, 0)
    assert not any("After a cross" in text for text in words(figure))


@pytest.mark.parametrize(("maps", "columns"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 3), (9, 3)])
def test_many_arms_wrap(maps: int, columns: int) -> None:
    arms = tuple(f"arm{i}" for i in range(maps))
    axes = maps_of(figure_of(crossed((1.0, 2.0), (1.0, 2.0), arms), arms))
    assert len(axes) == maps
    assert axes[0].get_gridspec().ncols == columns


def test_only_arms_with_a_row_have_a_map() -> None:
    assert len(maps_of(figure_of(crossed(XS, YS, ("before",)), ("none", "before", "after")))) == 1


def test_values_that_are_no_numbers_keep_their_order() -> None:
    rows = [
        arm_row({"train.lr": lr, "model.init.scale": scheme}, "none")
        for lr in (None, 1.0, 0.1)
        for scheme in ("xavier", "he", "$x$")
    ]
    (axes,) = maps_of(figure_of(rows, ("none",)))
    assert labels(axes.get_xticklabels()) == ["0.1", "1", "null"]
    assert labels(axes.get_yticklabels()) == ["xavier", "he", "$x$"]


def test_of_many_slanted_values_some_are_written() -> None:
    figure = figure_of(crossed(np.geomspace(1e-3, 10, 100).tolist(), (1.0,), ("none",)), ("none",))
    (axes,) = maps_of(figure)
    words(figure)
    every = np.diff([axes.transData.transform((place, 0))[0] for place in axes.get_xticks()]) / figure.dpi
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {45}
    assert 0.15 < every.min() < 0.3


def test_nothing_finished_yet() -> None:
    assert "Nothing finished yet." in words(figure_of([]))
    waiting = [replace(row, n=0, trials=0, mean=None) for row in crossed(XS, YS, ARMS)]
    assert "Nothing finished yet." in words(figure_of(waiting))


@pytest.mark.parametrize(
    ("across", "up", "arms"),
    [(1, 1, 1), (2, 2, 9), (10, 10, 3), (16, 16, 2), (32, 4, 4), (4, 32, 2), (100, 1, 2), (1, 100, 2)],
)
def test_nothing_overlaps(across: int, up: int, arms: int) -> None:
    names = tuple(f"arm{i}" for i in range(arms))
    rows = crossed(np.geomspace(1e-3, 10, across).tolist(), np.geomspace(1e-4, 1, up).tolist(), names)
    assert faults(figure_of([replace(row, diverged=i % 3) for i, row in enumerate(rows)], names)) == []


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_shown_as_it_is(name: str) -> None:
    figure = heat_map_figure(
        crossed(XS, YS, ("none", name)), x="train.lr", y="model.init.scale", arms=("none", name), metric="m", title=name
    )
    assert faults(figure) == []
    shown = [text.replace(" ", "") for text in words(figure)]
    assert shown.count("".join(name.split())) == 2
