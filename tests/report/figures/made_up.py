"""Made-up results for the tests of the figures, and a look at what a figure shows."""

from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from bnexp.analysis.comparison import ArmRow, Comparison, RobustnessRow
from bnexp.analysis.study import Chance, Study
from bnexp.report.figures.frame import DPI, ignore_missing_glyphs
from bnexp.report.figures.probe_panels import Probed, make_probed

ARMS = ("none", "before", "after")

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


TICK = "mathdefault"
"""In a number that Matplotlib itself writes at a logarithmic axis."""


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
            {"arm": arms[arm], "seed": seed, "train.lr": point + 1.0, "outcome": "completed", "diverged_step": np.nan}
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


def study_of(tables: tuple[pd.DataFrame, pd.DataFrame], arms: Sequence[str] = ARMS[:2], **more: Any) -> Study:
    """A study of trials and curves that is swept over `train.lr`."""
    given = {"question": "A question?", "grid_keys": ("train.lr",), "chance": Chance(0.1)}
    known: dict[str, Any] = {"name": "a-run", "runs": ("a-run",), "settings": {}, "environments": {}, **given, **more}
    return Study(trials=tables[0], curves=tables[1], arms=tuple(arms), **known)


def comparison_of(rows: Sequence[ArmRow], **more: Any) -> Comparison:
    """A comparison with rows to the arm none."""
    given = {"metric": "final_test_accuracy", "baseline": "none", "threshold": 0.9, "overall": (), "best": ()}
    counts = {"finished": len(rows), "planned": len(rows), "robustness": ()}
    keys = tuple(rows[0].point) if rows else ()
    return Comparison(rows=tuple(rows), grid_keys=keys, **{**given, **counts, **more})


def arms_of(*arms: str, **more: Any) -> Study:
    """A study of which nothing but its arms is known."""
    return study_of((pd.DataFrame(), pd.DataFrame()), arms, **more)


