"""Looking again and again errs in 5 of 100 studies over all looks together; by the usual interval in far more."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import Comparison, SequentialRow
from bnexp.analysis.sequential import critical_values, looks_so_far, next_look, out_of_reach, sequential_row
from bnexp.analysis.standing import Standing, headline, standing
from bnexp.config.seeds import MoreSeeds
from tests.analysis.conftest import a_study
from tests.helpers import COVERED_SHARE, experiment

PLAN = MoreSeeds(first=6, to=40, until="settled")
NARROW = MoreSeeds(first=6, to=40, until=0.005)
Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]


def normal(random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    return random.normal(size=shape)


def skewed(random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Differences between two trainings whose accuracies are skewed: now and then one is far worse."""
    return random.lognormal(0, 1, shape) - random.lognormal(0, 1, shape)


def discrete(random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Differences of accuracies over few test images, often 0."""
    return (random.binomial(360, 0.995, shape) - random.binomial(360, 0.995, shape)) / 360


def ever_settled(differences: NDArray[np.float64], critical: tuple[float, ...]) -> float:
    """Return the share of studies, one a row, in which |t| reaches its critical value at any look."""
    found = np.zeros(len(differences), dtype=bool)
    for look, value in zip(PLAN.looks, critical, strict=True):
        sample = differences[:, :look]
        with np.errstate(invalid="ignore", divide="ignore"):  # no spread: never settled
            t = np.abs(sample.mean(1)) * look**0.5 / sample.std(1, ddof=1)
        found |= np.isfinite(t) & (t >= value)
    return float(found.mean())


@pytest.mark.parametrize("studies", [4_000, pytest.param(40_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("draw", [normal, skewed, discrete])
def test_equal_arms_are_told_apart_in_5_of_100_studies_at_most(draw: Draw, studies: int) -> None:
    differences = draw(np.random.default_rng(1), (studies, PLAN.to))
    share = ever_settled(differences, critical_values(PLAN.looks, PLAN.to))
    assert share <= 0.05 + COVERED_SHARE * (40_000 / studies) ** 0.5 / 3
    if draw is normal:
        assert share == pytest.approx(0.05, abs=COVERED_SHARE)
        usual = tuple(stats.t.ppf(0.975, look - 1) for look in PLAN.looks)
        assert ever_settled(differences, usual) > 0.12


def test_critical_values_are_the_same_on_every_call_and_those_of_a_t_test_at_a_single_look() -> None:
    assert critical_values((6, 8), 40) == critical_values.__wrapped__((6, 8), 40)
    (single,) = critical_values((12,), 12)
    assert single == pytest.approx(stats.t.ppf(0.975, 11), rel=0.02)
    early = critical_values(PLAN.looks, 40)
    assert early[0] == pytest.approx(stats.t.ppf(1 - 0.05 * 6 / 40 / 2, 5), rel=0.03)
    assert list(early[:6]) == sorted(early[:6], reverse=True)


@pytest.fixture
def comparison() -> Comparison:
    rows = [{"arm": arm, "seed": seed, "accuracy": 0.5} for arm in ("none", "before") for seed in range(6)]
    return compare_arms(a_study(rows))


GAINS = np.array([0.03, 0.01, 0.02, 0.05, 0.04, 0.03])


def test_the_interval_is_the_usual_one_with_another_critical_value(comparison: Comparison) -> None:
    row = sequential_row("before", GAINS, comparison, PLAN)
    half = critical_values((6,), 40)[0] * GAINS.std(ddof=1) / 6**0.5
    assert (row.difference_low, row.difference_high) == pytest.approx((GAINS.mean() - half, GAINS.mean() + half))
    low, high = stats.t.interval(0.95, 5, GAINS.mean(), GAINS.std(ddof=1) / 6**0.5)
    assert (row.usual_low, row.usual_high) == pytest.approx((low, high))
    assert row.decided
    assert not sequential_row("before", GAINS, comparison, NARROW).decided
    assert sequential_row("before", GAINS / 10, comparison, NARROW).decided


@pytest.mark.parametrize("gains", [[], [0.1], [0.1] * 6, [0.1, np.nan, 0.2, 0.1, 0.1, 0.1]])
def test_without_a_spread_or_a_number_nothing_is_decided(comparison: Comparison, gains: list[float]) -> None:
    row = sequential_row("before", np.array(gains), comparison, PLAN)
    assert (row.difference_low, row.decided) == (None, False)


def test_a_seed_that_failed_moves_the_look_to_the_pairs_that_there_are() -> None:
    assert looks_so_far(PLAN, 8) == (6, 8)
    assert looks_so_far(PLAN, 7) == (6, 7)
    assert looks_so_far(PLAN, 1) == ()


def judged(comparison: Comparison, gains: NDArray[np.float64]) -> tuple[Comparison, SequentialRow]:
    row = sequential_row("before", gains, comparison, PLAN)
    return replace(comparison, sequence=(row,)), row


def test_seeds_are_added_until_all_arms_are_decided_or_there_are_no_more(comparison: Comparison) -> None:
    config = experiment(arms=["none", "before"], seeds={"from": 6, "to": 8, "until": "settled"})
    decided, _ = judged(comparison, GAINS)
    open_, _ = judged(comparison, GAINS - 0.02)
    assert next_look(config, decided) is None
    following = next_look(config, open_)
    assert following is not None
    assert following.seeds == tuple(range(8))
    assert next_look(following, open_) is None
    assert next_look(experiment(seeds=6), comparison) is None


WILL_BE = "will be about ± {}, judged by 6 pairs, and until is 0.005; that takes {}"
OUT_OF_REACH = [
    (GAINS, WILL_BE.format("0.0055 [0.0034, 0.013]", "about 48 seeds (to: 48)")),
    (GAINS * 10, WILL_BE.format("0.055 [0.034, 0.13]", "more than 200 seeds")),
    (np.resize(GAINS, 40), "is ± 0.0051, and until is 0.005; that takes about 43 seeds (to: 43)"),
]


@pytest.mark.parametrize(("gains", "told"), OUT_OF_REACH)
def test_a_width_that_the_most_seeds_will_not_reach_is_warned_about(
    comparison: Comparison, gains: NDArray[np.float64], told: str
) -> None:
    row = sequential_row("before", gains, comparison, NARROW)
    (line,) = out_of_reach(replace(comparison, sequence=(row,)))
    assert line == f"out of reach: with all 40 seeds the interval of before {told}"


@pytest.mark.parametrize(("gains", "plan"), [(GAINS / 2, NARROW), (GAINS, PLAN), (GAINS[:1], NARROW)])
def test_nothing_is_warned_about_where_the_seeds_may_do(
    comparison: Comparison, gains: NDArray[np.float64], plan: MoreSeeds
) -> None:
    row = sequential_row("before", gains, comparison, plan)
    assert list(out_of_reach(replace(comparison, sequence=(row,)))) == []


def test_the_headline_has_the_interval_that_is_valid_at_every_look(comparison: Comparison) -> None:
    rows = [
        {"arm": arm, "seed": seed, "accuracy": 0.5 + gain * (arm == "before")}
        for arm in ("none", "before")
        for seed, gain in enumerate(GAINS - 0.006)
    ]
    usual = compare_arms(a_study(rows))
    sequential, row = judged(usual, GAINS - 0.006)
    assert "before wins" in headline(usual)
    assert standing(row, lower=False) is Standing.ahead
    assert f"[{row.difference_low:+.3f}, {row.difference_high:+.3f}]" in headline(sequential)
    assert "before is ahead (not settled)" in headline(sequential)
