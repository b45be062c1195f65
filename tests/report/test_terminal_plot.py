"""Curves as text: each is where it belongs, has its own marker and colour, and fits whatever the names and width."""

import re

import numpy as np
import pytest
from rich.cells import cell_len

from bnexp.report.panels import Panels, make_panels
from bnexp.report.terminal_plot import ROWS, plot_curves
from tests.report.figures.made_up import study_of

ARMS = ("none", "before", "after", "wide")
ODD_NAMES = ("$x$", "日本語の腕", "half a [bold", "長い名前" * 30, "a long name " * 9, "two\nlines\tand\x1b[31mred")


def panels_of(frames, arms: tuple[str, ...] = ARMS, limit: int = 4, keys: tuple[str, ...] = ("train.lr",)) -> Panels:
    return make_panels(study_of(frames, arms, grid_keys=keys), "test_accuracy", limit=limit)


def plot(panels: Panels, arms: tuple[str, ...] = ARMS, width: int = 80, colour: bool = False) -> str:
    return plot_curves(panels, arms=arms, label="test accuracy", width=width, colour=colour)


def constant(*values: float, records: int = 24, points: int = 1) -> np.ndarray:
    """Accuracies of arms that never change, one seed."""
    return np.broadcast_to(np.array(values)[None, :, None, None], (points, len(values), 1, records))


def canvas(text: str) -> list[str]:
    """The lines of a single plot between its axes, from y = 1 down to y = 0."""
    return [re.split("[│┤]", line)[1] for line in text.splitlines() if re.match(" *[0-9.]*[│┤]", line)]


def rows_of(marker: str, text: str) -> set[int]:
    return {number for number, line in enumerate(canvas(text)) if marker in line}


def uncoloured(text: str) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def test_a_curve_goes_from_its_first_record_to_its_last_on_a_line(run_frames) -> None:
    rows = canvas(plot(panels_of(run_frames(np.linspace(0, 1, 13)[None, None, None], ("none",)))))
    places = [row.index("o") for row in rows]
    assert places == pytest.approx(np.linspace(74, 0, 13), abs=0.5)
    rows = canvas(plot(panels_of(run_frames(np.array([[[[0, 1]]]]), ("none",)))))
    assert [row for row in rows if "o" in row] == [rows[0], rows[12]]
    dots = "".join(rows[1:12]).replace(" ", "")
    assert dots
    assert all("\u2800" < letter <= "\u28ff" for letter in dots)


def test_every_arm_has_its_own_marker_and_the_legend_says_which(run_frames) -> None:
    text = plot(panels_of(run_frames(constant(0, 0.25, 0.5, 0.75), ARMS)))
    assert text.startswith("test accuracy, one seed\n")
    assert [rows_of(marker, text) for marker in "o#+*"] == [{12}, {9}, {6}, {3}]
    assert text.endswith("\no none   # before   + after   * wide\n")


def test_curves_on_one_another_both_show(run_frames) -> None:
    (row,) = filter(str.strip, canvas(plot(panels_of(run_frames(constant(0.5, 0.5))))))
    assert min(row.count("o"), row.count("#")) >= 4


@pytest.mark.parametrize(("width", "rows"), [(40, 4), (77, 4), (78, 2), (158, 1)])
def test_panels_stand_side_by_side_where_they_fit(run_frames, width: int, rows: int) -> None:
    text = plot(panels_of(run_frames(constant(0.2, 0.4, points=4))), width=width)
    assert sum("└┬" in line for line in text.splitlines()) == rows


@pytest.mark.parametrize("width", [38, 53, 100])
def test_no_line_is_wider_than_asked_whatever_the_names(run_frames, width: int) -> None:
    trials, curves = run_frames(constant(*np.linspace(0, 1, len(ODD_NAMES)), points=3), ODD_NAMES)
    trials["model.a_setting_with_a_name"] = "a value with many words and more"
    panels = panels_of((trials, curves), ODD_NAMES, keys=("train.lr", "model.a_setting_with_a_name"))
    text = plot(panels, ODD_NAMES, width)
    assert max(map(cell_len, text.splitlines())) <= width
    for name in ("* $x$", "@ 日本語の腕", "% half a [bold", r"A two\nlines\tand\x1b[31mred"):
        assert name in " ".join(text.split())


