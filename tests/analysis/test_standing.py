"""Words follow the evidence: an arm wins where the interval and the exact test both say so, and not before."""

from types import SimpleNamespace

from bnexp.analysis.comparison import FEWEST_SEEDS, Standing, standing
from bnexp.analysis.pairing import paired_difference


def stands(treated: list[float], baseline: list[float], *, lower: bool = False) -> Standing:
    found = paired_difference(treated, baseline)
    row = SimpleNamespace(difference=found.mean, difference_low=found.low, difference_high=found.high, p=found.p)
    return standing(row, lower=lower)


UP = [0.91, 0.92, 0.90, 0.93, 0.92, 0.91]
DOWN = [0.81, 0.82, 0.80, 0.82, 0.82, 0.81]


def test_six_pairs_that_agree_settle_it_and_fewer_can_settle_nothing() -> None:
    for seeds, better, worse in ((6, Standing.wins, Standing.loses), (5, Standing.ahead, Standing.behind)):
        assert stands(UP[:seeds], DOWN[:seeds]) is better
        assert stands(DOWN[:seeds], UP[:seeds]) is worse
    assert FEWEST_SEEDS == 6
    assert (stands(UP[:2], DOWN[:2]), stands(UP[:1], DOWN[:1])) == (Standing.ahead, Standing.unknown)


def test_an_interval_or_a_test_alone_does_not_settle_it() -> None:
    # All six pairs agree, so p = 1/32, but one of them is so far off that the interval contains 0.
    assert stands([0.01, 0.01, 0.01, 0.01, 0.01, 0.5], [0.0] * 6) is Standing.ahead
    row = SimpleNamespace(difference=0.1, difference_low=0.01, difference_high=0.19, p=0.06)
    assert standing(row, lower=False) is Standing.ahead


def test_pairs_that_point_both_ways_show_nothing() -> None:
    assert stands([0.1, -0.1, 0.2, -0.2, 0.1, -0.1], [0.0] * 6) is Standing.even
    assert stands([0.5] * 6, [0.5] * 6) is Standing.even


def test_a_value_that_is_not_finite_tells_nothing() -> None:
    assert stands([float("nan"), 0.5], [0.5, 0.5]) is Standing.unknown


def test_a_word_knows_its_direction() -> None:
    assert [word.sign for word in Standing] == [1, 1, 0, -1, -1, 0]
    assert [word for word in Standing if word.settled] == [Standing.wins, Standing.loses]
