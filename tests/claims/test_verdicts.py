"""Verdicts: the order of the rule, its calibration on made-up seeds, ties, bounds, and Holm's adjustment."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bnexp.analysis.stats import sign_flip_p
from bnexp.claims.pairs import Pairs
from bnexp.claims.verdicts import VerdictLabel, holm, judge, t_test, together

MARGIN = 0.01
SIMULATED = 3_000
"""Claims made up for each calibration."""
MOST_WRONG = 0.063
"""Share of claims about two identical arms that may be SUPPORTED or OPPOSITE: 5 % and what so many draws may add."""
LEAST_FOUND = 0.9
"""Share of claims with an effect of twice the margin, as large as two standard deviations, that are found."""


NOT_THERE = "neither arm got there in any pair"
UNTRAINED = "no trial of either arm learned anything"


def pairs(change: object, bound: int = 0, void: str = "") -> Pairs:
    found = np.asarray(change, dtype=float)
    nothing = np.zeros(len(found))
    return Pairs(tuple(range(len(found))), nothing, found, found, np.arange(len(found)) < bound, void)


@pytest.mark.parametrize(
    ("change", "word", "mirrored"),
    [
        ([0.02, 0.03, 0.025], VerdictLabel.supported, VerdictLabel.opposite),
        ([0.0095, 0.0096, 0.0115], VerdictLabel.supported, VerdictLabel.opposite),  # only the mean is beyond the margin
        ([0.02, 0.02, 0.02], VerdictLabel.supported, VerdictLabel.opposite),
        ([0.001, -0.002, 0.0015], VerdictLabel.equivalent, VerdictLabel.equivalent),
        ([0.001, 0.002, 0.0015], VerdictLabel.equivalent, VerdictLabel.equivalent),  # above 0, but all too little
        ([0.0, 0.0, 0.0], VerdictLabel.equivalent, VerdictLabel.equivalent),
        ([0.0080, 0.0085, 0.0120], VerdictLabel.too_small, VerdictLabel.too_small),  # only its end is beyond the margin
        ([0.05, -0.04, 0.02], VerdictLabel.inconclusive, VerdictLabel.inconclusive),
    ],
)
def test_the_rule_is_the_same_in_both_directions(
    change: list[float], word: VerdictLabel, mirrored: VerdictLabel
) -> None:
    verdict = judge(pairs(change), MARGIN)
    assert (verdict.label, judge(pairs(np.negative(change)), MARGIN).label) == (word, mirrored)
    interval = stats.ttest_1samp(change, 0).confidence_interval() if np.ptp(change) else (change[0], change[0])
    assert (verdict.low, verdict.high) == pytest.approx(tuple(interval))
    assert (verdict.n, verdict.change) == (3, pytest.approx(np.mean(change)))


def decided(effect: float, margin: float, seed: int = 0) -> Counter[VerdictLabel]:
    """The verdicts on SIMULATED studies of six pairs that differ by an effect, in standard deviations of a pair."""
    rng = np.random.default_rng(seed)
    return Counter(judge(pairs(change), margin).label for change in rng.normal(effect, 1, (SIMULATED, 6)))


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_two_identical_arms_are_told_apart_no_more_often_than_the_level_says(margin: float) -> None:
    words = decided(0, margin)
    wrong = (words[VerdictLabel.supported] + words[VerdictLabel.opposite]) / SIMULATED
    assert (0 if margin else 0.037) < wrong <= MOST_WRONG


def test_arms_that_differ_by_the_margin_are_not_often_called_equivalent() -> None:
    words = decided(1.5, 1.5)
    assert 0 < words[VerdictLabel.equivalent] <= MOST_WRONG / 2 * SIMULATED  # one of the two one-sided tests


def test_an_effect_of_twice_the_margin_is_found() -> None:
    words = decided(2, 1, seed=1)
    assert words[VerdictLabel.supported] >= LEAST_FOUND * SIMULATED
    assert words[VerdictLabel.opposite] == 0


@pytest.mark.parametrize(
    ("given", "reasons"),
    [
        (pairs([]), ("too few seeds: 0 pairs, an interval takes two",)),
        (pairs([0.5]), ("too few seeds: 1 pair, an interval takes two",)),
        (pairs([0.5, np.inf, 0.5]), ("a value is not finite",)),
        (pairs([0.5, np.nan, 0.5]), ("a value is not finite",)),
        (pairs([0.5, 0.6, 0.5], bound=3, void=NOT_THERE), (NOT_THERE,)),
        (pairs([0.5, 0.6, 0.5], void=UNTRAINED), (UNTRAINED,)),
    ],
)
def test_why_nothing_can_be_concluded_is_said(given: Pairs, reasons: tuple[str, ...]) -> None:
    verdict = judge(given, MARGIN)
    assert (verdict.label, verdict.reasons) == (VerdictLabel.inconclusive, reasons)
    assert not given.void or (verdict.low, verdict.high, verdict.effect, verdict.p) == (None,) * 4


def test_bounds_and_what_was_left_out_are_said_beside_the_verdict() -> None:
    noted = replace(pairs([0.5, 0.6, 0.55]), notes=("1 of 3 seeds left out",))
    assert judge(noted, MARGIN).reasons == ("1 of 3 seeds left out",)
    verdict = judge(pairs([0.5, 0.6, 0.55], bound=2), MARGIN)
    assert (verdict.label, verdict.reasons) == (
        VerdictLabel.supported,
        ("a bound: the budget or the grid cut off 2 of 3 pairs",),
    )


def test_p_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.normal(0.3, 1, (2, 8))
    assert t_test(one - other) == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert (t_test(np.zeros(4)), t_test(np.full(4, 0.1)), t_test(np.ones(1)), t_test(np.array([1.0, np.nan]))) == (
        1.0,
        0.125,
        None,
        None,
    )
    almost = np.array([0.1 + 0.2, 0.3, 0.3])
    assert t_test(almost) == sign_flip_p(almost) == 0.25


def test_pairs_that_are_all_alike_are_said_to_be() -> None:
    verdict = judge(pairs([1.0] * 6), MARGIN)
    said = "all pairs are alike, so the interval has no width, and p is that of a sign-flip test"
    assert (verdict.label, verdict.p, verdict.reasons) == (VerdictLabel.supported, 2 / 2**6, (said,))
    assert judge(pairs([0.0] * 6), MARGIN).reasons == ()


def test_holms_adjustment_is_that_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_what_has_no_p_does_not_count_among_many() -> None:
    assert holm([0.01, None, 0.04]) == [0.02, None, 0.04]
    assert holm([]) == []


# A claim at several values of a setting

YES, NO, SAME, SMALL, OPEN = (
    VerdictLabel.supported,
    VerdictLabel.opposite,
    VerdictLabel.equivalent,
    VerdictLabel.too_small,
    VerdictLabel.inconclusive,
)


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        ([YES], YES),
        ([NO, NO, NO], NO),
        ([OPEN, OPEN], OPEN),
        ([YES, OPEN, YES], OPEN),  # one setting is not decided, so nothing is said of all
        ([YES, SAME], VerdictLabel.depends),
        ([YES, OPEN, NO], VerdictLabel.depends),
        ([SMALL, SAME], VerdictLabel.depends),
    ],
)
def test_a_claim_has_the_verdict_that_all_its_settings_share(labels: list[VerdictLabel], word: VerdictLabel) -> None:
    assert together(labels) is together(labels[::-1]) is word
