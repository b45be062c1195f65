"""What means over grid points, and choices among them, leave out, in words."""

from collections.abc import Iterator, Sequence

from bnexp.analysis.comparison import Comparison
from bnexp.words import have, listed

MOST_NAMED = 3
"""Grid points that are named one by one."""


def imbalance(comparison: Comparison) -> Iterator[str]:
    """Yield a line for all that is left out so that means, and choices, are over the same."""
    if sets := comparison.data_sets:
        yield (
            f"data sets: there are {len(sets)} ({listed(sets)}), so nothing is averaged over all grid points, and "
            "there is no best or usable range; choose one with --filter"
        )
    yield from _overall(comparison)
    yield from _best(comparison)


def _overall(comparison: Comparison) -> Iterator[str]:
    alone = all(row.arm == comparison.baseline for row in comparison.rows)
    for row in comparison.overall:
        if row.arm == comparison.baseline and not alone:
            continue
        what = "trials" if alone else "pairs"
        if row.points < comparison.points:
            taken = f"{row.points} of {comparison.points} grid points"
            yield f"unbalanced: means of {row.arm} are over {taken}; at the others too few seeds have {what}"
        if row.seeds_left_out:
            total = row.seeds + row.seeds_left_out
            where = f"each of the {row.points} grid points" if row.points > 1 else "the grid point"
            yield (
                f"unbalanced: {row.seeds} of {total} seeds {have(row.seeds)} {what} of {row.arm} at {where}; "
                "means over grid points leave the others out"
            )


def _best(comparison: Comparison) -> Iterator[str]:
    if alone := [row.arm for row in comparison.best if row.seeds == 1 and row.candidates > 1]:
        yield f"candidates: the best of {listed(alone)} is chosen by a single seed, and so largely by chance"
    for row in comparison.best:
        if row.seeds_left_out:
            seeds = f"{row.seeds} of {row.seeds + row.seeds_left_out} seeds"
            each = f"each of the {row.candidates} candidates" if row.candidates > 1 else "the only candidate"
            yield f"candidates: the best of {row.arm} is chosen over {seeds}, those that finished {each}"
        if row.excluded:
            where = f"{_named(row.excluded)}, where too few seeds have finished that the other points have too"
            yield f"candidates: the best of {row.arm} is not sought at {where}"


def _named(points: Sequence[str]) -> str:
    if len(points) <= MOST_NAMED:
        return "; ".join(points)
    return f"{'; '.join(points[:MOST_NAMED])}; and {len(points) - MOST_NAMED} more"
