"""Every picture that applies is written, as PNG and as SVG, the same at every call, and whatever the names."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.study import Chance, Study
from bnexp.report.figures.pictures import pictures_left_out, write_pictures
from tests.report.figures.made_up import ODD_NAMES, arm_row, crossed, faults, robustness, run_tables

ARMS = ("none", "before")


def study_of(tables: tuple[pd.DataFrame, pd.DataFrame], arms: Sequence[str] = ARMS, question: str = "Why?") -> Study:
    return Study(
        name="a-run",
        question=question,
        runs=("a-run",),
        trials=tables[0],
        curves=tables[1],
        grid_keys=("train.lr",),
        arms=tuple(arms),
        settings={},
        chance=Chance(0.1),
        environments={},
    )


def comparison_of(
    rows: Sequence[ArmRow], axes: Sequence[str] = ("train.lr",), arms: Sequence[str] = ARMS
) -> Comparison:
    return Comparison(
        metric="final_test_accuracy",
        baseline=arms[0],
        threshold=0.9,
        grid_keys=tuple(rows[0].point) if rows else (),
        rows=tuple(rows),
        overall=(),
        best=(),
        robustness=tuple(robustness(axis, arm, 1.0, 2.0) for axis in axes for arm in arms),
        finished=len(rows),
        planned=len(rows),
    )


TABLES = run_tables(np.linspace(0.1, 0.9, 2 * 2 * 2 * 3).reshape(2, 2, 2, 3))
CROSSED = crossed((1.0, 2.0), (0.1, 1.0), ARMS)


def names(written: Sequence[Path]) -> list[str]:
    return [path.name for path in written]


def both(*pictures: str) -> list[str]:
    return [f"{picture}.{kind}" for picture in pictures for kind in ("png", "svg")]


def written_texts(svg: Path) -> list[str]:
    """The texts of an SVG, which has to be well-formed."""
    return ["".join(text.itertext()) for text in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_all_that_applies_is_written_as_png_and_svg(tmp_path: Path) -> None:
    written = write_pictures(study_of(TABLES), comparison_of(CROSSED), tmp_path)
    assert names(written) == both("curves", "time", "differences", "ranges", "heat_map")
    assert sorted(tmp_path.iterdir()) == sorted(written)
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG\r\n" if path.suffix == ".png" else b"<?xml")


def test_what_does_not_apply_is_left_out(tmp_path: Path) -> None:
    one_axis = [arm_row({"train.lr": lr}, arm) for lr in (1.0, 2.0) for arm in ARMS]
    assert names(write_pictures(study_of(TABLES), comparison_of(one_axis, axes=()), tmp_path)) == both(
        "curves", "time", "differences"
    )
    alone = [row for row in one_axis if row.arm == "none"]
    assert names(write_pictures(study_of(TABLES), comparison_of(alone, axes=()), tmp_path)) == both("curves", "time")
    nothing = study_of((TABLES[0].assign(outcome=None), TABLES[1][:0]))
    assert write_pictures(nothing, comparison_of([], axes=()), tmp_path) == ()


def test_pictures_that_would_be_empty_are_not_drawn_and_that_is_said(tmp_path: Path) -> None:
    begun, blank = study_of((TABLES[0].assign(outcome=None), TABLES[1])), replace(comparison_of(CROSSED), finished=0)
    assert names(write_pictures(begun, blank, tmp_path)) == both("curves", "time")
    assert pictures_left_out(begun, blank) == ("differences, ranges and heat_map: no trial has ended",)
    planned = replace(begun, curves=TABLES[1][TABLES[1]["step"] == 0])
    assert write_pictures(planned, blank, tmp_path) == ()
    assert pictures_left_out(planned, blank) == (
        "curves and time: nothing is recorded after the start of training",
        "differences, ranges and heat_map: no trial has ended",
    )
    assert pictures_left_out(study_of(TABLES), comparison_of(CROSSED)) == ()


def test_without_a_pair_there_are_no_differences(tmp_path: Path) -> None:
    alone = [replace(row, pairs=0) for row in CROSSED]
    assert pictures_left_out(study_of(TABLES), comparison_of(alone)) == (
        "differences: no trial has a finished partner",
    )


@pytest.mark.parametrize(
    ("points", "axes"),
    [
        ([{"a.x": 1, "a.y": 1}, {"a.x": 1, "a.y": 2}, {"a.x": 2, "a.y": 1}], ("x", "y")),
        ([{"a.x": 1, "a.y": 1}, {"a.x": 2, "a.y": 2}], None),  # paired up by zip: a map would be a diagonal
        ([{"a.x": x, "a.y": 2 * x, "a.z": z} for x in (1, 2) for z in (1, 2)], ("x", "z")),
        ([{"a.x": 1, "a.y": y} for y in (1, 2)], None),  # a single value
        ([{"a.x": x, "a.s": s, "a.y": y} for x in (1, 2) for s in ("he", "xavier") for y in (1, 2)], ("x", "y")),
        ([{"a.x": x, "a.y": y} for x in (1, 2) for y in (None, 2)], None),
        ([{"a.x": x, "a.y": y} for x in (1, 2) for y in (True, False)], None),
    ],
)
def test_the_heat_map_is_over_the_first_two_crossed_settings_of_numbers(
    points: list[dict[str, object]], axes: tuple[str, str] | None, tmp_path: Path
) -> None:
    rows = [arm_row(point, arm) for point in points for arm in ARMS]
    write_pictures(study_of((TABLES[0], TABLES[1][:0])), comparison_of(rows, axes=()), tmp_path)
    svg = tmp_path / "heat_map.svg"
    assert svg.exists() == (axes is not None)
    if axes:
        assert {*axes} == {"x", "y", "z"} & set(written_texts(svg))


def test_sixteen_scales_make_sixteen_panels(tmp_path: Path) -> None:
    tables = run_tables(np.full((16, 2, 1, 3), 0.5))
    write_pictures(study_of(tables), comparison_of([], axes=()), tmp_path)
    for picture in ("curves", "time"):
        shown = written_texts(tmp_path / f"{picture}.svg")
        assert [text for text in shown if text.startswith("lr ")] == [f"lr {place}" for place in range(1, 17)]


def test_curves_are_of_the_metric_where_they_were_recorded(tmp_path: Path) -> None:
    comparison = replace(comparison_of([], axes=()), metric="final_train_accuracy")
    write_pictures(study_of(TABLES), comparison, tmp_path)
    assert "train accuracy" in written_texts(tmp_path / "curves.svg")
    write_pictures(study_of(TABLES), replace(comparison, metric="final_val_accuracy"), tmp_path)
    assert "test accuracy" in written_texts(tmp_path / "curves.svg")


def test_a_blank_among_the_values_of_an_axis_is_no_value_tried(tmp_path: Path) -> None:
    trials = TABLES[0].assign(**{"train.lr": [1.0, 2.0] + [np.nan] * (len(TABLES[0]) - 2)})
    write_pictures(study_of((trials, TABLES[1][:0])), comparison_of(CROSSED), tmp_path)
    assert {"1", "2", "values tried"} <= set(written_texts(tmp_path / "ranges.svg"))


def test_the_question_is_the_title_or_else_the_name(tmp_path: Path) -> None:
    for question, title in (("Why?", "Why?"), ("", "a-run")):
        for path in write_pictures(study_of(TABLES, question=question), comparison_of(CROSSED), tmp_path)[1::2]:
            assert title in written_texts(path)


def test_the_same_results_give_the_same_files(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        write_pictures(study_of(TABLES), comparison_of(CROSSED), folder)
    one, other = ([path.read_bytes() for path in sorted(folder.iterdir())] for folder in folders)
    assert one == other
    assert not any(b"dc:date" in content for content in one)


def test_matplotlibs_settings_stay_as_they_were(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    write_pictures(study_of(TABLES), comparison_of(CROSSED), tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_pyplot_stays_out() -> None:
    modules = "bnexp.report.figures.pictures, bnexp.report.figures.pictures"
    code = f"import sys, {modules}; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ODD_NAMES[2:6])
def test_any_name_makes_a_whole_svg_that_holds_it(name: str, tmp_path: Path) -> None:
    arms = ("none", name)
    tables = run_tables(np.full((2, 2, 2, 3), 0.5), arms)
    comparison = comparison_of(crossed((1.0, 2.0), (0.1, 1.0), arms), arms=arms)
    whole = "".join(name.replace("\x1b", "").split())
    for path in write_pictures(study_of(tables, arms, question=name), comparison, tmp_path)[1::2]:
        assert b"<script" not in path.read_bytes()
        assert whole in "".join("".join(written_texts(path)).split())


def test_faults_of_a_figure_are_found() -> None:
    figure = Figure(figsize=(4, 2))
    figure.text(0.1, 0.5, "here")
    assert faults(figure) == []
    figure.text(0.12, 0.5, "there")
    figure.text(0.9, 0.1, "too far to the right")
    figure.text(0.5, 0.8, "$x$")
    assert [fault.split(":")[0] for fault in faults(figure)] == ["outside", "overlap", "formula"]
