"""Every picture that the probes have something for is written, the same at every call, and whatever the names."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pandas as pd
import pytest

from bnexp.analysis.study import Study
from bnexp.report.figures.pictures import FIGURES, probe_figures, write_probe_pictures
from bnexp.report.figures.sheet import picture
from tests.report.figures.made_up import ODD_NAMES, faults, probe_tables
from tests.report.html.made_up_study import study

ARMS = ("none", "before")
BEGINNINGS = {
    "gradient_norms": ("gradient_norm",),
    "activations": ("drift",),
    "saturation": ("saturation",),
    "landscape_bands": ("loss_variation", "gradient_predictiveness", "effective_smoothness"),
    "slices": ("landscape_slice",),
    "covariate_shift": ("covariate_shift",),
}
"""How the names of the probes begin that a picture shows."""
LARGEST = 200_000
"""Bytes of a picture of a 30-layer network at 30 moments, or of a small one at 2000."""


def study_of(probes: pd.DataFrame | None, arms: Sequence[str] = ARMS, question: str = "Why?") -> Study:
    return study(arms=arms, seeds=1, question=question, probes=probes)


def probes_of(*beginnings: str, arms: Sequence[str] = ARMS) -> pd.DataFrame:
    """The rows of the probes whose names begin like that; all without beginnings."""
    _, probes = probe_tables(arms, seeds=1, depth=2, steps=(0, 10))
    return probes[probes["probe"].str.startswith(beginnings or "")]


def texts_of(svg: Path) -> list[str]:
    """The texts of an SVG, which has to be well-formed."""
    return ["".join(text.itertext()) for text in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.slow
def test_all_are_written_as_png_and_svg_that_hold_any_name(tmp_path: Path) -> None:
    name = ODD_NAMES[3]
    arms = ("none", name)
    written = write_probe_pictures(study_of(probes_of(arms=arms), arms, question=name), tmp_path)
    assert [path.name for path in written] == [f"{figure}.{kind}" for figure in FIGURES for kind in ("png", "svg")]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    for png, svg in zip(written[::2], written[1::2], strict=True):
        assert png.read_bytes().startswith(b"\x89PNG\r\n")
        assert b"<script" not in svg.read_bytes()
        assert "".join(texts_of(svg)).count(name) >= 2


@pytest.mark.parametrize("name", FIGURES)
def test_only_what_was_measured_has_a_picture(name: str) -> None:
    own = probes_of(*BEGINNINGS[name])
    assert [drawn for drawn, _ in probe_figures(study_of(own), title="")] == [name]


def test_without_probes_there_are_none(tmp_path: Path) -> None:
    for probes in (None, probes_of()[:0], probes_of().assign(value=float("nan"))):
        assert write_probe_pictures(study_of(probes), tmp_path) == ()


def test_the_title_is_the_question_or_else_the_name(tmp_path: Path) -> None:
    for question, title in (("Why?", "Why?"), ("", "made-up-1")):
        _, svg = write_probe_pictures(study_of(probes_of("saturation"), question=question), tmp_path)
        assert title in texts_of(svg)


def test_the_same_probes_give_the_same_files_and_leave_matplotlib_as_it_was(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        write_probe_pictures(study_of(probes_of("landscape_slice")), folder)
    one, other = ([path.read_bytes() for path in sorted(folder.iterdir())] for folder in folders)
    assert len(one) == 2
    assert one == other
    assert dict(matplotlib.rcParams) == before


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "moments"), [(30, 30), (2, 2000)])
def test_pictures_of_deep_networks_and_of_many_moments_stay_small(depth: int, moments: int) -> None:
    _, probes = probe_tables(ARMS, seeds=1, depth=depth, steps=range(0, 10 * moments, 10))
    large = probes[probes["probe"].str.startswith(("loss_variation", "covariate_shift"))]
    large = large.assign(value=large["value"] * (1 + large["step"] // 10 % 2))  # no smooth line, which is short anyway
    sizes = {name: len(picture(figure, "svg")) for name, figure in probe_figures(study_of(large), title="")}
    assert 10_000 < min(sizes.values()) < max(sizes.values()) < LARGEST, sizes


@pytest.mark.slow
def test_the_longest_name_fits_in_every_picture() -> None:
    arms = ("none", ODD_NAMES[-1])
    for _, figure in probe_figures(study_of(probes_of(arms=arms), arms), title=ODD_NAMES[-1]):
        assert faults(figure) == []
