"""Tuning curves: how good the best of 1, 2, 4, … tries is, from the settings that a tuning tried.

With n tries instead of N, an arm would have tried some n of its N settings. The mean over all such sets is the unbiased
estimate of the expected best of n tries (Dodge et al. 2019, arXiv:1909.03004; unbiased: Tang et al. 2020,
arXiv:2004.14503). The best setting is always the one on validation images. Its test accuracy is reported, never the
best test accuracy.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot

import numpy as np

from bnexp.analysis.stats import ROUNDING, t_quantile
from bnexp.config.sweep import Point

TAIL = 0.025
"""The largest share of searches that end below the band, and above it."""
DIGITS = 12
"""Accuracies that agree in this many digits are equal: they are means of multiples of 1/N."""


@dataclass(frozen=True)
class Tried:
    """The accuracies of the N settings that a tuning tried with S seeds; NaN on test images that were not measured."""

    validation_SN: np.ndarray
    test_SN: np.ndarray


@dataclass(frozen=True)
class Tuning:
    """What one arm of a run tried at one grid point, in each study of `tune.studies`; all studies count alike."""

    run: str
    point: Point
    arm: str
    studies: tuple[Tried, ...]

    @property
    def settings(self) -> int:
        """How many settings every study tried: the curve ends there."""
        return min(len(study.validation_SN.T) for study in self.studies)


@dataclass(frozen=True)
class TuningRow:
    """The best of some tries of one arm at one grid point, over all searches with so many of its settings."""

    run: str
    point: Point
    arm: str
    tries: int
    settings: int
    """Settings that were tried in all; several with which the arm trains the same count once."""
    seeds: int
    """Tuning seeds behind them, of all studies together."""
    validation: float
    """Expected validation accuracy of the best setting; low and high are the ends of what 95 % of the searches find.
    They are None if only one search is possible: with all settings of a single study."""
    validation_low: float | None
    validation_high: float | None
    validation_error: float | None
    """Standard error that the tuning seeds leave; None with one seed per study."""
    test: float | None
    """Expected test accuracy of that same setting; None where tuning measured no test images."""
    test_low: float | None
    test_high: float | None


@dataclass(frozen=True)
class TuningLead:
    """One arm reaches with fewer tries what another reaches with all, and not by the noise of the tuning seeds."""

    run: str
    point: Point
    arm: str
    tries: int
    other: str
    other_tries: int
    validation: float
    """What the other reaches."""


def tuning_rows(tuning: Tuning) -> Iterator[TuningRow]:
    """Yield a row for 1, 2, 4, … tries and for all of them."""
    most = tuning.settings
    for tries in sorted({*(2**power for power in range(most.bit_length())), most}):
        yield tuning_row(tuning, tries)


def tuning_row(tuning: Tuning, tries: int) -> TuningRow:
    """Return what the best of so many tries is expected to be, and between what 95 % of the searches end."""
    studies = tuning.studies
    validation = np.concatenate([study.validation_SN.mean(axis=0) for study in studies])
    test = np.concatenate([study.test_SN.mean(axis=0) for study in studies])
    each = [best_weights(study.validation_SN.mean(axis=0), tries) for study in studies]
    weights = np.concatenate(each) / len(studies)
    several = len(studies) > 1 or tries < tuning.settings
    tested = not np.isnan(test).any()
    validation_low, validation_high = _spread(validation, weights) if several else (None, None)
    test_low, test_high = _spread(test, weights) if several and tested else (None, None)
    return TuningRow(
        run=tuning.run,
        point=tuning.point,
        arm=tuning.arm,
        tries=tries,
        settings=tuning.settings,
        seeds=sum(len(study.validation_SN) for study in studies),
        validation=float(weights @ validation),
        validation_low=validation_low,
        validation_high=validation_high,
        validation_error=_error(studies, weights),
        test=float(weights @ test) if tested else None,
        test_low=test_low,
        test_high=test_high,
    )


def best_weights(score_N: np.ndarray, tries: int) -> np.ndarray:
    """Return for each of N settings how probably it is the best of `tries` of them, drawn without replacement.

    The setting of rank r from below is the best if the other n - 1 are among the r - 1 below it: C(r-1, n-1) of the
    C(N, n) sets. Settings that are equally good are taken equally often.
    """
    ranks = np.arange(len(score_N), 1, -1)
    # From the top down: C(r-2, n-1) / C(r-1, n-1) = (r - n) / (r - 1), and 0 from rank n - 1 on.
    falling = np.cumprod([tries / len(score_N), *(np.maximum(ranks - tries, 0) / (ranks - 1))])
    by_rank = np.empty(len(score_N))
    by_rank[np.argsort(score_N, kind="stable")] = falling[::-1]
    _, group = np.unique(np.round(score_N, DIGITS), return_inverse=True)
    return np.asarray((np.bincount(group, by_rank) / np.bincount(group))[group])


def _spread(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return the ends of the values without TAIL of the weight at either end."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    low, high = np.searchsorted(below, [TAIL + ROUNDING, 1 - TAIL - ROUNDING])
    return float(values[order][low]), float(values[order][high])


def _error(studies: tuple[Tried, ...], weights: np.ndarray) -> float | None:
    """Return the standard error of the expected best that is due to the tuning seeds, to first order.

    The derivative of the expected best by the accuracy of a setting is its weight.
    """
    if any(len(study.validation_SN) < 2 for study in studies):
        return None
    squares = [study.validation_SN.var(axis=0, ddof=1) / len(study.validation_SN) for study in studies]
    return float(np.sqrt(weights**2 @ np.concatenate(squares)))


def tuning_lead(tuning: Tuning, other: Tuning) -> TuningLead | None:
    """Return how many tries an arm needs for what another reaches with all its tries; None if not fewer.

    None, too, if that could be the noise of the tuning seeds: the difference has to exceed the t interval's margin,
    with as many degrees of freedom as two settings have.
    """
    goal = tuning_row(other, other.settings)
    if tuning_row(tuning, tuning.settings).validation < goal.validation - ROUNDING:
        return None
    reaches = goal.validation - ROUNDING
    last = bisect_left(range(other.settings), reaches, key=lambda place: tuning_row(other, place + 1).validation) + 1
    freedom = sum(len(study.validation_SN) - 1 for study in (*tuning.studies, *other.studies))
    for tries in range(1, min(last, tuning.settings + 1)):
        mine = tuning_row(tuning, tries)
        if mine.validation_error is None or goal.validation_error is None:
            return None
        margin = t_quantile(freedom) * hypot(mine.validation_error, goal.validation_error)
        if mine.validation - goal.validation >= margin - ROUNDING:
            return TuningLead(tuning.run, tuning.point, tuning.arm, tries, other.arm, last, goal.validation)
    return None
