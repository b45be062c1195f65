"""Figures of made-up results, held against stored pictures of them.

After a change of the looks that is meant, look at the new pictures and store them:

    python -m tests.report.figures.test_baselines
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import style
from matplotlib.testing.compare import compare_images

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.study import Study
from bnexp.report.figures.pictures import PROBE_FIGURES, draw
from bnexp.report.style import KNOWN
from tests.helpers import PICTURE_RMS
from tests.helpers import crossed as combined
from tests.report.figures.made_up import ARMS, comparison_of, crossed, probe_tables, robustness, run_tables, study_of

FOLDER = Path(__file__).parent / "baselines"
DPI = 60

DRAWN_WITH = "3.11"
"""Matplotlib draws letters a little otherwise in every minor version, which is more than some real changes make."""

RATES, SCALES = (0.01, 0.1, 1.0, 10.0), (0.1, 1.0, 10.0)
FIGURES = ("curves", "time", "over_lr", "differences", "ranges", "heat_map", *PROBE_FIGURES)


@cache
def made_up(factor: float = 1) -> Study:
    """Four learning rates and three seeds; without BN the largest rate diverges. Probes may be larger by a factor."""
    epochs, seeds = np.arange(9), np.array([0.9, 1.0, 1.1])[:, None]
    speed = np.array([[0.05, 0.1, 0.08], [0.2, 0.4, 0.3], [0.5, 0.9, 0.7], [0.0, 1.2, 0.9]])
    accuracy = 0.1 + 0.85 * (1 - np.exp(-speed[:, :, None, None] * seeds * epochs))
    trials, curves = run_tables(accuracy, ARMS, seconds=(1.0, 1.4, 1.5))
    lost = (trials["train.lr"] == 4) & (trials["arm"] == "none")
    trials.loc[lost, "outcome"], trials.loc[lost, "diverged_step"] = "diverged", [11, 35, 52]
    _, probes = probe_tables(ARMS, seeds=3, depth=3, steps=range(0, 101, 20))
    probes.loc[probes["trial"] > 2, "value"] *= factor
    return study_of((trials, curves), ARMS, question="Does a made-up network learn?", probes=probes)


def results() -> list[ArmRow]:
    """Accuracies over two settings, with a gap, and with differences of both signs."""

    def mean(x: float, y: float, k: int) -> float:
        return round(0.1 + 0.06 * RATES.index(x) + 0.1 * SCALES.index(y) + 0.2 * k, 2)

    rows = []
    for i, row in enumerate(crossed(RATES, SCALES, ARMS, mean)):
        assert row.mean is not None
        middle = row.mean - 0.4
        ends = {"difference": middle, "difference_low": middle - 0.06, "difference_high": middle + 0.05}
        known: dict[str, Any] = {"low": row.mean - 0.05, "high": row.mean + 0.05, "diverged": 2 * (i % 13 == 0)}
        rows.append(replace(row, **known, **(ends if row.arm != "none" else {})))
    rows[3] = replace(rows[3], mean=None, n=0, trials=0)
    return rows


def compared(rows: Sequence[ArmRow] = (), highest: float = 3.0) -> Comparison:
    ranges = (
        robustness("train.lr", "none", 1.0, 2.0, best_at=2.0),
        robustness("train.lr", "before", 1.0, highest, best_at=3.0),
        robustness("train.lr", "after", None, None),
    )
    return comparison_of(rows or results(), robustness=ranges)


OF_LAYERS = ("gradient_norms", "saturation", "slices", "covariate_shift")
"""Their colours are of layers or values, and their arms have but names."""


def store(kind: str, path: Path, study: Study | None = None, comparison: Comparison | None = None) -> Path:
    """Draw a figure small, with letters and settings that depend on Matplotlib alone."""
    with style.context("default"), matplotlib.rc_context({"text.hinting": "none", "font.family": "DejaVu Sans"}):
        figure = draw(kind, study or made_up(), comparison or compared())
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


def difference(kind: str, folder: Path, **other: Any) -> str | None:
    """Return Matplotlib's words about a figure that isn't like the stored picture."""
    new = store(kind, folder / f"{kind}.png", **other)
    return compare_images(str(FOLDER / f"{kind}.png"), str(new), PICTURE_RMS)


same_letters = pytest.mark.skipif(
    not matplotlib.__version__.startswith(f"{DRAWN_WITH}."),
    reason=f"the pictures are drawn with Matplotlib {DRAWN_WITH}",
)


def test_the_pictures_are_of_the_version_that_is_installed_for_tests() -> None:
    pinned = (Path(__file__).parents[3] / "constraints.txt").read_text()
    assert f"\nmatplotlib=={DRAWN_WITH}." in pinned


@same_letters
@pytest.mark.parametrize("kind", FIGURES)
def test_figures_look_as_they_did(kind: str, tmp_path: Path) -> None:
    assert difference(kind, tmp_path) is None


def test_stored_pictures_are_small_and_none_is_left_over() -> None:
    stored = {path.stem: path.stat().st_size for path in FOLDER.iterdir()}
    assert set(stored) == set(FIGURES)
    assert max(stored.values()) < 60_000


@same_letters
@pytest.mark.parametrize("kind", combined([kind for kind in FIGURES if kind not in OF_LAYERS], fast=5))
def test_swapped_colours_are_seen(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = KNOWN["before"], KNOWN["after"]
    monkeypatch.setitem(KNOWN, "before", replace(before, colour=after.colour))
    monkeypatch.setitem(KNOWN, "after", replace(after, colour=before.colour))
    assert difference(kind, tmp_path) is not None


@same_letters
def test_other_results_are_seen(tmp_path: Path) -> None:
    rows = results()
    rows[1] = replace(rows[1], mean=0.9, difference=0.12)
    assert difference("ranges", tmp_path, comparison=compared(highest=2.0)) is not None
    assert difference("differences", tmp_path, comparison=compared(rows)) is not None
    assert difference("slices", tmp_path, study=made_up(factor=1.2)) is not None


def main() -> None:
    """Store the pictures as they look now."""
    FOLDER.mkdir(exist_ok=True)
    for kind in FIGURES:
        store(kind, FOLDER / f"{kind}.png")


if __name__ == "__main__":
    main()
