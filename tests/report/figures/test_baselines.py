"""Figures of made-up results, held against stored pictures of them.

After a change of the looks that is meant, look at the new pictures and store them:

    python -m tests.report.figures.test_baselines
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.study import Study
from bnexp.report.figures.curves import curves_figure
from bnexp.report.figures.differences import difference_figure
from bnexp.report.figures.heat_map import heat_map_figure
from bnexp.report.figures.pictures import PROBE_FIGURES as OF_PROBES
from bnexp.report.figures.probe_panels import make_probed
from bnexp.report.figures.ranges import usable_range_figure
from bnexp.report.figures.sweep import sweep_figure
from bnexp.report.style import KNOWN
from tests.helpers import PICTURE_RMS
from tests.report.figures.made_up import (
    ARMS,
    arm_row,
    arms_of,
    comparison_of,
    crossed,
    probe_tables,
    robustness,
    run_tables,
    study_of,
)

FOLDER = Path(__file__).parent / "baselines"
DPI = 60

DRAWN_WITH = "3.11"
"""Matplotlib draws letters a little otherwise in every minor version, which is more than some real changes make."""

TITLE = "Does a made-up network learn?"


def curves_of(timed: bool = False) -> Figure:
    return curves_figure(study_of(_runs(), ARMS, question=TITLE), "final_test_accuracy", timed=timed)


def _comparison(rows: list[ArmRow]) -> tuple[Study, Comparison]:
    return arms_of(*ARMS, question=TITLE), comparison_of(rows)


def _runs() -> tuple:
    """Four learning rates, three seeds; without BN the largest rate diverges."""
    epochs, seeds = np.arange(9), np.array([0.9, 1.0, 1.1])[:, None]
    speed = np.array([[0.05, 0.1, 0.08], [0.2, 0.4, 0.3], [0.5, 0.9, 0.7], [0.0, 1.2, 0.9]])
    accuracy = 0.1 + 0.85 * (1 - np.exp(-speed[:, :, None, None] * seeds * epochs))
    trials, curves = run_tables(accuracy, ARMS, seconds=(1.0, 1.4, 1.5))
    lost = (trials["train.lr"] == 4) & (trials["arm"] == "none")
    trials.loc[lost, "outcome"], trials.loc[lost, "diverged_step"] = "diverged", [11, 35, 52]
    return trials, curves


def _differences() -> list[ArmRow]:
    means = {"before": (-0.12, 0.02, 0.3, 0.6), "after": (-0.05, 0.04, 0.25, 0.4)}
    rows = [arm_row({"train.lr": lr}, "none") for lr in (0.01, 0.1, 1.0, 10.0)]
    for arm, known in means.items():
        ends = ({"difference": d, "difference_low": d - 0.06, "difference_high": d + 0.05} for d in known)
        rows += [arm_row(row.point, arm, **end) for row, end in zip(rows[:4], ends, strict=True)]
    return rows


def differences_of(rows: list[ArmRow] | None = None) -> Figure:
    return difference_figure(*_comparison(rows or _differences()))


def ranges_of(highest: float = 1.0) -> Figure:
    rows = [
        robustness("train.lr", "none", 0.01, 0.1, best_at=0.1),
        robustness("train.lr", "before", 0.001, highest, best_at=0.3),
        robustness("train.lr", "after", None, None),
        robustness("model.dropout", "none", 0.0, 0.5, best_at=0.25),
        robustness("model.dropout", "before", 0.25, 0.25),
    ]
    tried = {"train.lr": (0.001, 0.01, 0.1, 0.3, 1.0, 3.0), "model.dropout": (0.0, 0.25, 0.5) * 2}
    study = study_of((pd.DataFrame(tried), pd.DataFrame()), ARMS, question=TITLE)
    return usable_range_figure(study, comparison_of([], robustness=tuple(rows)))


def _crossed() -> list[ArmRow]:
    xs, ys = (0.01, 0.1, 1.0, 10.0), (0.1, 1.0, 10.0)
    rows = crossed(xs, ys, ARMS, lambda x, y, k: round(0.1 + 0.06 * xs.index(x) + 0.1 * ys.index(y) + 0.2 * k, 2))
    rows[-9] = replace(rows[-9], diverged=2)
    rows[3] = replace(rows[3], mean=None, n=0, trials=0)
    return rows


def heat_map_of(rows: list[ArmRow] | None = None) -> Figure:
    return heat_map_figure(*_comparison(rows or _crossed()), "train.lr", "model.init.scale")


def sweep_of() -> Figure:
    rows = [
        replace(row, low=row.mean - 0.05, high=row.mean + 0.05, diverged=int(row.mean < 0.2))
        for row in _crossed()
        if row.mean is not None
    ]
    return sweep_figure(*_comparison(rows), "train.lr")


def probes_of(name: str, factor: float = 1) -> Figure:
    """A picture of made-up probes; the second arm's values may be larger by a factor."""
    trials, probes = probe_tables(ARMS[:2], seeds=2, depth=3, steps=range(0, 101, 20))
    probes.loc[probes["trial"] > 1, "value"] *= factor
    figure = OF_PROBES[name](make_probed(study_of((trials, trials), probes=probes)), TITLE)
    assert figure is not None
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "curves": curves_of,
    "time": partial(curves_of, timed=True),
    "over_lr": sweep_of,
    "differences": differences_of,
    "ranges": ranges_of,
    "heat_map": heat_map_of,
    **{name: partial(probes_of, name) for name in OF_PROBES},
}
OF_LAYERS = ("gradient_norms", "saturation", "slices", "covariate_shift")
"""Their colours are of layers or values, and their arms have but names."""


