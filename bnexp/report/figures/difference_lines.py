"""What a plot of differences shows, before anything is drawn: a block per grid point, in it a line per arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bnexp.analysis.comparison import ArmRow
from bnexp.report.panels import evenly

MOST = 40
"""Lines in a plot, unless a single grid point has more."""


@dataclass(frozen=True)
class Difference:
    """One arm against the baseline at one grid point."""

    arm: str
    mean: float | None
    """None without a pair, or where a value isn't finite."""
    low: float | None
    """Of the interval, as is high; None where one pair shows no spread."""
    high: float | None
    pairs: int

    @property
    def sure(self) -> bool:
        """Whether there is an interval, and 0 lies outside of it."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Block:
    """One grid point."""

    point: dict[str, Any]
    lines: tuple[Difference, ...]
    """One per arm that has trials there, in the order of the arms."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of a plot."""

    arms: tuple[str, ...]
    """Those that come in a block."""
    blocks: tuple[Block, ...]
    total: int
    """Grid points with a difference to show, of which the blocks may be a choice."""

    @property
    def lines(self) -> list[Difference]:
        """The lines of all blocks."""
        return [line for block in self.blocks for line in block.lines]


def make_blocks(rows: Sequence[ArmRow], *, baseline: str, arms: Sequence[str], limit: int = MOST) -> Blocks:
    """Return the differences to the baseline; of too many grid points an evenly spaced choice."""
    points: dict[tuple[Any, ...], dict[str, ArmRow]] = {}
    for row in rows:
        if row.arm != baseline and row.arm in arms:
            points.setdefault(tuple(row.point.values()), {})[row.arm] = row
    there = tuple(arm for arm in arms if any(arm in cells for cells in points.values()))
    every = [_block(cells, there) for cells in points.values()]
    chosen = [every[place] for place in evenly(len(every), max(1, limit // max(1, len(there))))]
    return Blocks(arms=there, blocks=tuple(chosen), total=len(every))


def _block(cells: dict[str, ArmRow], arms: Sequence[str]) -> Block:
    rows = [cells[arm] for arm in arms if arm in cells]
    lines = (Difference(row.arm, row.difference, row.difference_low, row.difference_high, row.pairs) for row in rows)
    return Block(rows[0].point, tuple(lines))
