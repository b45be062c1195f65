"""Seeds until decided: intervals that stay valid although one looks at them again and again.

Whoever adds seeds until the usual 95 % interval excludes 0 is wrong far more often than 5 times in 100. Here the 5 %
are spent over all looks together, evenly over the seeds: a spending function (Lan & DeMets 1983,
doi:10.1093/biomet/70.3.659). At each look the interval is mean ± c · s/√n, and in 95 of 100 studies all of them hold
the true difference: repeated confidence intervals (Jennison & Turnbull 1989, doi:10.1111/j.2517-6161.1989.tb01433.x).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from math import ceil, sqrt

import numpy as np

from bnexp.analysis.comparison import Comparison, SequentialRow
from bnexp.analysis.pairing import balanced, pair_trials, paired_difference, seed_means
from bnexp.analysis.planning import deviation_interval
from bnexp.analysis.stats import Bounds, Interval, all_finite, differences, is_constant, mean_interval
from bnexp.analysis.study import Study, difference_bounds
from bnexp.config.experiment import ExperimentConfig, at_look
from bnexp.config.seeds import MOST_ADDED, MoreSeeds

ERROR = 0.05
"""How often, over all looks together, an interval may miss the true difference."""
STUDIES = 200_000
"""Simulated studies behind the critical values. They are known to about 1 % in the first looks, and better later."""


@lru_cache
def critical_values(looks: tuple[int, ...], most: int) -> tuple[float, ...]:
    """Return what |t| has to exceed at each look, instead of Student's quantile.

    The t statistics of normal differences at all looks have one joint distribution, whatever the mean and the spread
    are. It is simulated, the same on every call: at each look the value is chosen so that the share of studies that
    have exceeded theirs by then is ERROR · n / most.

    Args:
        looks: numbers of pairs, growing, each at least 2.
        most: the pairs after which the error is spent.
    """
    random, found = np.random.default_rng(0), []
    total, squares, count, crossed = np.zeros(STUDIES), np.zeros(STUDIES), 0, 0
    for pairs in looks:
        drawn = random.standard_normal((pairs - count, STUDIES))
        total, squares, count = total + drawn.sum(0), squares + (drawn**2).sum(0), pairs
        variance = (squares - total**2 / pairs) / (pairs - 1)
        t = np.abs(total) / np.sqrt(pairs * variance)
        spend = max(1, round(ERROR * min(1, pairs / most) * STUDIES) - crossed)
        critical = float(np.partition(t, -spend)[-spend])
        crossed += int((t >= critical).sum())
        left = t < critical
        total, squares = np.where(left, total, 0), np.where(left, squares, np.inf)  # none crosses twice
        found.append(critical)
    return tuple(found)


def with_sequence(comparison: Comparison, study: Study) -> Comparison:
    """Return the comparison with the intervals of an experiment that adds seeds until it is decided."""
    configs = list(study.configs.values())
    if len(configs) != 1 or not (plan := configs[0].more_seeds):
        return comparison
    paired = pair_trials(study, baseline=comparison.baseline, metric=comparison.metric)
    order = {seed: place for place, seed in enumerate(configs[0].seeds)}
    rows = []
    for arm in study.arms:
        if arm == comparison.baseline:
            continue
        means = seed_means(balanced(paired[paired["paired"] & (paired["arm"] == arm)]))
        means = means.sort_index(key=lambda seeds: seeds.map(order))
        gains = differences(means["value"].to_numpy(), means["partner_value"].to_numpy())
        rows.append(sequential_row(arm, gains, comparison, plan))
    return replace(comparison, sequence=tuple(rows))


def sequential_row(arm: str, gains: np.ndarray, comparison: Comparison, plan: MoreSeeds) -> SequentialRow:
    """Return how an arm stands after the differences of its seeds so far, in the order of the seeds."""
    usual = paired_difference(gains, np.zeros_like(gains), difference_bounds(comparison.metric))
    looks = looks_so_far(plan, len(gains))
    row = SequentialRow(
        arm=arm,
        baseline=comparison.baseline,
        pairs=len(gains),
        looks=len(looks),
        most=plan.to,
        until=plan.until,
        difference=usual.mean,
        difference_low=None,
        difference_high=None,
        p=usual.p,
        usual_low=usual.low,
        usual_high=usual.high,
        final_half_width=None,
        decided=False,
    )
    # Equal differences have no spread to judge by.
    if len(gains) < 2 or not looks or not all_finite(gains) or is_constant(gains):
        return row
    spread, mean, half = float(gains.std(ddof=1)), float(gains.mean()), _half_width(gains, looks, plan.to)
    found = _interval(mean, half, difference_bounds(comparison.metric))
    return replace(
        row,
        difference_low=found.low,
        difference_high=found.high,
        final_half_width=spread * half_widths(plan)[-1],
        decided=abs(mean) > half if plan.until == "settled" else half <= plan.until,
    )


def valid_interval(values: np.ndarray, looks: Sequence[int], most: int, bounds: Bounds) -> Interval:
    """Return the mean of paired differences and its interval that is valid at every look, cut at the bounds.

    Differences that are all alike have no spread to judge by. Their interval has no width if so many could hardly agree
    by chance: if an exact sign-flip test spends no more than the error up to this look. Otherwise it has no ends.

    Args:
        values: the differences.
        looks: numbers of them at each look up to now, the last of which is all.
        most: the pairs after which the error is spent.
    """
    usual = mean_interval(values, bounds)
    if usual.mean is None or usual.low is None:
        return usual
    if is_constant(values):
        return usual if 2 * 0.5 ** len(values) <= ERROR * len(values) / most else Interval(usual.mean, None, None)
    return _interval(usual.mean, _half_width(values, looks, most), bounds)


def _half_width(values: np.ndarray, looks: Sequence[int], most: int) -> float:
    return critical_values(tuple(looks), most)[-1] * float(values.std(ddof=1)) / sqrt(len(values))


def _interval(mean: float, half: float, bounds: Bounds) -> Interval:
    return Interval(mean, max(mean - half, bounds[0]), min(mean + half, bounds[1]))


def half_widths(plan: MoreSeeds) -> list[float]:
    """Return half the width of the interval at each look, in standard deviations of the paired differences."""
    critical = critical_values(plan.looks, plan.to)
    return [value / sqrt(seeds) for value, seeds in zip(critical, plan.looks, strict=True)]


def looks_outlook(plan: MoreSeeds) -> str:
    """Say how wide intervals will be at the first look and at the last, before anything is trained."""
    first, *_, last = half_widths(plan)
    return (
        f"With all {plan.to} seeds the interval that is valid at every look will be ± {last:.3g} standard deviations "
        f"of the paired differences; with the first {plan.first}, ± {first:.3g}."
    )


def out_of_reach(comparison: Comparison) -> Iterator[str]:
    """Yield a line for each arm whose interval even the most seeds won't narrow to `until`.

    Only the first look tells how much the differences vary, so no experiment can be refused beforehand for that.
    """
    for row in comparison.sequence:
        width, until = row.final_half_width, row.until
        if width is None or isinstance(until, str) or width <= until:
            continue
        found = f"is ± {width:.2g}"
        if row.pairs < row.most:
            low, high = deviation_interval(width, row.pairs)  # the width is so many deviations
            found = f"will be about ± {width:.2g} [{low:.2g}, {high:.2g}], judged by {row.pairs} pairs"
        needed = ceil(row.most * (width / until) ** 2)
        remedy = f"about {needed} seeds (to: {needed})" if needed <= MOST_ADDED else f"more than {MOST_ADDED} seeds"
        yield (
            f"out of reach: with all {row.most} seeds the interval of {comparison.label(row.arm)} {found}, "
            f"and until is {until:g}; that takes {remedy}"
        )


def looks_so_far(plan: MoreSeeds, pairs: int) -> tuple[int, ...]:
    """Return the numbers of pairs at the looks so far; the last is the actual number, even if a seed failed."""
    before = [look for look in plan.looks if 2 <= look < pairs]
    return (*before, pairs) if pairs > 1 else ()


def next_look(config: ExperimentConfig, comparison: Comparison) -> ExperimentConfig | None:
    """Return the experiment at its next look; None if it adds no seeds, has decided, or has all seeds."""
    plan = config.more_seeds
    if not plan or all(row.decided for row in comparison.sequence):
        return None
    more = next((look for look in plan.looks if look > len(config.seeds)), None)
    return at_look(config, more) if more else None
