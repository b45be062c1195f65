"""Several data sets or networks in one question: the difference at each, and how likely an improvement is over all.

Accuracies on different data sets have no mean. What can be averaged is the probability that a trial of the arm beats
one of the baseline (Agarwal et al. 2021, arXiv:2108.13264).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bnexp.analysis.comparison import EVERYWHERE, AcrossRow, Comparison
from bnexp.analysis.pairing import balanced, grid_points, pair_trials, paired_difference, point_numbers, seed_means
from bnexp.analysis.study import Study, difference_bounds, full_key, lower_is_better

RESAMPLES = 2_000
"""Bootstrap samples behind an interval; the same on every call."""
FEWEST_SEEDS = 2
"""With a single seed there is nothing to resample."""
Sides = tuple[np.ndarray, np.ndarray]
"""The values of an arm and those of the baseline, seed by seed."""


def with_across(comparison: Comparison, study: Study, key: str) -> Comparison:
    """Return the comparison with a row per arm and value of a setting, and one per arm over all of them.

    Args:
        comparison: of the study.
        study: the trials.
        key: the setting, such as data.name; other settings are averaged over, seed by seed.

    Raises:
        InputError: the setting is the same in all trials.
    """
    key = full_key(key, study.grid_keys, "--across ")
    paired = pair_trials(study, baseline=comparison.baseline, metric=comparison.metric)
    places, points = point_numbers(paired, [key]), grid_points(paired, [key])
    rows = []
    for arm in (arm for arm in study.arms if arm != comparison.baseline):
        at: list[Sides] = []
        for place, point in enumerate(points):
            means = seed_means(balanced(paired[(places == place) & paired["paired"] & (paired["arm"] == arm)]))
            at.append((means["value"].to_numpy(), means["partner_value"].to_numpy()))
            rows.append(_row(arm, key, point[key], at[-1:], comparison))
        rows.append(_row(arm, key, EVERYWHERE, at, comparison))
    return replace(comparison, across=tuple(rows))


def _row(arm: str, key: str, value: object, at: Sequence[Sides], comparison: Comparison) -> AcrossRow:
    lower = lower_is_better(comparison.metric)
    single = at[0] if value is not EVERYWHERE else (np.array([]), np.array([]))
    difference = paired_difference(*single, difference_bounds(comparison.metric))
    low, high = improvement_interval(at, lower=lower) or (None, None)
    return AcrossRow(
        arm=arm,
        baseline=comparison.baseline,
        key=key,
        value=value,
        seeds=min(len(mine) for mine, _ in at),
        mean=float(single[0].mean()) if single[0].size else None,
        baseline_mean=float(single[1].mean()) if single[1].size else None,
        difference=difference.mean,
        difference_low=difference.low,
        difference_high=difference.high,
        p=difference.p,
        improvement=improvement(at, lower=lower),
        improvement_low=low,
        improvement_high=high,
    )


def improvement(at: Sequence[Sides], *, lower: bool) -> float | None:
    """Return the probability that a trial of the arm beats one of the baseline, as the mean over the places.

    Each trial of the one is compared with each of the other, and a tie counts half: the Mann-Whitney statistic over n².
    None if a place has no pair. What isn't finite is worse than any number.
    """
    if not at or any(mine.size == 0 for mine, _ in at):
        return None
    return float(np.mean([_wins(mine, theirs, lower=lower).mean() for mine, theirs in at]))


def _wins(mine: np.ndarray, theirs: np.ndarray, *, lower: bool) -> np.ndarray:
    worst = np.inf if lower else -np.inf
    ours, others = (np.where(np.isfinite(values), values, worst) for values in (mine, theirs))
    less = (ours[:, None] < others) if lower else (ours[:, None] > others)
    return np.asarray(less + 0.5 * (ours[:, None] == others))


def improvement_interval(at: Sequence[Sides], *, lower: bool) -> tuple[float, float] | None:
    """Return the 95 % interval of `improvement`: a percentile bootstrap that resamples seeds at each place."""
    if not at or any(mine.size < FEWEST_SEEDS for mine, _ in at):
        return None
    random, total = np.random.default_rng(0), np.zeros(RESAMPLES)
    for mine, theirs in at:
        n, wins = mine.size, _wins(mine, theirs, lower=lower)
        # How often each seed is drawn: a sum over all pairs of seeds takes no copies of the matrix.
        drawn = random.multinomial(n, np.full(n, 1 / n), RESAMPLES)
        total += np.einsum("ri,ij,rj->r", drawn, wins, drawn) / n**2
    low, high = np.percentile(total / len(at), (2.5, 97.5))
    return float(low), float(high)
