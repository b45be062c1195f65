"""One row of a comparison: an arm's finished trials at a grid point, or over several, as statistics over seeds."""

from typing import Any

import numpy as np

from bnexp.analysis.comparison import ArmRow, Point
from bnexp.analysis.complete import FOR_A_SPREAD, complete
from bnexp.analysis.intervals import mean_interval
from bnexp.analysis.metrics import bounds
from bnexp.analysis.paired import paired_fields
from bnexp.analysis.rates import wilson_interval
from bnexp.analysis.thresholds import censored_median, restricted_mean

TIMED = 1.0
"""Seconds that the steps of an arm have to take together before their time is compared: shorter, it is noise."""


@np.errstate(divide="ignore", invalid="ignore")  # inf − inf, and steps too short for the clock
def arm_row(cell: Any, point: Point, baseline: str, metric: str) -> ArmRow:
    """Return the row of a cell from `bnexp.analysis.pairing.cells`, with `budget` in epochs beside the measures."""
    finished, arm = cell[cell["finished"]], str(cell["arm"][0])
    pairs = finished[finished["paired"] & (arm != baseline)]
    whole, whole_pairs = _balanced(finished), _balanced(pairs)
    values, (treated, partners) = by_seed(whole, "value")[0], by_seed(whole_pairs, "value", "partner_value")
    mean = mean_interval(values, bounds=bounds(metric))
    trained = _once(finished)
    diverged = trained["outcome"] == "diverged"
    rate = wilson_interval(int(diverged.sum()), len(trained))
    epoch = censored_median(trained["epoch"])
    return ArmRow(
        point=point,
        arm=arm,
        baseline=baseline,
        n=len(values),
        mean=mean.mean,
        low=mean.low,
        high=mean.high,
        pairs=len(treated),
        **paired_fields(treated, partners, metric),
        trials=len(trained),
        diverged=int(diverged.sum()),
        diverged_low=rate and rate[0],
        diverged_high=rate and rate[1],
        survivors_mean=mean_interval(trained["value"][~diverged]).mean if diverged.any() else None,
        failed=int(np.sum(_once(cell)["outcome"] == "failed")),
        gap=mean_interval(whole["gap"]).mean,
        epochs_to_threshold=None if epoch is None else int(epoch),
        reached=int(np.sum(~np.isnan(trained["epoch"]))),
        restricted_epochs=restricted_mean(whole["epoch"], whole["budget"]),
        first=_first(whole_pairs),
        seconds_to_threshold=censored_median(trained["there"]),
        seconds_per_epoch=_median(trained["seconds_per_epoch"]),
        step_cost=_step_cost(pairs),
    )


def _once(trials: Any, training: str = "training") -> Any:
    """Return each training once, whichever grid points it stands at."""
    _, firsts = np.unique(trials[training], return_index=True)
    return trials[firsts]


def _balanced(trials: Any) -> Any:
    """Return the trials of the seeds that have all grid points: means over others would not be over the same."""
    one_point = len(np.unique(trials["point"])) < 2
    return trials if one_point else trials[complete(trials["point"], trials["seed"], FOR_A_SPREAD)]


def by_seed(trials: Any, *columns: str) -> list[np.ndarray]:
    """Return each seed's mean of each column; where a seed has one trial, that is its value."""
    seeds, places = np.unique(trials["seed"], return_inverse=True)
    if len(seeds) == len(trials):
        return [np.asarray(trials[name], dtype=float) for name in columns]
    counts = np.bincount(places)
    return [np.bincount(places, weights=trials[name]) / counts for name in columns]


def _first(pairs: Any) -> int:
    # NaN is never: later than every epoch.
    mine, theirs = (np.nan_to_num(pairs[name], nan=np.inf) for name in ("epoch", "partner_epoch"))
    _, places = np.unique(pairs["seed"], return_inverse=True)
    lead = np.bincount(places, weights=(mine < theirs)) - np.bincount(places, weights=(mine > theirs))
    return int(np.sum(lead > 0))


def _step_cost(pairs: Any) -> float | None:
    """Return how much longer a step takes than the baseline's; None where either was timed for too short."""
    sides = (("seconds", "training"), ("partner_seconds", "partner_training"))
    timed = min(np.nansum(_once(pairs, training)[name]) for name, training in sides)
    return _median(pairs["seconds_per_step"] / pairs["partner_seconds_per_step"]) if timed >= TIMED else None


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None