def draw(make: Callable[[], Figure], path: Path) -> Path:
    """Draw a figure small, with letters and settings that depend on Matplotlib alone."""
    with style.context("default"), matplotlib.rc_context({"text.hinting": "none", "font.family": "DejaVu Sans"}):
        make().savefig(path, dpi=DPI, metadata={"Software": None})
    return path


def difference(name: str, make: Callable[[], Figure], folder: Path, tolerance: float = PICTURE_RMS) -> str | None:
    """What Matplotlib says about a figure that isn't like the stored picture."""
    return compare_images(str(FOLDER / f"{name}.png"), str(draw(make, folder / f"{name}.png")), tolerance)


same_letters = pytest.mark.skipif(
    not matplotlib.__version__.startswith(f"{DRAWN_WITH}."),
    reason=f"the pictures are drawn with Matplotlib {DRAWN_WITH}",
)


def test_the_pictures_are_of_the_version_that_is_installed_for_tests() -> None:
    pinned = (Path(__file__).parents[3] / "constraints.txt").read_text()
    assert f"\nmatplotlib=={DRAWN_WITH}." in pinned


@same_letters
@pytest.mark.parametrize("name", FIGURES)
def test_figures_look_as_they_did(name: str, tmp_path: Path) -> None:
    assert difference(name, FIGURES[name], tmp_path) is None


def test_stored_pictures_are_small_and_none_is_left_over() -> None:
    stored = {path.stem: path.stat().st_size for path in FOLDER.iterdir()}
    assert set(stored) == set(FIGURES)
    assert max(stored.values()) < 60_000


@same_letters
@pytest.mark.parametrize("name", [name for name in FIGURES if name not in OF_LAYERS])
def test_swapped_colours_are_seen(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = KNOWN["before"], KNOWN["after"]
    monkeypatch.setitem(KNOWN, "before", replace(before, colour=after.colour))
    monkeypatch.setitem(KNOWN, "after", replace(after, colour=before.colour))
    assert difference(name, FIGURES[name], tmp_path) is not None


@same_letters
def test_other_results_are_seen(tmp_path: Path) -> None:
    cells, rows = _crossed(), _differences()
    moved = replace(rows[4], difference=0.12, difference_low=0.06, difference_high=0.17)
    others: dict[str, Callable[[], Figure]] = {
        "ranges": lambda: ranges_of(highest=0.3),
        "differences": lambda: differences_of([*rows[:4], moved, *rows[5:]]),
        "heat_map": lambda: heat_map_of([replace(cells[0], mean=0.4), *cells[1:]]),
        "gradient_norms": partial(probes_of, "gradient_norms", factor=1.2),
        "slices": partial(probes_of, "slices", factor=1.2),
    }
    assert [name for name, make in others.items() if difference(name, make, tmp_path) is None] == []


def main() -> None:
    """Store the pictures as they look now."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in FIGURES.items():
        draw(make, FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
