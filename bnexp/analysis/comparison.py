"""What a comparison of arms holds: plain frozen records without a NaN, ready for a table or for JSON."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ArmRow:
    """One arm at one grid point; None is what can't be known or, in the baseline's own row, doesn't apply."""

    point: dict[str, Any]
    """Grid key to value, in the order of the grid keys."""
    arm: str
    baseline: str
    n: int
    """Trials that finished: completed or diverged."""
    mean: float | None
    """Of the metric over the n trials, as are low and high."""
    low: float | None
    high: float | None
    difference: float | None
    """Mean of arm - baseline over the pairs."""
    difference_low: float | None
    difference_high: float | None
    p: float | None
    """Of the sign-flip test over the pairs."""
    pairs: int
    """Trials whose partner in the baseline finished too; 0 in the baseline's own row."""
    diverged: int
    failed: int
    epochs_to_threshold: int | None
    """The epoch by which half of the n trials had reached the threshold; None where fewer ever did."""
    reached: int


@dataclass(frozen=True)
class Overall:
    """One arm over all grid points: each seed's mean over its pairs, then statistics over the seeds."""

    arm: str
    mean: float | None
    baseline_mean: float | None
    """Over the same pairs, so that mean - baseline_mean is the difference."""
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p: float | None
    seeds: int


@dataclass(frozen=True)
class Comparison:
    """What a run says about its arms; intervals cover 95 %."""

    metric: str
    baseline: str
    threshold: float
    """The accuracy whose first reaching every row reports."""
    grid_keys: tuple[str, ...]
    rows: tuple[ArmRow, ...]
    """By grid point and arm, in the order in which they first come in trials.csv."""
    overall: tuple[Overall, ...]
    """One per arm with pairs, in the order of the arms; the baseline's pairs it with itself."""
    finished: int
    """Trials with an outcome, failed ones included."""
    planned: int
