"""What a comparison of arms holds, without a NaN, ready for a table or for JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bnexp.analysis.tuning_curve import TuningLead, TuningRow

Point = dict[str, Any]
"""Grid key to value, in the order of the grid keys; None for null."""


EVERYWHERE = "all"
"""Replaces the value in a row over all values."""


@dataclass(frozen=True)
class ArmRow:
    """One arm at one grid point, or over several. None: it can't be known or, at the baseline, doesn't apply."""

    point: Point
    arm: str
    baseline: str
    n: int
    """Seeds with a finished trial, completed or diverged. If a row covers several grid points: seeds that have all of
    them."""
    mean: float | None
    """The metric's mean over the n seeds; low and high are the ends of its t interval, cut at the metric's bounds."""
    low: float | None
    high: float | None
    difference: float | None
    """Mean of arm - baseline over the pairs."""
    difference_low: float | None
    difference_high: float | None
    deviation: float | None
    """Standard deviation of the differences over the pairs."""
    effect: float | None
    """Mean difference over that deviation, d_z, with Hedges' correction."""
    p: float | None
    """From the two-sided sign-flip test over the pairs."""
    pairs: int
    """Seeds whose trial in the baseline finished too; 0 in the baseline's own row."""
    better: int | None
    """Pairs in which the arm did better than the baseline; None where no loss of either side is finite."""
    trials: int
    """Finished trials: n, or more if a row covers several grid points, since those of all seeds count."""
    diverged: int
    diverged_low: float | None
    """95 % Wilson interval of the rate diverged / trials."""
    diverged_high: float | None
    survivors_mean: float | None
    """Mean over the trials that did not diverge; None where none did, or all."""
    failed: int
    gap: float | None
    """Final training accuracy - final test accuracy (validation, where there is no test), over the finished trials."""
    epochs_to_threshold: int | None
    """The epoch by which half of the finished trials had reached the threshold; None where fewer ever did."""
    reached: int
    restricted_epochs: float | None
    """Mean of the epochs to the threshold; a trial that never got there counts with its whole budget."""
    first: int
    """Pairs in which the arm reached the threshold, and the baseline later or never. Over several grid points:
    seeds."""
    seconds_to_threshold: float | None
    """Median, censored like the epochs."""
    seconds_per_epoch: float | None
    """Median over the finished trials; a trial's share of the time of the group that it trained in."""
    step_cost: float | None
    """Median over the pairs of a step's time, arm / baseline; None where either's steps took less than a second."""


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
    bootstrap_low: float | None
    """95 % BCa bootstrap interval of the difference, from ten seeds on."""
    bootstrap_high: float | None
    deviation: float | None
    effect: float | None
    p: float | None
    seeds: int
    """Seeds that have a pair at each of the grid points: those that the statistics are over."""
    better: int | None
    """How many of these seeds the arm did better in; None where no loss of either side is finite."""
    points: int
    """Grid points that each seed's mean is over; fewer than the comparison's where the arm has no pair at some."""
    seeds_left_out: int = 0
    """Seeds that have pairs, but not at each of the grid points."""


@dataclass(frozen=True)
class BestRow:
    """One arm at the grid point that was best on validation images, measured by the metric."""

    arm: str
    baseline: str
    point: Point
    validation: float | None
    """Mean there of what chose the point, over the seeds that chose; None where it isn't finite."""
    n: int
    mean: float | None
    """The metric's mean over all seeds that finished there; low and high are the ends of its interval."""
    low: float | None
    high: float | None
    difference: float | None
    """To the baseline at its own best point, paired over seeds."""
    difference_low: float | None
    difference_high: float | None
    deviation: float | None
    effect: float | None
    p: float | None
    pairs: int
    better: int | None
    candidates: int
    """Grid points that the arm had to choose from; several at which it trains the same count once."""
    excluded: tuple[str, ...]
    """Grid points that were no candidates: no trial has finished there, or too few to share a seed with the others."""
    seeds: int
    """Seeds that finished all candidates; the candidates are compared over these."""
    seeds_left_out: int
    """Seeds that finished only some of the candidates."""
    epochs: int
    """Epochs that its trials took together, each training counted once."""
    edges: tuple[str, ...]
    """Grid keys whose chosen value is the smallest or the largest of three or more that were tried."""
    inactive: tuple[str, ...] = ()
    """Grid keys that have no effect on the arm at its point: with their other values it trains the same."""
    partly_inactive: tuple[str, ...] = ()
    """Grid keys that have an effect on the arm at some of its points only."""

    @property
    def active_point(self) -> Point:
        """The point without the grid keys that have no effect."""
        return {key: value for key, value in self.point.items() if key not in self.inactive}


