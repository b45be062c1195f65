"""The rule that says whether our runs agree with published numbers. It was written down before the runs.

A published value agrees if it lies in our 95 % prediction interval for one new run. Runs that stay at chance
are another kind of outcome, and intervals leave them out. A published run that stayed at chance agrees if one of ours
did; one that learned is compared with those of ours that learned.

A difference between two arms agrees where our 95 % interval of the mean difference lies on the published side of 0.
The order of the differences over grid points agrees where Kendall's τ is positive with p < 0.05.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from bnexp.analysis.stats import Interval, mean_interval, prediction_interval

LEVEL = 0.05
"""The chance of a false disagreement."""
FEWEST_POINTS = 4
"""The fewest grid points whose order is compared."""
ACCURACIES = (0.0, 1.0)
"""The smallest and the largest accuracy."""


class Agreement(StrEnum):
    """Whether ours agree with what was published."""

    yes = "yes"
    no = "no"
    open = "can't tell"


def alike(ours: Sequence[float], at_chance: float | None, *, stuck: bool) -> list[float]:
    """Return the runs with the same kind of outcome: those that stayed at chance, or those that learned.

    Args:
        ours: an accuracy for each run.
        at_chance: a run with at most this accuracy has learned nothing; None if the score of guessing is unknown.
        stuck: True for the runs that stayed at chance.
    """
    return [value for value in ours if (at_chance is not None and value <= at_chance) == stuck]


def value_agreement(published: float, ours: Sequence[float], at_chance: float | None) -> Agreement:
    """Compare a published accuracy with those of our runs; at_chance as for alike.

    If none of our n runs ended as the published one did: among n + 1 equal runs this has probability 1/(n + 1), so it
    counts as a disagreement only from 19 runs on.
    """
    stuck = at_chance is not None and published <= at_chance
    same = alike(ours, at_chance, stuck=stuck)
    if not same:
        return Agreement.no if 1 / (len(ours) + 1) <= LEVEL else Agreement.open
    return Agreement.yes if stuck else _within(published, prediction_interval(same, ACCURACIES))


def _within(published: float, interval: Interval) -> Agreement:
    if interval.low is None or interval.high is None:
        return Agreement.open
    return Agreement.yes if interval.low <= published <= interval.high else Agreement.no


def sign_agreement(published: float, differences: Sequence[float]) -> Agreement:
    """Compare the sign of a published difference with that of our pairs; a published 0 has no sign."""
    found = mean_interval(differences)
    if found.low is None or found.high is None or published == 0 or found.low <= 0 <= found.high:
        return Agreement.open
    return Agreement.yes if (found.low > 0) == (published > 0) else Agreement.no


def order_agreement(published: Sequence[float], ours: Sequence[float]) -> tuple[float, Agreement] | None:
    """Return Kendall's τ between published differences and ours, with one of each per grid point, and the agreement.

    None with fewer than FEWEST_POINTS points, or if all published differences, or all of ours, are equal.
    """
    if len(published) < FEWEST_POINTS or np.ptp(published) == 0 or np.ptp(ours) == 0:
        return None
    from scipy.stats import kendalltau  # slow to import

    found = kendalltau(published, ours)
    if found.pvalue >= LEVEL:
        return float(found.statistic), Agreement.open
    return float(found.statistic), Agreement.yes if found.statistic > 0 else Agreement.no
