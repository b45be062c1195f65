"""Sharing groups out among several places at once: everybody has work, and nobody is left with a giant at the end."""

from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from heapq import heapreplace

from bnexp.plan import TrialGroup, parts

SLACK = 0.1
"""How much later than at best the last place may be done, as a share of the time; cutting further would cost more than
that, since trials that train together share their work."""
SAME = 0.01
"""A gain that is not worth a cut, as a share of the time."""

Timed = list[tuple[float, TrialGroup]]
"""Groups with what they cost, the longest first."""


def balanced(groups: Sequence[TrialGroup], cost: Callable[[TrialGroup], float], places: int) -> list[TrialGroup]:
    """Cut groups as little as it takes to keep all places busy to the end, and put the longest first.

    The longest group waiting goes to the first place that is free (Graham 1969, longest processing time first).

    Args:
        groups: trials of one shape each.
        cost: time that a group takes, in any unit; a part of it takes its share.
        places: groups that train at once.
    """
    costs = [cost(group) for group in groups]
    trials = (spent / len(group.trials) for spent, group in zip(costs, groups, strict=True))
    enough = (1 + SLACK) * max(sum(costs) / places, *trials, 0.0)
    tried: list[tuple[float, Timed]] = []
    for timed in _cuttings(groups, costs):
        tried.append((_end(timed, places), timed))
        if tried[-1][0] <= enough:
            break
    best = min(end for end, _ in tried)
    return [group for _, group in next(timed for end, timed in tried if end <= (1 + SAME) * best)]


def _cuttings(groups: Sequence[TrialGroup], costs: Sequence[float]) -> Iterator[Timed]:
    """Yield the groups as they are, and then cut once more each time where the longest of all is."""
    cuts: list[tuple[TrialGroup, ...]] = [(group,) for group in groups]
    while True:
        shares = [
            (costs[at] * len(piece.trials) / len(groups[at].trials), at, piece)
            for at, pieces in enumerate(cuts)
            for piece in pieces
        ]
        shares.sort(key=lambda share: -share[0])
        yield [(spent, piece) for spent, _, piece in shares]
        longest = next((at for _, at, piece in shares if len(piece.trials) > 1), None)
        if longest is None:
            return
        cuts[longest] = _cut(groups[longest], len(cuts[longest]))


def _cut(group: TrialGroup, beyond: int) -> tuple[TrialGroup, ...]:
    """Return the group in the fewest parts that are more than so many."""
    # The larger the parts may be, the fewer they are.
    size = bisect(range(1, len(group.trials)), -beyond - 1, key=lambda size: -len(parts(group, size)))
    return parts(group, size)


def _end(timed: Timed, places: int) -> float:
    """Return when the last place is done, each taking the next group when it is free."""
    busy = [0.0] * places
    for spent, _ in timed:
        heapreplace(busy, busy[0] + spent)
    return max(busy)
