"""Learning curves for the page: the panels of the figure, thinned to what a screen can show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bnexp.analysis.study import Study
from bnexp.report.labels import point_texts
from bnexp.report.panels import ArmCurve, Panels, make_panels

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
