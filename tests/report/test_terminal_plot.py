"""Curves as text: each is where it belongs, has its own marker and colour, and fits whatever the names and width."""

import re
from dataclasses import replace

import numpy as np
import pytest
from rich.cells import cell_len

from bnexp.report.panels import ArmCurve, Panels, make_panels
from bnexp.report.terminal_plot import arm_looks, plot_curves, ticks
from tests.report.figures.made_up import study_of

ARMS = ("none", "before")
ODD_NAMES = ("$x$", "日本語の腕", "half a [bold", "長い名前" * 30, "a long name " * 9, "two\nlines\tand\x1b[31mred")


def panels_of(frames, arms: tuple[str, ...] = ARMS, limit: int = 4, keys: tuple[str, ...] = ("train.lr",)) -> Panels:
    return make_panels(study_of(frames, arms, grid_keys=keys), "test_accuracy", limit=limit)


def plot(panels: Panels, arms: tuple[str, ...] = ARMS, width: int = 80, colour: bool = False) -> str:
    return plot_curves(panels, arms=arms, label="test accuracy", width=width, colour=colour)


def constant(*values: float, records: int = 24, points: int = 1) -> np.ndarray:
    """Accuracies of arms that never change, one seed."""
    return np.broadcast_to(np.array(values)[None, :, None, None], (points, len(values), 1, records))


def with_curve(panels: Panels, curve: ArmCurve) -> Panels:
    (panel,) = panels.panels
    return replace(panels, panels=(replace(panel, curves=(curve,)),))


def canvas(text: str) -> list[str]:
    """The lines of a single plot between its axes, from y = 1 down to y = 0."""
    return [re.split("[│┤]", line)[1] for line in text.splitlines() if re.match(" *[0-9.]*[│┤]", line)]


def rows_of(marker: str, text: str) -> set[int]:
    return {number for number, line in enumerate(canvas(text)) if marker in line}


def uncoloured(text: str) -> str:
    plain = re.sub("\x1b\\[[0-9;]*m", "", text)
    return "\n".join(line.rstrip() for line in plain.split("\n"))


def test_a_curve_goes_from_its_first_record_to_its_last(run_frames) -> None:
    rows = canvas(plot(panels_of(run_frames(np.linspace(0, 1, 13)[None, None, None], ("none",)))))
    places = [row.index("o") for row in rows]
    assert places == pytest.approx(np.linspace(74, 0, 13), abs=0.5)
    assert (places[0], places[6], places[12]) == (74, 37, 0)


def test_records_are_joined_by_a_line(run_frames) -> None:
    rows = canvas(plot(panels_of(run_frames(np.array([[[[0, 1]]]]), ("none",)))))
    assert all(row.strip() for row in rows)
    assert [row for row in rows if "o" in row] == [rows[0], rows[12]]
    dots = "".join(rows[1:12]).replace(" ", "")
    assert all("\u2800" < letter <= "\u28ff" for letter in dots)


def test_every_arm_has_its_own_marker_and_the_legend_says_which(run_frames) -> None:
    arms = ("none", "before", "after", "wide")
    text = plot(panels_of(run_frames(constant(0, 0.25, 0.5, 0.75), arms), arms), arms)
    assert [rows_of(marker, text) for marker in "o#+*"] == [{12}, {9}, {6}, {3}]
    assert "\no none   # before   + after   * wide\n" in text


def test_known_arms_look_the_same_everywhere_and_twenty_others_differ() -> None:
    others = [f"arm{i}" for i in range(20)]
    looks = arm_looks([*others, "none"])
    assert looks["none"] == arm_looks(["after", "none"])["none"]
    assert len({marker for marker, _ in looks.values()}) == 21
    assert not {"x", "#", "+"} & {marker for marker, _ in looks.values()}


@pytest.mark.parametrize(("width", "rows"), [(40, 4), (77, 4), (78, 2), (117, 2), (118, 2), (158, 1)])
def test_panels_stand_side_by_side_where_they_fit(run_frames, width: int, rows: int) -> None:
    text = plot(panels_of(run_frames(constant(0.2, 0.4, points=4))), width=width)
    assert sum("└┬" in line for line in text.splitlines()) == rows


def test_panels_side_by_side_are_level_whatever_their_titles(run_frames) -> None:
    trials, curves = run_frames(constant(0.2, 0.4, points=2))
    trials["model.first"] = np.where(trials["train.lr"] == 1, "short", "a value that takes a whole line")
    trials["model.second"] = trials["model.first"]
    lines = plot(panels_of((trials, curves), keys=("train.lr", "model.first", "model.second"))).splitlines()
    assert lines[2:5] == [
        " " * 41 + "lr 2",
        " " * 41 + "first a value that takes a whole line",
        "lr 1, first short, second short".ljust(41) + "second a value that takes a whole line",
    ]
    ticked = [line for line in lines if "┤" in line]
    assert len(ticked) == 5
    assert {(line.index("┤"), line.rindex("┤")) for line in ticked} == {(4, 45)}


