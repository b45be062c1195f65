"""Words follow the evidence: an arm wins where the interval and the exact test both say so, and not before."""

from types import SimpleNamespace

import pytest

from bnexp.analysis.comparison import FEWEST_SEEDS, Standing, standing
from bnexp.analysis.pairing import paired_difference


def stands(treated: list[float], baseline: list[float], *, lower: bool = False) -> Standing:
    found = paired_difference(treated, baseline)
    row = SimpleNamespace(difference=found.mean, difference_low=found.low, difference_high=found.high, p=found.p)
    return standing(row, lower=lower)


UP = [0.91, 0.92, 0.90, 0.93, 0.92, 0.91]
DOWN = [0.81, 0.82, 0.80, 0.82, 0.82, 0.81]


def test_six_pairs_that_agree_settle_it() -> None:
    assert stands(UP, DOWN) is Standing.wins
    assert stands(DOWN, UP) is Standing.loses


@pytest.mark.parametrize("seeds", range(2, FEWEST_SEEDS))
def test_fewer_can_settle_nothing_however_clear_they_are(seeds: int) -> None:
    assert stands(UP[:seeds], DOWN[:seeds]) is Standing.ahead
    assert stands(DOWN[:seeds], UP[:seeds]) is Standing.behind


def test_an_interval_or_a_test_alone_does_not_settle_it() -> None:
    # All six pairs agree, so p = 1/32, but one of them is so far off that the interval contains 0.
    assert stands([0.01, 0.01, 0.01, 0.01, 0.01, 0.5], [0.0] * 6) is Standing.ahead
    row = SimpleNamespace(difference=0.1, difference_low=0.01, difference_high=0.19, p=0.06)
    assert standing(row, lower=False) is Standing.ahead


def test_pairs_that_point_both_ways_show_nothing() -> None:
    assert stands([0.1, -0.1, 0.2, -0.2, 0.1, -0.1], [0.0] * 6) is Standing.even
    assert stands([0.5] * 6, [0.5] * 6) is Standing.even


def test_one_pair_or_a_value_that_is_not_finite_tells_nothing() -> None:
    assert stands([0.9], [0.5]) is Standing.unknown
    assert stands([float("nan"), 0.5], [0.5, 0.5]) is Standing.unknown


@pytest.mark.parametrize(
    ("word", "sign", "settled"),
    [("wins", 1, True), ("ahead", 1, False), ("even", 0, False), ("behind", -1, False), ("loses", -1, True)],
)
def test_a_word_knows_its_direction(word: str, sign: int, settled: bool) -> None:
    assert (Standing[word].sign, Standing[word].settled) == (sign, settled)
