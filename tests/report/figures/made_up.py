"""Made-up results for the tests of the figures, and a look at what a figure shows."""

from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from bnexp.analysis.comparison import ArmRow, RobustnessRow
from bnexp.report.figures.lettering import missing_letters
from bnexp.report.figures.sheet import DPI

ODD_NAMES = (
    "_hidden",
    "half a $",
    "$x$",
    "<script>alert(1)</script>",
    "日本語の名前 😀",
    "two\nlines\tand\x1b[31mred",
    "W" * 150,
)
"""Names that a figure has to show as they are."""


def arm_row(point: dict[str, Any], arm: str, mean: float | None = 0.5, **values: Any) -> ArmRow:
    """A row of six seeds, its difference to the arm none half a tenth either way unless it says otherwise."""
    treated = (
        {"difference": None, "difference_low": None, "difference_high": None}
        if arm == "none"
        else {"difference": 0.1, "difference_low": 0.05, "difference_high": 0.15}
    )
    blank = dict.fromkeys(ArmRow.__dataclass_fields__)
    counts = {"n": 6, "pairs": 6, "better": 0, "trials": 6, "diverged": 0, "failed": 0, "reached": 0, "first": 0}
    return ArmRow(
        **{**blank, **counts, **treated, "point": point, "arm": arm, "baseline": "none", "mean": mean, **values}
    )


def crossed(xs: Sequence[float], ys: Sequence[float], arms: Sequence[str], mean: Any = None) -> list[ArmRow]:
    """Rows over two swept settings; mean is a function of the two values and the arm's place."""
    mean = mean or (lambda x, y, k: 0.5)
    return [
        arm_row({"train.lr": x, "model.init.scale": y}, arm, mean(x, y, k))
        for x in xs
        for y in ys
        for k, arm in enumerate(arms)
    ]


def robustness(axis: str, arm: str, low: float | None, high: float | None, **values: Any) -> RobustnessRow:
    """An arm that can be trained from low to high and is best at low."""
    width = {"width": high / low if low else None} if high is not None else {}
    blank = dict.fromkeys(RobustnessRow.__dataclass_fields__)
    given = {"axis": axis, "arm": arm, "baseline": "none", "values": 5, "usable": 0, "usable_low": low}
    return RobustnessRow(**{**blank, **given, "usable_high": high, "best_at": low, **width, **values})


def run_tables(
    accuracy: np.ndarray, arms: Sequence[str] = ("none", "before"), seconds: Sequence[float] = (0.1, 0.2)
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials and curves from accuracies of shape (point, arm, seed, epoch); each arm has its seconds per epoch."""
    places = list(np.ndindex(accuracy.shape[:3]))
    trials = pd.DataFrame(
        [
            {"arm": arms[arm], "seed": seed, "train.lr": point + 1.0, "outcome": "completed"}
            for point, arm, seed in places
        ]
    )
    trials.insert(0, "trial", range(len(trials)))
    records = [
        {
            "trial": trial,
            "epoch": epoch,
            "step": 10 * epoch,
            "test_accuracy": value,
            "seconds": seconds[place[1]] * epoch,
        }
        for trial, place in enumerate(places)
        for epoch, value in enumerate(accuracy[place])
    ]
    curves = pd.DataFrame(records, columns=["trial", "epoch", "step", "test_accuracy", "seconds"]).dropna()
    return trials, curves.assign(train_accuracy=0.5, val_accuracy=np.nan)


def drawn_texts(figure: Figure) -> list[Text]:
    """Every text that reaches the picture, at the resolution of the PNG."""
    figure.set_dpi(DPI)
    found: list[Text] = []
    draw = Text.draw

    def seen(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            found.append(text)
        draw(text, renderer)

    with mock.patch.object(Text, "draw", seen), missing_letters():
        FigureCanvasAgg(figure).draw()  # a figure's own canvas draws nothing
    return found


def words(figure: Figure) -> list[str]:
    """What is written in a figure, each text on one line."""
    return [" ".join(text.get_text().split()) for text in drawn_texts(figure)]


def faults(figure: Figure) -> list[str]:
    """Texts that leave the figure, overlap another one, or would read a name as a formula."""
    texts = drawn_texts(figure)
    assert texts
    with missing_letters():
        x0, y0, x1, y1 = np.array([text.get_window_extent().extents for text in texts]).T
    shown = [repr(text.get_text()) for text in texts]
    edge = figure.bbox.padded(1)
    outside = (x0 < edge.x0) | (x1 > edge.x1) | (y0 < edge.y0) | (y1 > edge.y1)
    across = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    up = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    slanted = np.array([text.get_rotation() == 45 for text in texts])  # their boxes overlap, they don't
    overlapping = np.triu((across > 2) & (up > 2) & ~np.logical_and.outer(slanted, slanted), 1)
    return [
        *(f"outside: {shown[i]}" for i in np.flatnonzero(outside)),
        *(f"overlap: {shown[i]} and {shown[j]}" for i, j in np.argwhere(overlapping)),
        *(f"formula: {shown[i]}" for i, text in enumerate(texts) if "$" in shown[i] and text.get_parse_math()),
    ]