@pytest.mark.parametrize("width", [38, 53, 100])
@pytest.mark.parametrize("colour", [False, True])
def test_no_line_is_wider_than_asked_whatever_the_names(run_frames, width: int, colour: bool) -> None:
    trials, curves = run_frames(constant(*np.linspace(0, 1, len(ODD_NAMES)), points=3), ODD_NAMES)
    trials["model.a_setting_with_a_name"] = "a value with many words and more"
    panels = panels_of((trials, curves), ODD_NAMES, keys=("train.lr", "model.a_setting_with_a_name"))
    text = uncoloured(plot(panels, ODD_NAMES, width, colour))
    assert max(map(cell_len, text.splitlines())) <= width
    assert all(marker in text for marker in "*@%=&A")
    assert "* $x$" in text
    assert "@ 日本語の腕" in text
    assert "% half a [bold" in text
    assert "A two?lines?and?[31mred" in text


@pytest.mark.parametrize(
    ("low", "high", "most", "whole", "expected"),
    [
        (0, 20, 4, True, ["0", "5", "10", "15", "20"]),
        (0, 1, 9, True, ["0", "1"]),
        (0, 1, 5, False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (3, 8, 5, True, ["3", "4", "5", "6", "7", "8"]),
        (0, 2500, 5, True, ["0", "500", "1000", "1500", "2000", "2500"]),
        (0, 23437, 5, True, ["0", "5k", "10k", "15k", "20k"]),
        (0, 3.2e6, 4, True, ["0", "1M", "2M", "3M"]),
        (0, 10, 0, True, ["0", "10"]),
    ],
)
def test_ticks(low: float, high: float, most: int, whole: bool, expected: list[str]) -> None:
    assert list(ticks(low, high, most, whole=whole).values()) == expected


def test_the_end_of_a_diverged_trial_is_marked_and_explained(run_frames) -> None:
    trials, curves = run_frames(constant(0.25, 0.75, records=9))
    trials.loc[0, "outcome"] = "diverged"
    curves = curves[(curves["trial"] == 1) | (curves["epoch"] <= 4)]
    text = plot(panels_of((trials, curves)))
    assert rows_of("x", text) == {9}
    assert canvas(text)[9].index("x") == 37  # epoch 4 of 8 on 75 columns
    assert "o none   # before   x diverged\nx: where a trial diverged; a stopped one keeps its last value.\n" in text
    assert "diverged" not in plot(panels_of(run_frames(constant(0.2, 0.4))))


SIGNS_AT = {"0": "o", "0.25": "#", "0.5": "+%", "0.75": "*", "1": "@"}


def test_a_value_is_in_the_line_of_its_tick_and_curves_on_one_another_both_show(run_frames) -> None:
    arms = ("none", "before", "after", "wide", "deep", "thin")
    text = plot(panels_of(run_frames(constant(0, 0.25, 0.5, 0.75, 1, 0.5), arms), arms), arms)
    lines = {line.split("┤")[0].strip(): line for line in text.splitlines() if "┤" in line}
    assert [min(lines[tick].count(sign) for sign in signs) >= 4 for tick, signs in SIGNS_AT.items()] == [True] * 5


def test_colour_changes_nothing_but_the_colours(run_frames) -> None:
    arms = ("none", "before", "after", "wide")
    panels = panels_of(run_frames(constant(0.2, 0.4, 0.6, 0.8, points=3), arms), arms)
    coloured, looks = plot(panels, arms, colour=True), arm_looks(arms)
    assert uncoloured(coloured) == plot(panels, arms)
    assert looks["none"][1] is None
    assert len({colour for _, colour in looks.values()}) == 4
    for arm in arms[1:]:
        marker, colour = looks[arm]
        assert f"\x1b[38;5;{colour}m{marker} {arm}\x1b[0m" in coloured


def test_axes_have_round_numbers_and_names(run_frames) -> None:
    trials, curves = run_frames(constant(0.2, 0.4, records=21))
    lines = plot(panels_of((trials, curves)), width=60).splitlines()
    (place,) = [number for number, line in enumerate(lines) if "└┬" in line]
    assert (lines[place + 1].split(), lines[place + 2].strip()) == (["0", "5", "10", "15", "20"], "epoch")
    stubs = [match.start() for match in re.finditer("┬", lines[place])]  # each number stands under its tick
    assert all(lines[place + 1][stub - 1 : stub + 2].strip() for stub in stubs)
    by_step = curves.assign(epoch=curves["epoch"] // 2, step=curves["step"] * 1000)
    numbers, name = plot(panels_of((trials, by_step))).splitlines()[-4:-2]
    assert (numbers.split(), name.split()) == (["0", "50k", "100k", "150k", "200k"], ["step"])


def test_what_can_not_be_drawn_is_left_out(run_frames) -> None:
    trials, curves = run_frames(constant(0.5), ("none",))
    assert plot(panels_of((trials, curves[:0]))) == "test accuracy: nothing recorded yet\n"
    panels = panels_of((trials, curves))
    (curve,) = panels.panels[0].curves
    mean = np.array([0.5, np.nan, np.inf, -np.inf] * 6)
    some = replace(curve, mean=mean, crosses=((3.0, np.nan), (np.nan, 0.2), (np.inf, np.inf)))
    assert rows_of("o", plot(with_curve(panels, some))) == {6}
    nothing = plot(with_curve(panels, replace(curve, mean=np.full(24, np.nan))))
    assert {row.strip() for row in canvas(nothing)} == {""}
    assert "o none" in nothing
    single = canvas(plot(panels_of(run_frames(constant(0.25, 0.75, records=1)))))
    assert [row.strip() for row in single if row.strip()] == ["#", "o"]
