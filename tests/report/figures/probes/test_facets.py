"""Panels stand side by side, arm after arm, and every number at an axis can be read."""

import pytest
from matplotlib.figure import Figure

from bnexp.report.figures.probe_panels import Facets, row_texts
from tests.report.figures.made_up import ODD_NAMES, faults, words


def panels_of(facets: Facets) -> tuple[Figure, list[tuple[int, str, int]]]:
    """The figure, and of every panel its row, its arm, and the line of the grid that it stands in."""
    figure, body = facets.sheet("A question?", "A caption.", [])
    places = [(row, arm, axes.get_subplotspec().rowspan.start) for row, arm, axes in facets.panels(body)]
    return figure, places


def test_four_arms_are_a_line_and_five_are_two() -> None:
    four, five = (Facets(("",), tuple("abcde"[:count]), row_height=1.5) for count in (4, 5))
    assert (four.columns, five.columns) == (4, 3)
    assert panels_of(four)[1] == [(0, arm, 0) for arm in "abcd"]
    assert panels_of(five)[1] == [(0, arm, int(arm > "c")) for arm in "abcde"]


def test_all_rows_come_again_for_further_arms() -> None:
    _, places = panels_of(Facets(("x", "y"), tuple("abcde"), row_height=1.5))
    assert [(row, line) for row, arm, line in places if arm == "a"] == [(0, 0), (1, 1)]
    assert [(row, line) for row, arm, line in places if arm == "e"] == [(0, 2), (1, 3)]


def test_the_lowest_panel_of_every_column_has_numbers_below() -> None:
    facets = Facets(("x", "y"), tuple("abcde"), row_height=1.5)
    _, body = facets.sheet("", "", [])
    axes_of = {(row, arm): axes for row, arm, axes in facets.panels(body)}
    numbered = {place for place, axes in axes_of.items() if axes.xaxis.get_tick_params()["labelbottom"]}
    assert numbered == {(1, "c"), (1, "d"), (1, "e")}


def test_square_panels_make_the_figure_as_wide_as_they_need() -> None:
    widths = [Facets(("",), tuple("abcd"[:count]), row_height=2, square=True).width for count in (1, 2, 3, 4)]
    assert widths == sorted(widths)
    assert (widths[0], widths[-1]) == (4.5, 8.0)


def test_rows_are_named_where_there_are_several() -> None:
    assert row_texts(["lr 1"]) == ("",)
    assert row_texts(["lr 1", "lr 2"]) == ("lr 1", "lr 2")
    assert {"lr 1", "lr 2"} <= set(words(panels_of(Facets(("lr 1", "lr 2"), ("none",), row_height=1.5))[0]))


@pytest.mark.parametrize("name", ODD_NAMES[2::4])
def test_any_name_is_shown_as_it_is(name: str) -> None:
    figure, _ = panels_of(Facets((f"data.name {name}", "y"), ("none", name, "before"), row_height=1.5))
    assert faults(figure) == []
    assert "".join(name.split()) in {"".join(text.split()) for text in words(figure)}
