"""The numbers that the page's charts are drawn from, as JSON that can stand inside a script element."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from bnexp.analysis.comparison import ArmRow, Comparison, Overall
from bnexp.analysis.metrics import METRICS, lower_is_better
from bnexp.analysis.pairing import FINISHED, grid_points, point_numbers
from bnexp.analysis.study import Study
from bnexp.report.html.arms import LINE_WIDTH, arm_looks
from bnexp.report.html.curves import curve_data, rounded
from bnexp.report.labels import point_texts, short_keys, value_text
from bnexp.report.panels import evenly

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
