"""The numbers that the page's charts are drawn from, as JSON that can stand inside a script element."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.comparison import ArmRow, Comparison, Overall
from bnexp.analysis.pairing import FINISHED, grid_points, point_numbers
from bnexp.analysis.study import METRICS, Study, lower_is_better
from bnexp.report.panels import ArmCurve, Panels, evenly, make_panels
from bnexp.report.style import ArmStyle, arm_marks, arm_styles, point_texts, short_keys, value_text

LINE_WIDTH = 2.0
"""Pixels; dashes are multiples of it."""

ON_DARK = {
    "#333333": "#D3D6DA",
    "#0072B2": "#5AAEE8",
    "#E69F00": "#F0B23C",
    "#009E73": "#3CC79E",
    "#D55E00": "#F58642",
    "#CC79A7": "#E09CC3",
    "#56B4E9": "#7CC8F2",
}
"""The colours of style.py on a dark ground: the same hue, light enough to be seen."""

# As Matplotlib draws them, in line widths on and off.
_NAMED = {"solid": (), "dashed": (3.7, 1.6), "dashdot": (6.4, 1.6, 1.0, 1.6), "dotted": (1.0, 1.65)}

_SYMBOLS = {
    "s": "square",
    "o": "circle",
    "D": "diamond",
    "^": "triangle-up",
    "v": "triangle-down",
    "P": "cross",
    "<": "triangle-left",
    ">": "triangle-right",
    "X": "star",
    "p": "pentagon",
}
"""The markers of marks.py in plotly.js; crosses are diverged trials."""


@dataclass(frozen=True)
class ArmLook:
    """An arm on the page."""

    name: str
    light: str
    """Colour on a light ground."""
    dark: str
    dash: str
    """Lengths on and off in pixels, as SVG and plotly.js write them; empty for a solid line."""
    symbol: str
    """Marker in plotly.js."""


def arm_looks(arms: Sequence[str]) -> tuple[ArmLook, ...]:
    """Return the look of each arm, in their order."""
    marks = arm_marks(arms)
    return tuple(
        ArmLook(arm, style.colour, ON_DARK.get(style.colour, style.colour), _dash(style), _SYMBOLS[marks[arm].marker])
        for arm, style in arm_styles(arms).items()
    )


def _dash(style: ArmStyle) -> str:
    lengths = _NAMED[style.line] if isinstance(style.line, str) else style.line[1] or ()
    return ",".join(f"{length * LINE_WIDTH:g}px" for length in lengths)


POINTS = 32
"""Grid points with curves at most, evenly spaced."""
RECORDS = 100
"""Records kept of a curve at most."""
FEWEST_RECORDS = 20
NUMBERS = 200_000
"""Numbers that all curves may take together, as long as FEWEST_RECORDS are kept: about 1.5 MB of the page."""
DIGITS = 4

Clock = tuple[np.ndarray, np.ndarray]
"""Epochs or steps, and the seconds of training until then."""

MEASURES = ("test_accuracy", "val_accuracy", "train_accuracy", "test_loss", "val_loss", "train_loss")


@dataclass
class Arrays:
    """Lists of numbers under a number of their own; equal ones, as all the x of a run, are kept once."""

    values: list[list[float | None]] = field(default_factory=list)
    _known: dict[tuple[float | None, ...], int] = field(default_factory=dict)

    def add(self, numbers: Iterable[float]) -> int:
        """Return the place of a list, rounded, None where a number isn't finite."""
        key = tuple(rounded(value) for value in numbers)
        if key not in self._known:
            self._known[key] = len(self.values)
            self.values.append(list(key))
        return self._known[key]


def rounded(value: float) -> float | None:
    """Round to DIGITS significant digits; None for what JSON can't hold."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def curve_data(study: Study, preferred: str) -> dict[str, Any]:
    """Return the curves of every measured column, the preferred one first, as the page's script reads them."""
    found = [name for name in MEASURES if name in study.curves and study.curves[name].notna().any()]
    measures = sorted(found, key=lambda name: name != preferred)
    if not measures:
        return {"measures": [], "panels": [], "arrays": [], "axis": "epoch", "note": "Nothing is recorded yet."}
    kept = _records_kept(study, len(measures))
    panels = {name: _panels(study, name) for name in measures}
    clocks = _clocks(study)
    arrays = Arrays()
    places = range(len(next(iter(panels.values())).panels))
    return {
        "axis": panels[measures[0]].axis,
        "measures": [{"name": name, "label": name.replace("_", " ")} for name in measures],
        "panels": [
            {
                "title": ", ".join(point_texts(panels[measures[0]].panels[i].point)),
                "curves": {
                    name: [
                        _thinned(curve, clocks[i][curve.arm], study.arms, arrays, kept)
                        for curve in found.panels[i].curves
                    ]
                    for name, found in panels.items()
                },
            }
            for i in places
        ],
        "arrays": arrays.values,
        "note": _note(list(panels.values()), kept),
    }