def test_colour_changes_nothing_but_the_colours(run_frames) -> None:
    panels = panels_of(run_frames(constant(0.2, 0.4, 0.6, 0.8, points=3), ARMS))
    coloured = plot(panels, colour=True)
    assert uncoloured(coloured) == plot(panels)
    for colour, name in (("33", "# before"), ("172", r"+ after"), ("35", "* wide")):
        assert f"\x1b[38;5;{colour}m{name}\x1b[0m" in coloured


def test_axes_have_round_numbers_and_names(run_frames) -> None:
    trials, curves = run_frames(constant(0.2, 0.4, records=21))
    lines = plot(panels_of((trials, curves)), width=60).splitlines()
    (place,) = [number for number, line in enumerate(lines) if "└┬" in line]
    assert (lines[place + 1].split(), lines[place + 2].strip()) == (["0", "4", "8", "12", "16", "20"], "epoch")
    stubs = [match.start() for match in re.finditer("┬", lines[place])]  # each number stands under its tick
    assert all(lines[place + 1][stub - 1 : stub + 2].strip() for stub in stubs)


def test_the_end_of_a_diverged_trial_is_marked_and_explained(run_frames) -> None:
    trials, curves = run_frames(constant(0.25, 0.75, records=9))
    trials.loc[0, "outcome"] = "diverged"
    curves = curves[(curves["trial"] == 1) | (curves["epoch"] <= 4)]
    text = plot(panels_of((trials, curves)))
    assert canvas(text)[9].index("x") == 37  # epoch 4 of 8 on 75 columns
    assert "o none   # before   x diverged\nx: where a trial diverged; a stopped one keeps its last value.\n" in text
    assert "diverged" not in plot(panels_of(run_frames(constant(0.2, 0.4))))


def test_what_can_not_be_drawn_is_left_out(run_frames) -> None:
    trials, curves = run_frames(constant(0.5), ("none",))
    assert plot(panels_of((trials, curves[:0]))) == "test accuracy: nothing recorded yet\n"
    loss = plot(panels_of((trials, curves.assign(test_accuracy=2 - curves["epoch"]))))
    assert rows_of("o", loss) == {12}  # a loss above 1 is outside
    single = canvas(plot(panels_of(run_frames(constant(0.25, 0.75, records=1)))))
    assert [row.strip() for row in single if row.strip()] == ["#", "o"]


@pytest.mark.parametrize("rows", ROWS)
def test_a_plot_has_the_height_asked_for_and_all_ticks(run_frames, rows: int) -> None:
    panels = panels_of(run_frames(constant(0, 1)))
    text = plot_curves(panels, arms=ARMS, label="test accuracy", width=80, colour=False, rows=rows)
    assert len(canvas(text)) == rows
    assert re.findall(r"([0-9.]+)┤", text) == ["1", "0.75", "0.5", "0.25", "0"]
    assert (rows_of("o", text), rows_of("#", text)) == ({rows - 1}, {0})


def test_a_band_is_dotted_between_the_lowest_and_the_highest_seed(run_frames) -> None:
    accuracy = np.broadcast_to(np.array([0.25, 0.5, 0.75])[:, None], (1, 1, 3, 24))
    panels = panels_of(run_frames(accuracy, ("none",)))
    drawn = {"arms": ("none",), "label": "test accuracy", "width": 80, "colour": False}
    text = plot_curves(panels, **drawn, bands=True)
    lines = canvas(text)
    assert [number for number, line in enumerate(lines) if line.strip()] == [3, 6, 9]
    assert 0 < sum(map(len, lines[3].split())) < sum(map(len, lines[6].split()))
    assert "dots: the lowest and the highest" in text
    assert [number for number, line in enumerate(canvas(plot(panels, ("none",)))) if line.strip()] == [6]
