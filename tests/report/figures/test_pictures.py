"""Every picture that applies is drawn and written in three formats, the same at every call, whatever the names."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bnexp.errors import InputError
from bnexp.report.figures import frame
from bnexp.report.figures.frame import figure_bytes
from bnexp.report.figures.pictures import FILES, PROBE_FIGURES, crossed_keys, draw, pictures, pictures_left_out, writers
from tests.helpers import crossed as combined
from tests.report.figures.made_up import (
    ODD_NAMES,
    arm_row,
    comparison_of,
    crossed,
    drawn_texts,
    faults,
    faults_among,
    probe_picture,
    probe_tables,
    robustness,
    run_tables,
    study_of,
    words,
)

ARMS = ("none", "before")
TABLES = run_tables(np.linspace(0.1, 0.9, 2 * 2 * 2 * 3).reshape(2, 2, 2, 3))
CROSSED = crossed((1.0, 2.0), (0.1, 1.0), ARMS)
RANGES = {"robustness": tuple(robustness("train.lr", arm, 1.0, 2.0) for arm in ARMS)}
RESULTS = ["curves", "time", "over_lr", "over_init.scale", "differences", "ranges", "heat_map"]
BEGINNINGS = {
    "gradient_norms": ("gradient_norm",),
    "activations": ("drift",),
    "saturation": ("saturation",),
    "landscape_bands": ("loss_variation", "gradient_predictiveness", "effective_smoothness"),
    "slices": ("landscape_slice",),
    "covariate_shift": ("covariate_shift",),
}
"""How the names of the probes begin that a picture shows."""
TEXT = "{http://www.w3.org/2000/svg}text"


def probes_of(*beginnings: str) -> pd.DataFrame:
    """The rows of the probes whose names begin like that."""
    _, probes = probe_tables(ARMS, seeds=1, depth=2, steps=(0, 10))
    return probes[probes["probe"].str.startswith(beginnings)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All pictures of results, and one of a probe; fonts are drawings in PDF, since to cut them takes half the time."""
    study = study_of(TABLES, probes=probes_of("saturation"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(frame._FILES, "pdf.fonttype", 3)
        return written_by(writers(study, comparison_of(CROSSED, **RANGES), tmp_path_factory.mktemp("pictures")))


def written_by(writes: list[Callable[[], list[Path]]]) -> list[Path]:
    return [path for write in writes for path in write()]


def test_all_that_applies_is_written_as_png_svg_and_pdf(written: list[Path]) -> None:
    names = [f"{picture}.{kind}" for picture in (*RESULTS, "saturation") for kind in ("png", "svg", "pdf")]
    assert [path.name for path in written] == names
    beginnings = {".png": b"\x89PNG\r\n", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert all(path.read_bytes().startswith(beginnings[path.suffix]) for path in written)
    assert all(b">A question?<" in path.read_bytes() for path in written[1::3])


def test_the_same_results_give_the_same_files_and_leave_matplotlib_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    one, other = (draw("heat_map", study_of(TABLES), comparison_of(CROSSED, **RANGES)) for _ in range(2))
    for kind in FILES:
        assert figure_bytes(one, kind) == figure_bytes(other, kind)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("kind", ["curves", "over_lr", "saturation"])
def test_a_picture_is_drawn_by_its_name(kind: str) -> None:
    study = study_of(TABLES, probes=probes_of("saturation"))
    figure = draw(kind, study, comparison_of(CROSSED))
    assert isinstance(figure, Figure)
    assert "A question?" in words(figure)


@pytest.mark.parametrize(
    ("kind", "finished", "fault"),
    [
        ("curve", 8, "curve: no such picture here (nearest: curves); there are curves, time, over_lr"),
        ("heat_map", 0, "heat_map: nothing to show yet, no trial has ended"),
        ("slices", 8, "slices: nothing to show, its probe was not taken"),
    ],
)
def test_a_picture_that_there_is_not_is_an_error_with_its_reason(kind: str, finished: int, fault: str) -> None:
    study = study_of(TABLES, probes=probes_of("saturation"))
    with pytest.raises(InputError) as caught:
        draw(kind, study, comparison_of(CROSSED, finished=finished))
    assert str(caught.value).startswith(fault)


def test_what_does_not_apply_is_left_out() -> None:
    one_axis = [arm_row({"train.lr": lr}, arm) for lr in (1.0, 2.0) for arm in ARMS]
    study = study_of(TABLES)
    assert list(pictures(study, comparison_of(one_axis))) == ["curves", "time", "over_lr", "differences"]
    alone = [row for row in one_axis if row.arm == "none"]
    assert list(pictures(study, comparison_of(alone))) == ["curves", "time", "over_lr"]
    assert list(pictures(study, comparison_of([]))) == ["curves", "time"]
    together = [replace(row, point=row.point | {"model.depth": row.point["train.lr"]}) for row in one_axis]
    assert list(pictures(study, comparison_of(together))) == ["curves", "time", "differences"]


def test_pictures_that_would_be_empty_are_not_drawn_and_that_is_said(tmp_path: Path) -> None:
    begun, blank = study_of((TABLES[0].assign(outcome=None), TABLES[1])), comparison_of(CROSSED, finished=0, **RANGES)
    ended = "over_lr, over_init.scale, differences, ranges and heat_map: no trial has ended"
    assert pictures_left_out(begun, blank) == (ended,)
    planned = replace(begun, curves=TABLES[1][TABLES[1]["step"] == 0])
    assert writers(planned, blank, tmp_path) == []
    recorded = "curves and time: nothing is recorded after the start of training"
    assert pictures_left_out(planned, blank) == (recorded, ended)
    assert pictures_left_out(study_of(TABLES), comparison_of(CROSSED)) == ()
    lost = comparison_of([replace(row, mean=None) for row in CROSSED])
    assert pictures_left_out(study_of(TABLES), lost) == ("over_lr and over_init.scale: no mean is finite",)
    alone = comparison_of([replace(row, pairs=0) for row in CROSSED])
    assert pictures_left_out(study_of(TABLES), alone) == ("differences: no trial has a finished partner",)


@pytest.mark.parametrize(
    ("points", "axes"),
    [
        ([{"x": 1, "y": 1}, {"x": 1, "y": 2}, {"x": 2, "y": 1}], ("x", "y")),
        ([{"x": 1, "y": 1}, {"x": 2, "y": 2}], None),  # paired up by zip: a map would be a diagonal
        ([{"x": x, "y": 2 * x, "z": z} for x in (1, 2) for z in (1, 2)], ("x", "z")),
        ([{"x": 1, "y": y} for y in (1, 2)], None),  # a single value
        ([{"x": x, "s": s, "y": y} for x in (1, 2) for s in ("he", "xavier") for y in (1, 2)], ("x", "y")),
        ([{"s": s, "y": y} for s in ("he", "xavier") for y in (1, 2)], ("y", "s")),
        ([{"x": x, "y": y} for x in (1, 2) for y in (None, 2)], ("x", "y")),
    ],
)
def test_the_heat_map_is_over_the_first_two_crossed_settings_numbers_first(
    points: list[dict[str, object]], axes: tuple[str, str] | None
) -> None:
    assert crossed_keys(comparison_of([arm_row(point, arm) for point in points for arm in ARMS])) == axes


def test_curves_are_of_the_metric_where_they_were_recorded() -> None:
    for metric, shown in (("final_train_accuracy", "train accuracy"), ("final_val_accuracy", "test accuracy")):
        assert shown in words(draw("curves", study_of(TABLES), comparison_of([], metric=metric)))


def test_the_title_is_the_question_or_else_the_name() -> None:
    assert "a-run" in words(draw("curves", study_of(TABLES, question=""), comparison_of([])))


@pytest.mark.parametrize("name", combined(ODD_NAMES, fast=6))
def test_any_name_is_shown_as_it_is_and_nothing_overlaps(name: str) -> None:
    arms = ("none", name)
    trials, curves = run_tables(np.full((2, 2, 2, 3), 0.5), arms)
    study = study_of((trials.assign(**{"train.lr": name}), curves), arms, question=name)
    rows = [replace(row, point=row.point | {"data.name": name}) for row in crossed((1.0, 2.0), (0.1, 1.0), arms)]
    rows += [replace(row, point=row.point | {"data.name": "b"}) for row in rows]
    comparison = comparison_of(rows, robustness=tuple(robustness("model.depth", arm, 1.0, 2.0) for arm in arms))
    study.trials["model.depth"] = 1.0
    for kind in ("time", "over_lr", *RESULTS[4:]):
        texts = drawn_texts(draw(kind, study, comparison))
        assert faults_among(texts) == []
        assert "".join(name.split()) in "".join("".join(text.get_text() for text in texts).split())
    svg = figure_bytes(draw("heat_map", study, comparison), "svg")
    assert b"<script" not in svg
    whole = "".join("".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(TEXT))
    assert "".join(name.replace("\x1b", "").split()) in "".join(whole.split())


@pytest.mark.parametrize("name", PROBE_FIGURES)
def test_only_probes_that_were_taken_have_a_picture(name: str) -> None:
    study = study_of(TABLES, probes=probes_of(*BEGINNINGS[name]))
    there = pictures(study, comparison_of([]))
    assert [kind for kind in PROBE_FIGURES if there[kind].figure()] == [name]
    assert not any(
        pictures(replace(study, probes=study.probes[:0]), comparison_of([]))[kind].figure() for kind in [name]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBE_FIGURES)
@pytest.mark.parametrize(("arms", "points", "depth"), [(1, 1, 1), (2, 4, 40), (7, 2, 4)])
def test_no_text_of_probes_overlaps(name: str, arms: int, points: int, depth: int) -> None:
    names = tuple(f"arm{i}" for i in range(arms))
    tables = probe_tables(names, points=points, depth=depth, seeds=1, steps=(0, 10_000, 20_000))
    assert faults(probe_picture(PROBE_FIGURES[name], *tables, names)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "moments"), [(30, 30), (2, 2000)])
def test_pictures_of_deep_networks_and_of_many_moments_stay_small(depth: int, moments: int) -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=depth, steps=range(0, 10 * moments, 10))
    large = probes[probes["probe"].str.startswith(("loss_variation", "covariate_shift"))]
    large = large.assign(value=large["value"] * (1 + large["step"] // 10 % 2))  # no smooth line, which is short anyway
    study = study_of((trials, TABLES[1]), probes=large)
    for kind in ("landscape_bands", "covariate_shift"):
        assert 10_000 < len(figure_bytes(draw(kind, study, comparison_of([])), "svg")) < 200_000


def test_faults_of_a_figure_are_found() -> None:
    figure = Figure(figsize=(4, 2))
    figure.text(0.1, 0.5, "here")
    assert faults(figure) == []
    figure.text(0.12, 0.5, "there")
    figure.text(0.9, 0.1, "too far to the right")
    figure.text(0.5, 0.8, "$x$")
    assert [fault.split(":")[0] for fault in faults(figure)] == ["outside", "overlap", "formula"]