@dataclass(frozen=True)
class RobustnessRow:
    """One arm along one swept axis of numbers, over all seeds and all other grid keys."""

    axis: str
    arm: str
    baseline: str
    values: int
    """At how many values of the axis a trial of the arm has finished."""
    worst: float | None
    """The lowest mean of the metric along the axis, for a loss the highest; None if it isn't finite."""
    worst_at: float | None
    best: float | None
    best_at: float | None
    spread: float | None
    """Between the two."""
    usable: int
    """Values at which, at some setting of the other keys, 90 % of the seeds completed above `usable_above`."""
    usable_low: float | None
    """Ends of the longest stretch of usable values."""
    usable_high: float | None
    width: float | None
    """usable_high / usable_low; None without a stretch, or where the axis has values that aren't positive."""
    width_ratio: float | None
    """The width over the baseline's."""
    usable_above: float | None = None
    """The accuracy above which a trial has learned something: that of guessing plus a margin; see chance."""
    guessing: float | None = None
    """The accuracy of guessing."""
    guessing_measured: bool = False
    """True if guessing is the mean accuracy before training, because the number of classes isn't known."""


@dataclass(frozen=True)
class EvaluationRow:
    """One arm at one grid point, its weights evaluated in three ways when the probe mode_gap was last taken."""

    point: Point
    arm: str
    baseline: str
    n: int
    running: float | None
    """Mean with the running averages: what every other table reports."""
    population: float | None
    """Mean with statistics recomputed over the training images."""
    batch: float | None
    """Mean with the statistics of each batch of test images."""
    running_difference: float | None
    """Mean of arm - baseline over the pairs, with the running averages."""
    running_low: float | None
    running_high: float | None
    running_p: float | None
    difference: float | None
    """With the population statistics, as are the interval and p."""
    difference_low: float | None
    difference_high: float | None
    p: float | None
    pairs: int


@dataclass(frozen=True)
class PlanRow:
    """The pairs that one arm has, and how many a study needs. None: it can't be known, or far too many are needed.

    `low` and `high` belong to the ends of the 95 % interval of the standard deviation.
    """

    point: Point
    """Every grid key is `all` in the row over all grid points."""
    arm: str
    baseline: str
    pairs: int
    deviation: float | None
    """Standard deviation of the differences to the baseline."""
    deviation_low: float | None
    deviation_high: float | None
    half_width: float | None
    """Half the width of the 95 % interval that these pairs give."""
    width: float
    """The half-width asked for."""
    seeds: int | None
    """Pairs that narrow the interval to the half-width asked for."""
    seeds_low: int | None
    seeds_high: int | None
    detectable: float | None
    """The smallest true difference that as many pairs as these settle in 4 of 5 studies."""
    true_difference: float | None = None
    """The true difference asked about."""
    power: float | None = None
    """Share of studies with as many pairs as these that settle it."""
    power_low: float | None = None
    power_high: float | None = None
    seeds_to_settle: int | None = None
    """Pairs that settle it in 4 of 5 studies."""
    seeds_to_settle_low: int | None = None
    seeds_to_settle_high: int | None = None


@dataclass(frozen=True)
class SequentialRow:
    """One arm of an experiment that adds seeds until it is decided, over all grid points."""

    arm: str
    baseline: str
    pairs: int
    looks: int
    """How often the data have been looked at."""
    most: int
    """The largest number of seeds."""
    until: float | str
    """Half-width to reach, or `settled`: an interval without 0."""
    difference: float | None
    difference_low: float | None
    """Ends of the interval that is valid at all looks together."""
    difference_high: float | None
    p: float | None
    """From the sign-flip test on the pairs so far; it doesn't allow for earlier looks."""
    usual_low: float | None
    """Ends of the usual 95 % interval, which is valid for a number of seeds that was fixed beforehand."""
    usual_high: float | None
    final_half_width: float | None
    """Half the width that the valid interval will have with all seeds, judged by the spread of the pairs so far."""
    decided: bool


