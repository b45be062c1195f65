"""The numbers that the page's charts are drawn from, as lists and dictionaries for JSON."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.comparison import ArmRow, Comparison, Overall
from bnexp.analysis.pairing import FINISHED, grid_points, point_numbers
from bnexp.analysis.study import METRICS, Study, is_number, lower_is_better
from bnexp.report.panels import ArmCurve, Panels, distinct, evenly, make_panels
from bnexp.report.style import LINE_WIDTH, ArmStyle, arm_styles, is_logarithmic, point_title, short_keys, value_text

POINTS = 36
"""Most grid points with curves; they are evenly spaced."""
RECORDS = 100
"""Most records of a curve."""
FEWEST_RECORDS = 20
NUMBERS = 200_000
"""Most numbers of all curves together, about 1.5 MB of the page; each curve keeps FEWEST_RECORDS all the same."""
DIGITS = 4
TRIALS = 2000
"""Most trials with a point and a row; they are evenly spaced."""
DIFFERENCES = 60
"""Most grid points in the chart of differences, evenly spaced; the table has all."""
MEASURES = ("test_accuracy", "val_accuracy", "train_accuracy", "test_loss", "val_loss", "train_loss")

Keep = Callable[[np.ndarray], int]
"""Stores a list of numbers and returns its place; equal lists, such as the x of a run's curves, are stored once."""


def chart_data(study: Study, comparison: Comparison) -> dict[str, Any]:
    """Return everything that the charts show; arms and grid points are indices into their lists."""
    points = grid_points(study.trials, study.grid_keys)
    return {
        "arms": [_arm(study.label(arm), style) for arm, style in arm_styles(study.arms).items()],
        "width": LINE_WIDTH,
        "metric": comparison.metric.replace("_", " "),
        "loss": lower_is_better(comparison.metric),
        "mixed": bool(comparison.data_sets),
        "threshold": comparison.threshold,
        "points": [point_title(point) for point in points],
        "axes": [_axis(key, points, study.grid_keys) for key in study.grid_keys],
        "trials": _trials(study, comparison.metric),
        "differences": _differences(study, comparison),
        "curves": curve_data(study, METRICS[comparison.metric]),
    }


def _arm(label: str, style: ArmStyle) -> dict[str, str]:
    return {"name": label, "light": style.colour, "dark": style.dark, "dash": style.dash, "symbol": style.symbol}


def rounded(numbers: np.ndarray) -> list[float | None]:
    """Round numbers to DIGITS significant digits; None for those that JSON can't hold."""
    known = np.isfinite(numbers)
    values = np.where(known, numbers, 0.0)
    with np.errstate(divide="ignore"):
        places = DIGITS - 1 - np.floor(np.log10(np.abs(values)))
    power = 10.0 ** np.minimum(np.abs(places), 300)  # 0 has no digits
    values = np.where(places > 0, np.rint(values * power) / power, np.rint(values / power) * power)
    return [value if finite else None for value, finite in zip(values.tolist(), known.tolist(), strict=True)]


def round_one(value: float | None) -> float | None:
    """Round a number as `rounded` does."""
    return None if value is None else rounded(np.array([value], dtype=float))[0]


# Curves.


