"""Plans equal statsmodels' power of the paired t test, and hold in simulated studies."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import TTestPower

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import PlanRow
from bnexp.analysis.planning import (
    detectable,
    deviation_interval,
    half_width,
    outlook,
    power_of,
    seeds_for,
    seeds_to_settle,
    with_plan,
)
from bnexp.errors import InputError
from tests.analysis.conftest import a_study
from tests.helpers import COVERED_SHARE, NEAR_FLOAT64

GAINS = [0.03, 0.01, 0.02, 0.05, 0.04, 0.03]
"""What `before` gains in each of six seeds."""


def planned(width: float = 0.005, difference: float | None = None, gains: list[float] = GAINS) -> tuple[PlanRow, ...]:
    rows = [
        {"arm": arm, "seed": seed, "train.lr": lr, "accuracy": 0.5 + gain * (arm == "before") * scale}
        for lr, scale in ((0.1, 1), (0.3, 2))
        for arm in ("none", "before")
        for seed, gain in enumerate(gains)
    ]
    return with_plan(compare_arms(a_study(rows)), width, difference).plan


def by_t_test(effect: float, pairs: int) -> float:
    """The power to find an effect with its own sign at the two-sided 5 % level."""
    return float(TTestPower().power(effect, pairs, 0.025, alternative="larger"))


def fewest(spread: float) -> int:
    """Return the fewest pairs whose interval is at most ± 1 wide, by trying them in turn."""
    return next(n for n in range(2, 10_000) if stats.t.ppf(0.975, n - 1) * spread / n**0.5 <= 1)


@pytest.mark.parametrize("effect", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("pairs", [6, 7, 20, 100])
def test_power_is_statsmodels(effect: float, pairs: int) -> None:
    assert power_of(effect, pairs) == pytest.approx(by_t_test(effect, pairs), rel=NEAR_FLOAT64)


def test_power_is_1_for_effects_beyond_the_reach_of_the_distribution() -> None:
    assert [power_of(effect, 30) for effect in (10, 100, 1e6)] == [1.0] * 3


@pytest.mark.parametrize("pairs", [2, 5])
def test_nothing_is_settled_by_fewer_than_six_pairs(pairs: int) -> None:
    assert (power_of(100, pairs), detectable(pairs)) == (0.0, None)
    assert seeds_to_settle(100) == 6


@pytest.mark.parametrize("pairs", [6, 10, 40, 200])
def test_the_smallest_difference_that_is_settled_has_a_power_of_four_in_five(pairs: int) -> None:
    smallest = detectable(pairs)
    assert smallest is not None
    assert smallest == pytest.approx(TTestPower().solve_power(nobs=pairs, alpha=0.05, power=0.8), rel=0.01)


@pytest.mark.parametrize("effect", [0.3, 1.0])
def test_seeds_are_the_fewest_that_are_enough(effect: float) -> None:
    settling, narrow = seeds_to_settle(effect), seeds_for(effect)
    assert settling
    assert narrow
    assert by_t_test(effect, settling) >= 0.8 > by_t_test(effect, settling - 1)
    assert half_width(narrow) <= effect < half_width(narrow - 1)
    assert seeds_for(1e-9) is None


def test_a_plan_has_a_row_per_grid_point_and_one_over_all() -> None:
    first, second, everywhere = planned(difference=0.01)
    assert [row.point["train.lr"] for row in (first, second, everywhere)] == [0.1, 0.3, "all"]
    assert {(row.arm, row.pairs, row.width, row.true_difference) for row in (first, second, everywhere)} == {
        ("before", 6, 0.005, 0.01)
    }
    spread = np.std(GAINS, ddof=1)
    low, high = stats.t.interval(0.95, 5, scale=spread / 6**0.5)
    assert first.deviation == pytest.approx(spread, rel=NEAR_FLOAT64)
    assert first.half_width == pytest.approx((high - low) / 2, rel=NEAR_FLOAT64)
    assert second.deviation == pytest.approx(2 * spread, rel=NEAR_FLOAT64)
    assert everywhere.deviation == pytest.approx(1.5 * spread, rel=NEAR_FLOAT64)
    ends = [spread * (5 / stats.chi2.ppf(share, 5)) ** 0.5 for share in (0.975, 0.025)]
    assert (first.deviation_low, first.deviation_high) == pytest.approx(ends, rel=NEAR_FLOAT64)
    assert [first.seeds_low, first.seeds, first.seeds_high] == [
        fewest(each / 0.005) for each in (ends[0], spread, ends[1])
    ]
    assert [first.power_low, first.power, first.power_high] == pytest.approx(
        [by_t_test(0.01 / each, 6) for each in (ends[1], spread, ends[0])], rel=NEAR_FLOAT64
    )
    assert first.seeds_to_settle == seeds_to_settle(0.01 / spread)


@pytest.mark.parametrize("gains", [[0.1], [0.1] * 6])
def test_without_a_spread_there_is_no_plan(gains: list[float]) -> None:
    row = planned(gains=gains)[0]
    assert (row.deviation, row.half_width, row.seeds, row.seeds_high, row.detectable) == (None,) * 5


@pytest.mark.parametrize("bad", [0, -0.1, float("inf"), float("nan")])
def test_a_width_and_a_difference_are_above_0(bad: float) -> None:
    with pytest.raises(InputError, match=r"--plan .*: expected a difference above 0"):
        planned(width=bad)
    with pytest.raises(InputError, match=r"--difference .*: expected a difference above 0"):
        planned(difference=bad)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (1, "Too few seeds to settle a difference (one seed shows no spread): seeds=6 or more can."),
        (3, "Too few seeds to settle a difference (the smallest possible p is 0.25): seeds=6 or more can."),
        (
            6,
            "± 1.05 standard deviations of the paired differences, "
            "and a true difference of 1.4 standard deviations is settled",
        ),
    ],
)
def test_before_training_it_is_said_what_the_seeds_can_tell(seeds: int, said: str) -> None:
    assert said in outlook(seeds)


def differences_of(studies: int, pairs: int, shift: float = 0) -> NDArray[np.float64]:
    """Return normal paired differences with a standard deviation of 1, one study a row."""
    return np.random.default_rng(pairs).normal(shift, 1, (studies, pairs))


@pytest.mark.parametrize("studies", [1_000, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("pairs", [2, 6, 20])
def test_of_100_plans_95_have_the_seeds_that_are_needed_in_their_range(pairs: int, studies: int) -> None:
    needed = seeds_for(0.3)
    spreads = differences_of(studies, pairs).std(1, ddof=1)
    ranges = np.array([deviation_interval(1.0, pairs)]) * spreads[:, None]
    held = [(seeds_for(0.3 / low) or 0) <= needed <= (seeds_for(0.3 / high) or np.inf) for low, high in ranges[:1_000]]
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)
    assert np.mean((ranges[:, 0] <= 1) & (ranges[:, 1] >= 1)) == pytest.approx(
        0.95, abs=COVERED_SHARE if studies > 1_000 else 0.03
    )


@pytest.mark.slow
@pytest.mark.parametrize(("pairs", "effect"), [(6, 1.4), (10, 1.0), (30, 0.3)])
def test_so_many_studies_settle_a_difference_as_its_power_says(pairs: int, effect: float) -> None:
    studies = differences_of(20_000, pairs, effect)
    found = stats.ttest_1samp(studies, 0, axis=1)
    settled = (found.pvalue <= 0.05) & (found.statistic > 0)
    assert np.mean(settled) == pytest.approx(power_of(effect, pairs), abs=COVERED_SHARE)