@dataclass(frozen=True)
class Rung:
    """One arm between no normalization and whole batch normalization: its differences to both, paired over seeds.

    At equal settings, as the mean over all grid points; and `best`, each arm at its own best point, where it has one.
    """

    arm: str
    baseline: str
    full: str
    """The arm that is whole batch normalization."""
    mean: float | None
    seeds: int
    points: int
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p: float | None
    to_full_difference: float | None
    to_full_difference_low: float | None
    to_full_difference_high: float | None
    to_full_p: float | None
    best_difference: float | None
    best_difference_low: float | None
    best_difference_high: float | None
    best_p: float | None
    best_to_full_difference: float | None
    best_to_full_difference_low: float | None
    best_to_full_difference_high: float | None
    best_to_full_p: float | None


@dataclass(frozen=True)
class AcrossRow:
    """One arm at one value of a setting, such as a data set, or over all of its values."""

    arm: str
    baseline: str
    key: str
    value: Any
    """`all` in the row over all values."""
    seeds: int
    """Seeds that have a pair; in the row over all values the smallest of these numbers."""
    mean: float | None
    """None in the row over all values, which have no common measure; so are the differences."""
    baseline_mean: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p: float | None
    improvement: float | None
    """Probability that a trial of the arm beats one of the baseline; over all values the mean."""
    improvement_low: float | None
    improvement_high: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of the arms of one or several runs; intervals cover 95 %."""

    metric: str
    baseline: str
    threshold: float
    """The accuracy to reach; every row reports when it was first reached."""
    grid_keys: tuple[str, ...]
    rows: tuple[ArmRow, ...]
    """By grid point and arm, in the order of trials.csv."""
    overall: tuple[Overall, ...] = ()
    """One per arm with pairs, in the order of the arms; the baseline is paired with itself."""
    best: tuple[BestRow, ...] = ()
    """One per arm; empty without validation images or with a single grid point."""
    robustness: tuple[RobustnessRow, ...] = ()
    """One per axis and arm; empty without a swept axis of numbers."""
    finished: int
    """Trials with an outcome, failed ones included."""
    planned: int
    failed: int = 0
    """Trials that broke off with an error: they are in no mean."""
    failure: str = ""
    """The error of the first of them, in one line; empty where that isn't known."""
    diverged: int = 0
    """Trials that ended diverged."""
    images: int | None = None
    """Test images behind each accuracy; None where that isn't known, seeds have others, or the metric is another."""
    new_splits: bool = False
    """True if each seed has a split of its own, so that intervals include the choice of the images."""
    points: int = 1
    """Grid points of the trials, which `overall` takes together; rows may be fewer, and by fewer keys."""
    tuned: bool = False
    """True if arms chose settings of their own on validation images: no interval includes the noise of that choice."""
    tunings: int = 0
    """Independent tuning studies that n and pairs count instead of seeds, so that intervals include the luck of the
    choice; 0 if seeds are counted."""
    evaluations: tuple[EvaluationRow, ...] = ()
    """One per grid point and arm at which the probe mode_gap was taken."""
    ladder: tuple[Rung, ...] = ()
    """One per arm, the best first, where the arms take batch normalization apart."""
    sequence: tuple[SequentialRow, ...] = ()
    """One per arm except the baseline, if seeds are added until every difference is decided."""
    across: tuple[AcrossRow, ...] = ()
    """One per arm and value of a setting, and over all values; empty unless it was asked for."""
    plan: tuple[PlanRow, ...] = ()
    """One per arm and grid point, and over all points; empty unless it was asked for."""
    tuning: tuple[TuningRow, ...] = ()
    """One per arm, grid point and number of tries of a tuning; empty unless it was asked for."""
    tuning_leads: tuple[TuningLead, ...] = ()
    """Between an arm and the baseline, where one of them needs fewer tries; empty unless it was asked for."""
    data_sets: tuple[str, ...] = ()
    """The names of the data sets, where there are several. Nothing is averaged over them."""
    warnings: tuple[str, ...] = ()
    """Reasons why the tables could mislead."""
    differs: tuple[str, ...] = ()
    """Settings that differ between several runs, with their values."""
    left_out: tuple[str, ...] = ()
    """Runs and trials that are not in the comparison, and why."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Names of arms in tables, where they have a label."""

    def label(self, arm: str) -> str:
        """Return what tables call an arm."""
        return self.labels.get(arm, arm)

    @property
    def unit(self) -> str:
        """What n and pairs count: `seed`, or `tuning`."""
        return "tuning" if self.tunings else "seed"

    @property
    def begun(self) -> tuple[ArmRow, ...]:
        """The rows that have a trial that ended."""
        return tuple(row for row in self.rows if row.trials or row.failed)
