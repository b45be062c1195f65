"""How often a run is saved: as often as asked for, and never at more than its share of the time."""

from itertools import pairwise

import pytest

from bnexp.engines import throttle as timing
from bnexp.engines.throttle import HELD_SHARE, SAVED_SHARE, Throttle


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still unless a test moves it."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "monotonic", lambda: now[0])
    return now


def spent(
    clock: list[float], throttle: Throttle, cost: float, between: float = 0.1, until: float = 10_000.0
) -> list[float]:
    """The moments at which something that takes `cost` seconds was done, with so many seconds between two questions."""
    moments = []

    def work() -> None:
        moments.append(clock[0])
        clock[0] += cost

    while clock[0] < until:
        if throttle.due():
            throttle.run(work)
        clock[0] += between
    return moments


def test_what_costs_little_is_done_as_often_as_asked_for(clock: list[float]) -> None:
    moments = spent(clock, Throttle(60, SAVED_SHARE), cost=0.5)
    gaps = [after - before for before, after in pairwise(moments)]
    assert len(moments) > 150
    assert all(60 <= gap < 61 for gap in gaps)


@pytest.mark.parametrize(("every", "share"), [(60, SAVED_SHARE), (1e-9, SAVED_SHARE), (0, HELD_SHARE)])
@pytest.mark.parametrize("cost", [0.001, 0.1, 3.0, 20.0])
def test_what_costs_much_is_done_seldom_enough(clock: list[float], every: float, share: float, cost: float) -> None:
    moments = spent(clock, Throttle(every, share), cost, between=max(cost / 5, 0.01), until=max(500 * cost, 200.0))
    assert len(moments) >= 3
    # The first one is at a moment at which its cost isn't known.
    assert (len(moments) - 1) * cost / clock[0] <= share


def test_those_who_take_turns_share_the_time(clock: list[float]) -> None:
    throttle = Throttle(0, 0.02)
    throttle.run(lambda: clock.__setitem__(0, clock[0] + 1.0))
    clock[0] += 150  # one second in fifty, and three of them
    assert throttle.due(others=2)
    assert not throttle.due(others=3)


def test_the_shares_add_up_to_less_than_three_hundredths() -> None:
    assert HELD_SHARE + SAVED_SHARE < 0.03