def curve_data(study: Study, preferred: str) -> dict[str, Any]:
    """Return the curves of every measured column, the preferred one first, as the page's script reads them."""
    found = [name for name in MEASURES if name in study.curves and study.curves[name].notna().any()]
    measures = sorted(found, key=lambda name: name != preferred)
    if not measures:
        return {"measures": [], "panels": [], "arrays": [], "axis": "epoch", "note": "Nothing is recorded yet."}
    panels = {name: make_panels(study, name, limit=POINTS) for name in measures}
    records, seconds = (make_panels(study, "seconds", limit=POINTS, timed=timed) for timed in (False, True))
    clocks = [
        {curve.arm: (curve.x, timed.x) for curve, timed in zip(record.curves, second.curves, strict=True)}
        for record, second in zip(records.panels, seconds.panels, strict=True)
    ]
    first = panels[measures[0]]
    kept = int(np.clip(NUMBERS // (3 * len(measures) * max(len(records.curves), 1)), FEWEST_RECORDS, RECORDS))
    arrays: dict[tuple[float | None, ...], int] = {}

    def keep(numbers: np.ndarray) -> int:
        return arrays.setdefault(tuple(rounded(numbers)), len(arrays))

    def drawn(name: str, i: int) -> list[dict[str, Any]]:
        curves = panels[name].panels[i].curves
        return [_curve(curve, clocks[i][curve.arm], study.arms, keep, kept) for curve in curves]

    return {
        "axis": first.axis,
        "columns": first.columns,
        "measures": [{"name": name, "label": name.replace("_", " ")} for name in measures],
        "panels": [
            {"title": point_title(panel.point), "curves": {name: drawn(name, i) for name in measures}}
            for i, panel in enumerate(first.panels)
        ],
        "arrays": [list(numbers) for numbers in arrays],
        "note": _note(list(panels.values()), kept),
    }


def _curve(
    curve: ArmCurve, clock: tuple[np.ndarray, np.ndarray], arms: Sequence[str], keep: Keep, kept: int
) -> dict[str, Any]:
    """Return a curve with at most `kept` records, evenly spaced, the first and the last among them.

    Its clocks are x (epochs or steps) and the seconds of training so far.
    """
    places = evenly(len(curve.x), kept)
    x = curve.x[places]
    data: dict[str, Any] = {
        "arm": arms.index(curve.arm),
        "seeds": curve.seeds,
        "x": keep(x),
        "seconds": keep(np.interp(x, *clock)),
        "mean": keep(curve.mean[places]),
    }
    if curve.seeds > 1:
        data |= {"low": keep(curve.low[places]), "high": keep(curve.high[places])}
    if curve.crosses:
        data["crosses"] = [rounded(np.array(cross)) for cross in curve.crosses]
    return data


def _note(panels: Sequence[Panels], kept: int) -> str:
    """Say what was left out of the curves."""
    longest = max((len(curve.x) for found in panels for curve in found.curves), default=0)
    shown, total = len(panels[0].panels), panels[0].total
    parts = [f"curves of {shown} of {total} grid points, evenly spaced"] if shown < total else []
    if longest > kept:
        parts.append(f"{kept} of up to {longest} records per curve, evenly spaced, with the first and the last")
    else:
        parts.append("every record")
    return f"On this page: {'; '.join(parts)}; numbers rounded to {DIGITS} digits. curves.csv has all of them."


# Trials and differences.


def shown_trials(study: Study) -> pd.DataFrame:
    """Return the trials that the page shows one by one: all, or TRIALS of them, evenly spaced with both ends."""
    return study.trials.iloc[evenly(len(study.trials), TRIALS)]


def _axis(key: str, points: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """Return a swept setting as an axis: its value at every grid point or, for names, the index among them."""
    values, name = [point[key] for point in points], short_keys(keys)[key]
    if len(distinct(values)) > 1 and all(map(is_number, values)):
        return {"name": name, "values": values, "log": is_logarithmic(values)}
    names = list(dict.fromkeys(map(value_text, values)))
    return {"name": name, "values": [names.index(value_text(value)) for value in values], "names": names}


def _trials(study: Study, metric: str) -> dict[str, list[Any]]:
    """Return a list per column, over the trials that ended with a value."""
    numbered = replace(study, trials=study.trials.assign(point=point_numbers(study.trials, study.grid_keys)))
    frame = shown_trials(numbered)
    frame = frame.assign(
        value=pd.Series(rounded(frame[metric].to_numpy(dtype=float)), frame.index, dtype=float),
        diverged=frame["outcome"] == "diverged",
    )
    shown = frame["outcome"].isin(FINISHED) & frame["value"].notna() & frame["arm"].isin(study.arms)
    frame = frame[shown].assign(arm=lambda these: these["arm"].map(study.arms.index))
    return {name: frame[name].tolist() for name in ("trial", "arm", "seed", "point", "value", "diverged")}


def _differences(study: Study, comparison: Comparison) -> dict[str, Any]:
    """Return the paired differences by grid point, and those over all grid points."""
    rows = [row for row in comparison.rows if row.arm != comparison.baseline and row.difference is not None]
    overall = [row for row in comparison.overall if row.arm != comparison.baseline and row.difference is not None]
    points = distinct(row.point for row in rows)
    shown = [points[i] for i in evenly(len(points), DIFFERENCES)]
    keys = comparison.grid_keys
    return {
        "titles": [point_title(point) for point in shown],
        "axis": _axis(keys[0], shown, keys) if len(keys) == 1 and len(shown) > 1 else None,
        "total": len(points),
        "rows": [
            {"point": shown.index(row.point), **_difference(row, study.arms, row.pairs)}
            for row in rows
            if row.point in shown
        ],
        "overall": [_difference(row, study.arms, row.seeds) for row in overall],
    }


def _difference(row: ArmRow | Overall, arms: Sequence[str], pairs: int) -> dict[str, Any]:
    numbers = {"mean": row.difference, "low": row.difference_low, "high": row.difference_high, "p": row.p}
    return {"arm": arms.index(row.arm), "pairs": pairs, "better": row.better} | {
        name: round_one(value) for name, value in numbers.items()
    }
