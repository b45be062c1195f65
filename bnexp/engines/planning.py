"""Which trials train together on a device: as many as fit, split so that no worker idles."""

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapreplace

import torch

from bnexp.config.probes import ProbeSettings
from bnexp.config.text import gibibytes
from bnexp.data.catalog import DataShape
from bnexp.errors import InputError
from bnexp.plan import TrialGroup, parts
from bnexp.training.estimate import footprint
from bnexp.training.work import Demand

USABLE = 0.85
"""Share of the free memory that plans use: allocators leave gaps, and other programs grow."""

ShapeOf = Callable[[TrialGroup], DataShape]


def split_to_fit(
    groups: Sequence[TrialGroup],
    shape_of: ShapeOf,
    free: int,
    device: torch.device,
    probes: Sequence[ProbeSettings] = (),
) -> list[TrialGroup]:
    """Cut groups that don't fit into the free memory, and put the largest first.

    Args:
        groups: trials of one shape each.
        shape_of: what a group trains on.
        free: bytes to spare on the device.
        device: on a GPU a trial that seems too large is still tried; on a CPU trying could take the machine down.
        probes: that are taken while they train.

    Raises:
        InputError: one trial alone doesn't fit a CPU's memory.
    """
    sized = []
    for group in groups:
        takes = footprint(group, shape_of(group), device, probes)
        most = int(max(0, USABLE * free - takes.shared) // takes.per_trial)
        if most == 0 and device.type == "cpu":
            raise InputError(
                f"one trial ({group.trials[0].arm}) takes about {gibibytes(int(takes.of(1)))} and "
                f"{gibibytes(free)} are free; lower train.batch_size, model.width or model.depth"
            )
        sized += [(takes.of(len(part.trials)), part) for part in parts(group, max(1, most))]
    return [part for _, part in sorted(sized, key=lambda pair: -pair[0])]


SLACK = 0.1
"""Cutting stops once the last worker ends at most this much later than an even share, as a share of the time: trials
that train together share work, so that every further cut costs time on all workers together."""
SAME = 0.01
"""A gain too small to be worth a cut, as a share of the time."""


CostOf = Callable[[TrialGroup], Demand]
Piece = tuple[float, int, TrialGroup]
"""A part of a group: the time that it takes, the index of the group, and its trials."""


def balance(groups: Sequence[TrialGroup], cost_of: CostOf, workers: int) -> list[TrialGroup]:
    """Cut groups as little as it takes to keep all workers busy to the end, and put the longest first.

    The longest group that waits goes to the first worker that is free (Graham 1969, longest processing time first).
    Groups are cut into parts of one size. If the last parts are too few for all workers, these are cut again. What
    counts is the time until the last worker is done and, since other programs want the cores too, the mean time that
    workers are busy, which grows where parts share less work than the whole.

    Args:
        groups: trials of one shape each.
        cost_of: the time that a group takes.
        workers: groups that train at once.
    """
    costs = [cost_of(group) for group in groups]
    longest_trial = max((cost.of(1) for cost in costs), default=0.0)
    tried: list[tuple[float, list[Piece]]] = []
    for pieces in _cuttings(groups, costs):
        end, busy = _end_and_busy(pieces, workers)
        tried.append((end + busy, pieces))
        # Once parts are that short, further cuts can't bring the end forward (Graham's bound).
        if end <= (1 + SLACK) * max(busy, longest_trial) or pieces[0][0] <= SLACK * busy:
            break
        finer = _last_cut(pieces, costs, workers)
        tried.append((sum(_end_and_busy(finer, workers)), finer))
    best = min(score for score, _ in tried)
    return [piece for _, _, piece in next(pieces for score, pieces in tried if score <= (1 + SAME) * best)]


def assigned(times: Sequence[float], workers: int) -> list[int]:
    """Return the number of the worker that gets each group: in their order, the one that is free first."""
    free = [(0.0, worker) for worker in range(workers)]
    found = []
    for time in times:
        busy, worker = free[0]
        heapreplace(free, (busy + time, worker))
        found.append(worker)
    return found


def makespan(times: Sequence[float], workers: int) -> float:
    """Return when the last worker is done."""
    busy = [0.0] * workers
    for time, worker in zip(times, assigned(times, workers), strict=True):
        busy[worker] += time
    return max(busy)


def _cuttings(groups: Sequence[TrialGroup], costs: Sequence[Demand]) -> Iterator[list[Piece]]:
    """Yield the groups as they are, and then cut once more each time where the longest of all is; longest first."""
    cuts: list[tuple[TrialGroup, ...]] = [(group,) for group in groups]
    while True:
        pieces = _timed(((at, piece) for at, each in enumerate(cuts) for piece in each), costs)
        yield pieces
        longest = next((at for _, at, piece in pieces if len(piece.trials) > 1), None)
        if longest is None:
            return
        cuts[longest] = _cut(groups[longest], len(cuts[longest]))


def _timed(pieces: Iterable[tuple[int, TrialGroup]], costs: Sequence[Demand]) -> list[Piece]:
    timed = [(costs[at].of(len(piece.trials)), at, piece) for at, piece in pieces]
    return sorted(timed, key=lambda piece: -piece[0])


def _end_and_busy(pieces: Sequence[Piece], workers: int) -> tuple[float, float]:
    """Return when the last worker is done, and how long workers are busy on average."""
    times = [time for time, _, _ in pieces]
    return makespan(times, workers), sum(times) / workers


def _last_cut(pieces: Sequence[Piece], costs: Sequence[Demand], workers: int) -> list[Piece]:
    """Return the pieces, with the last ones cut if they are too few for all workers to have one."""
    last = len(pieces) % workers
    whole, few = pieces[: len(pieces) - last], pieces[len(pieces) - last :]
    each = -(-workers // max(last, 1))
    cut = [(at, part) for _, at, piece in few for part in parts(piece, -(-len(piece.trials) // each))]
    return _timed([*((at, piece) for _, at, piece in whole), *cut], costs)


def _cut(group: TrialGroup, beyond: int) -> tuple[TrialGroup, ...]:
    """Return the group in the fewest parts that exceed a number."""
    # The larger the parts may be, the fewer they are.
    size = bisect(range(1, len(group.trials)), -beyond - 1, key=lambda size: -len(parts(group, size)))
    return parts(group, size)