def _records_kept(study: Study, measures: int) -> int:
    points = min(POINTS, study.trials[["arm", *study.grid_keys]].drop_duplicates().shape[0])
    return int(np.clip(NUMBERS // (3 * measures * max(points, 1)), FEWEST_RECORDS, RECORDS))


def _panels(study: Study, column: str, timed: bool = False) -> Panels:
    curves = study.curves.assign(**{column: study.curves[column].replace([np.inf, -np.inf], np.nan)})
    return make_panels(
        study.trials, curves, grid_keys=study.grid_keys, arms=study.arms, column=column, limit=POINTS, timed=timed
    )


def _clocks(study: Study) -> list[dict[str, Clock]]:
    """Return for each panel, arm by arm, what the clock showed."""
    pairs = zip(_panels(study, "seconds").panels, _panels(study, "seconds", timed=True).panels, strict=True)
    return [
        {curve.arm: (curve.x, timed.x) for curve, timed in zip(panel.curves, clock.curves, strict=True)}
        for panel, clock in pairs
    ]


def _thinned(curve: ArmCurve, clock: Clock, arms: Sequence[str], arrays: Arrays, kept: int) -> dict[str, Any]:
    """Return a curve with at most so many records, evenly spaced, the first and the last among them."""
    places = np.unique(np.linspace(0, len(curve.x) - 1, kept).round().astype(int))
    x = curve.x[places]
    data: dict[str, Any] = {
        "arm": arms.index(curve.arm),
        "seeds": curve.seeds,
        "x": arrays.add(x),
        "seconds": arrays.add(np.interp(x, *clock)),
        "mean": arrays.add(curve.mean[places]),
    }
    if curve.seeds > 1:
        data |= {"low": arrays.add(curve.low[places]), "high": arrays.add(curve.high[places])}
    if curve.crosses:
        data["crosses"] = [[rounded(x), rounded(y)] for x, y in curve.crosses]
    return data


def _note(panels: Sequence[Panels], kept: int) -> str:
    """Say what was left out of the curves."""
    longest = max((len(curve.x) for found in panels for panel in found.panels for curve in panel.curves), default=0)
    shown, total = len(panels[0].panels), panels[0].total
    parts = [f"curves of {shown} of {total} grid points, evenly spaced"] if shown < total else []
    if longest > kept:
        parts.append(f"{kept} of up to {longest} records per curve, evenly spaced, with the first and the last")
    else:
        parts.append("every record")
    return f"On this page: {'; '.join(parts)}; numbers rounded to {DIGITS} digits. curves.csv has all of them."


LOG_SPAN = 10
"""An axis of positive values that span more than this is logarithmic."""
DIFFERENCES = 60
"""Grid points in the chart of differences at most, evenly spaced; the table has all."""


def chart_data(study: Study, comparison: Comparison) -> dict[str, Any]:
    """Return everything that the charts show; arms and grid points are numbers into their lists."""
    points = grid_points(study.trials, study.grid_keys)
    return {
        "arms": [asdict(look) for look in arm_looks(study.arms)],
        "width": LINE_WIDTH,
        "baseline": comparison.baseline,
        "metric": comparison.metric.replace("_", " "),
        "loss": lower_is_better(comparison.metric),
        "mixed": bool(comparison.data_sets),
        "threshold": comparison.threshold,
        "points": [", ".join(point_texts(point)) for point in points],
        "axes": [_axis(key, points, study.grid_keys) for key in study.grid_keys],
        "trials": _trials(study, comparison.metric),
        "differences": _differences(study, comparison),
        "curves": curve_data(study, METRICS[comparison.metric]),
    }


def embedded(data: dict[str, Any]) -> str:
    """Write JSON in which nothing can end a script element or open a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _axis(key: str, points: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """Return a swept setting as an axis: the value at every grid point, or its place among the values' names."""
    values = [point[key] for point in points]
    name = short_keys(keys)[key]
    if len(set(map(repr, values))) > 1 and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    ):
        log = min(values) > 0 and max(values) > LOG_SPAN * min(values)
        return {"name": name, "values": values, "log": log}
    names = list(dict.fromkeys(map(value_text, values)))
    return {"name": name, "values": [names.index(value_text(value)) for value in values], "names": names}


def _trials(study: Study, metric: str) -> dict[str, list[Any]]:
    """Return a list per column, over the trials that ended with a value."""
    numbers = {arm: i for i, arm in enumerate(study.arms)}
    frame = study.trials.assign(point=point_numbers(study.trials, study.grid_keys))
    value = pd.to_numeric(frame[metric]).map(rounded)
    shown = frame["outcome"].isin(FINISHED) & value.notna() & frame["arm"].isin(numbers)
    frame = frame[shown]
    return {
        "trial": frame["trial"].tolist(),
        "arm": [numbers[arm] for arm in frame["arm"]],
        "seed": frame["seed"].tolist(),
        "point": frame["point"].tolist(),
        "value": value[shown].tolist(),
        "diverged": (frame["outcome"] == "diverged").tolist(),
    }


def _differences(study: Study, comparison: Comparison) -> dict[str, Any]:
    """Return the paired differences by grid point, and those over all grid points."""
    arms = [arm for arm in study.arms if arm != comparison.baseline]
    rows = [row for row in comparison.rows if row.arm in arms and row.difference is not None]
    points = list({repr(row.point): row.point for row in rows}.values())
    drawn = [points[i] for i in evenly(len(points), DIFFERENCES)]
    keys = comparison.grid_keys
    return {
        "titles": [", ".join(point_texts(point)) for point in drawn],
        "axis": _axis(keys[0], drawn, keys) if len(keys) == 1 and len(drawn) > 1 else None,
        "total": len(points),
        "rows": [
            {"point": drawn.index(row.point), **_difference(row, study.arms, row.pairs)}
            for row in rows
            if row.point in drawn
        ],
        "overall": [
            _difference(row, study.arms, row.seeds)
            for row in comparison.overall
            if row.arm in arms and row.difference is not None
        ],
    }


def _difference(row: ArmRow | Overall, arms: Sequence[str], pairs: int) -> dict[str, Any]:
    known = {"mean": row.difference, "low": row.difference_low, "high": row.difference_high, "p": row.p}
    numbers = {name: None if value is None else rounded(value) for name, value in known.items()}
    return {"arm": arms.index(row.arm), "pairs": pairs, "better": row.better, **numbers}
