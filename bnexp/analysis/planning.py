"""Planning: how many seeds an interval or a test needs, judged by the pairs so far.

The spread of the differences is itself an estimate, usually from few pairs. So every result comes with a range, from
the two ends of the 95 % interval of the standard deviation.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf, sqrt
from typing import Any

from bnexp.analysis.comparison import EVERYWHERE, ArmRow, Comparison, Overall, PlanRow, Point
from bnexp.analysis.standing import FEWEST_SEEDS
from bnexp.analysis.stats import t_quantile
from bnexp.errors import InputError

POWER = 0.8
"""The usual power to plan for: 4 of 5 studies find the difference."""
POWER_QUANTILE = 0.8416212335729143
"""The 80 % quantile of the normal distribution."""
MOST_SEEDS = 100_000
"""The most seeds that anyone would train; a plan that needs more gives no number."""


def with_plan(comparison: Comparison, width: float, difference: float | None = None) -> Comparison:
    """Return the comparison with a plan for each arm but the baseline: at its grid points, and over all of them.

    Args:
        comparison: with the pairs at hand.
        width: half-width to reach, in units of the metric.
        difference: a true difference of interest, in the same units.

    Raises:
        InputError: a width or a difference that isn't above 0.
    """
    for name, value in (("--plan", width), ("--difference", difference)):
        if value is not None and not 0 < value < inf:
            raise InputError(f"{name} {value:g}: expected a difference above 0, such as 0.005")
    plan = (
        _plan_row(row, point, comparison.baseline, pairs, width, difference)
        for row, point, pairs in _rows(comparison)
        if row.arm != comparison.baseline
    )
    return replace(comparison, plan=tuple(plan))


def _rows(comparison: Comparison) -> Iterator[tuple[ArmRow | Overall, Point, int]]:
    yield from ((row, row.point, row.pairs) for row in comparison.rows)
    if comparison.points > 1:
        everywhere = dict.fromkeys(comparison.grid_keys, EVERYWHERE)
        yield from ((row, everywhere, row.seeds) for row in comparison.overall)


def _plan_row(
    row: ArmRow | Overall, point: Point, baseline: str, pairs: int, width: float, difference: float | None
) -> PlanRow:
    deviation = row.deviation or None  # equal differences have no spread to plan with
    low, high = deviation_interval(deviation, pairs) if deviation else (None, None)
    spreads = (deviation, low, high)

    def each(what: Callable[[float], Any]) -> Iterator[Any]:
        return (what(spread) if spread else None for spread in spreads)

    names = ("seeds", "seeds_low", "seeds_high")
    found: dict[str, Any] = dict(zip(names, each(lambda s: seeds_for(width / s)), strict=True))
    if difference is not None:
        # The larger the spread, the smaller the power.
        power, most, least = each(lambda s: power_of(difference / s, pairs))
        found |= {"power": power, "power_low": least, "power_high": most}
        names = ("seeds_to_settle", "seeds_to_settle_low", "seeds_to_settle_high")
        found |= zip(names, each(lambda s: seeds_to_settle(difference / s)), strict=True)
    smallest = detectable(pairs)
    return PlanRow(
        true_difference=difference,
        width=width,
        point=point,
        arm=row.arm,
        baseline=baseline,
        pairs=pairs,
        deviation=deviation,
        deviation_low=low,
        deviation_high=high,
        half_width=deviation * half_width(pairs) if deviation else None,
        detectable=deviation * smallest if deviation and smallest else None,
        **found,
    )


def half_width(pairs: int) -> float:
    """Return half the width of the 95 % t interval of n pairs, in standard deviations: t / √n."""
    return t_quantile(pairs - 1) / sqrt(pairs)


def detectable(pairs: int) -> float | None:
    """Return the true difference, in standard deviations, that n pairs settle in 4 of 5 studies.

    (t + z) / √n, with z the 80 % quantile of Student's distribution to first order (Fisher & Cornish 1960,
    doi:10.1080/00401706.1960.10489895), is within 1 % of the exact value from six pairs on. Below, None: the exact
    sign-flip test can't settle anything.
    """
    if pairs < FEWEST_SEEDS:
        return None
    z = POWER_QUANTILE
    return (t_quantile(pairs - 1) + z + (z**3 + z) / (4 * (pairs - 1))) / sqrt(pairs)


def deviation_interval(deviation: float, pairs: int) -> tuple[float, float]:
    """Return the 95 % interval of a standard deviation that was estimated from n pairs, by the χ² distribution."""
    from scipy.special import chdtri  # the inverse of its upper tail; a fifth of a second to import

    freedom = pairs - 1
    low, high = (deviation * sqrt(freedom / float(chdtri(freedom, tail))) for tail in (0.025, 0.975))
    return low, high


def power_of(effect: float, pairs: int) -> float:
    """Return how often n pairs settle a true difference, in standard deviations: the power of the paired t test.

    By the noncentral t distribution (Cohen 1988, Statistical Power Analysis, chapter 2); an interval on the wrong side
    of 0 doesn't count. 0 below six pairs, where the exact sign-flip test can't settle anything.
    """
    if pairs < FEWEST_SEEDS:
        return 0.0
    from scipy.special import nctdtr

    t, shift = t_quantile(pairs - 1), effect * sqrt(pairs)
    if shift > t + 10:
        return 1.0  # nctdtr is NaN far out
    return float(1 - nctdtr(pairs - 1, shift, t))


def seeds_for(width: float) -> int | None:
    """Return the fewest pairs whose interval has this half-width, in standard deviations."""
    return _fewest(lambda pairs: half_width(pairs) <= width, 2)


def seeds_to_settle(effect: float) -> int | None:
    """Return the fewest pairs that settle a true difference, in standard deviations, in 4 of 5 studies."""
    return _fewest(lambda pairs: power_of(effect, pairs) >= POWER, FEWEST_SEEDS)


def _fewest(enough: Callable[[int], bool], fewest: int) -> int | None:
    numbers = range(fewest, MOST_SEEDS + 1)
    place = bisect_left(numbers, True, key=enough)
    return numbers[place] if place < len(numbers) else None


def outlook(seeds: int, unit: str = "seeds") -> str:
    """Say what a number of seeds, or tunings, can and can't tell, before anything is trained."""
    if seeds < FEWEST_SEEDS:
        p = f"the smallest possible p is {2 / 2**seeds:.2g}" if seeds > 1 else "one seed shows no spread"
        more = "tune.studies" if unit == "tunings" else "seeds"
        return f"Too few {unit} to settle a difference ({p}): {more}={FEWEST_SEEDS} or more can."
    return (
        f"With {seeds} {unit} the interval of a difference will be ± {half_width(seeds):.3g} standard deviations of "
        f"the paired differences, and a true difference of {detectable(seeds):.2g} standard deviations is settled in "
        "4 of 5 studies."
    )
