"""How an arm stands against the baseline, in the words that the evidence carries."""

from enum import StrEnum
from typing import Protocol

SETTLED = 0.05
"""The largest p that settles a difference."""
FEWEST_SEEDS = 6
"""With fewer pairs no exact sign-flip p can fall to SETTLED."""


class Standing(StrEnum):
    """How an arm stands, as the predicate of a sentence."""

    wins = "wins"
    """The 95 % interval excludes 0, and the exact p is at most SETTLED."""
    ahead = "is ahead (not settled)"
    """One of the two alone says so."""
    even = "shows no difference"
    behind = "is behind (not settled)"
    loses = "loses"
    unknown = "can't be told"
    """No interval: fewer than two pairs, or a value that isn't finite."""

    @property
    def sign(self) -> int:
        """1 for better than the baseline, -1 for worse, 0 where the data show neither."""
        return {Standing.wins: 1, Standing.ahead: 1, Standing.behind: -1, Standing.loses: -1}.get(self, 0)

    @property
    def settled(self) -> bool:
        """Whether it wins or loses."""
        return self in (Standing.wins, Standing.loses)


class Difference(Protocol):
    """What every kind of row says of its pairs."""

    @property
    def difference(self) -> float | None: ...
    @property
    def difference_low(self) -> float | None: ...
    @property
    def difference_high(self) -> float | None: ...
    @property
    def p(self) -> float | None: ...


def standing(row: Difference, *, lower: bool) -> Standing:
    """Return how an arm stands; if lower, less is better, as of a loss."""
    if row.difference is None or row.difference_low is None or row.difference_high is None:
        return Standing.unknown
    apart = not row.difference_low <= 0 <= row.difference_high
    unlikely = row.p is not None and row.p <= SETTLED
    if not apart and not unlikely:
        return Standing.even
    better = (row.difference < 0) if lower else (row.difference > 0)
    if apart and unlikely:
        return Standing.wins if better else Standing.loses
    return Standing.ahead if better else Standing.behind