def probe_tables(
    arms: Sequence[str] = ("none", "before"),
    *,
    points: int = 1,
    seeds: int = 3,
    depth: int = 6,
    steps: Sequence[int] = tuple(range(0, 101, 10)),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials and the rows of probes.csv: in the first arm gradients vanish and activations saturate, in others not."""
    places = list(np.ndindex(points, len(arms), seeds))
    trials = pd.DataFrame(
        [
            {"trial": trial, "arm": arms[arm], "seed": seed, "train.lr": point + 1.0, "outcome": "completed"}
            for trial, (point, arm, seed) in enumerate(places)
        ]
    )
    rows = [
        {"trial": trial, "epoch": step // 10, "step": step, "layer": layer, "probe": probe, "value": value}
        for trial, (point, arm, seed) in enumerate(places)
        for step in steps
        for (layer, probe), value in _probed(arm, point, seed, depth, step, last=step == steps[-1]).items()
    ]
    return trials, pd.DataFrame(rows)


def probed_of(trials: pd.DataFrame, probes: pd.DataFrame, arms: Sequence[str] = ARMS[:2], **more: Any) -> Probed:
    """The probes of a study as figures take them."""
    return make_probed(study_of((trials, trials), arms, probes=probes, **more), "A question?")


def probe_picture(
    make: Callable[[Probed], Figure | None], trials: pd.DataFrame, probes: pd.DataFrame, arms: Sequence[str] = ARMS[:2]
) -> Figure:
    """The picture of a study's probes."""
    figure = make(probed_of(trials, probes, arms))
    assert figure is not None
    return figure


def where(table: pd.DataFrame, **values: Any) -> "pd.Series[bool]":
    """Which rows have these values."""
    return pd.concat([table[name] == value for name, value in values.items()], axis=1).all(axis=1)


def over_seeds(trials: pd.DataFrame, probes: pd.DataFrame, arm: str, **values: Any) -> pd.DataFrame:
    """Values of an arm's probe: a row per step, a column per trial."""
    found = probes[where(probes, **values)].merge(trials[trials["arm"] == arm], on="trial")
    return found.pivot(index="step", columns="trial", values="value")


def band_ends(axes: Axes, place: int, steps: Sequence[int]) -> np.ndarray:
    """The lower and the upper end of a band at every step, a row each."""
    edges = axes.collections[place].get_paths()[0].vertices
    at = [edges[edges[:, 0] == step, 1] for step in steps]
    return np.array([[ends.min() for ends in at], [ends.max() for ends in at]])


def _probed(arm: int, point: int, seed: int, depth: int, step: int, last: bool) -> dict[tuple[str, str], float]:
    """All that is measured of a trial at one step, by layer and probe."""
    size, late = (1 + 0.1 * seed) * (1 + 0.5 * point), step / (step + 30)
    found: dict[tuple[str, str], float] = {}
    for place in range(depth):
        vanished = 10.0 ** (0.7 * (place - depth + 1)) if arm == 0 else 1.0
        weights, activation = f"hidden.{place}.linear", f"hidden.{place}.activation"
        found[weights, "gradient_norm.scale_free"] = 0.2 * size * vanished * (1 - 0.6 * late)
        found[weights, "covariate_shift.relative"] = place * size * (0.02 + 0.1 * late) * (1 + arm)
        found[weights, "covariate_shift.cosine"] = 1 - 0.1 * place * late * (1 if arm else 0.5)
        found[activation, "saturation"] = min(1.0, late * (place + 1) / depth * size) * (0.9, 0.2, 0.1)[min(arm, 2)]
        for name, start in (("p15", -1.0), ("p50", 0.1), ("p85", 1.1)):
            found[activation, f"drift.{name}"] = size * (start + (2.5 * late * np.sin(step / 15) if arm == 0 else 0))
            found[f"hidden.{place}.norm.output", f"drift.{name}"] = 1e3
    found |= _landscape(arm, size, late)
    return found | (_slice(arm, size) if last else {})


def _landscape(arm: int, size: float, late: float) -> dict[tuple[str, str], float]:
    rough = (1.6, 0.4, 0.6)[min(arm, 2)] * size
    return {
        ("", "loss_variation.low"): 2.2 - 1.8 * late + 0.1 * size,
        ("", "loss_variation.high"): 2.3 - 1.8 * late + rough,
        ("", "gradient_predictiveness.relative_low"): 0.2 * rough,
        ("", "gradient_predictiveness.relative_high"): rough * (1 + late),
        ("", "effective_smoothness.scale_free"): 20 * rough * (1 + late),
    }


def _slice(arm: int, size: float) -> dict[tuple[str, str], float]:
    """A bowl, steeper and less round in the first arm."""
    steep = (6.0, 1.0, 1.5)[min(arm, 2)] * size
    return {
        ("", f"landscape_slice[{x:g} {y:g}]"): 0.02 + steep * (x**2 + (1 if arm else 4) * (y - 0.2 * x) ** 2)
        for x in np.linspace(-1, 1, 11).round(2)
        for y in np.linspace(-1, 1, 11).round(2)
    }


def drawn_texts(figure: Figure) -> list[Text]:
    """Every text that reaches the picture, at the resolution of the PNG."""
    figure.set_dpi(DPI)
    found: list[Text] = []

    def seen(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            found.append(text)

    FigureCanvasAgg(figure)  # a figure's own canvas draws nothing
    with mock.patch.object(Text, "draw", seen), ignore_missing_glyphs():
        figure.draw_without_rendering()
    return found


def legend_of(figure: Figure) -> list[str]:
    """The labels of a figure's legend."""
    return [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()]


def maps_of(figure: Figure) -> list[Axes]:
    """The axes of a figure but for the scale of its colours."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def words(figure: Figure) -> list[str]:
    """All texts of a figure, each on one line."""
    return [" ".join(text.get_text().split()) for text in drawn_texts(figure)]


def caption(figure: Figure) -> str:
    """The caption below the drawing, on one line."""
    return " ".join(figure.subfigs[-1].texts[0].get_text().split())


def faults(figure: Figure) -> list[str]:
    """Texts of a figure that leave it, overlap another one, or would read a name as a formula."""
    return faults_among(drawn_texts(figure))


def faults_among(texts: Sequence[Text]) -> list[str]:
    """The same among the texts that were drawn."""
    with ignore_missing_glyphs():
        x0, y0, x1, y1 = np.array([text.get_window_extent().extents for text in texts]).T
    shown = [repr(text.get_text()) for text in texts]
    edge = texts[0].figure.figure.bbox.padded(1)
    outside = (x0 < edge.x0) | (x1 > edge.x1) | (y0 < edge.y0) | (y1 > edge.y1)
    across = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    up = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    slanted = np.array([text.get_rotation() == 45 for text in texts])  # their boxes overlap, they don't
    overlapping = np.triu((across > 2) & (up > 2) & ~np.logical_and.outer(slanted, slanted), 1)
    return [
        *(f"outside: {shown[i]}" for i in np.flatnonzero(outside)),
        *(f"overlap: {shown[i]} and {shown[j]}" for i, j in np.argwhere(overlapping)),
        *(
            f"formula: {shown[i]}"
            for i, text in enumerate(texts)
            if "$" in shown[i] and text.get_parse_math() and TICK not in shown[i]
        ),
    ]
