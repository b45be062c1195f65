"""What a heat map shows, before anything is drawn: one arm's results over two swept settings."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bnexp.analysis.columns import is_number
from bnexp.analysis.comparison import ArmRow


@dataclass(frozen=True)
class HeatCell:
    """One arm at one value of each setting, over all grid points that have them."""

    value: float | None
    """Mean over the grid points; None without a finished trial, or where one of the means isn't finite."""
    points: int
    """Grid points with a finished trial."""
    trials: int
    """Finished trials."""
    diverged: int


@dataclass(frozen=True)
class HeatMap:
    """One arm; cells[i][j] is at ys[i] and xs[j]."""

    arm: str
    cells: tuple[tuple[HeatCell, ...], ...]


@dataclass(frozen=True)
class HeatMaps:
    """The maps of a figure, all over the same values."""

    xs: tuple[Any, ...]
    ys: tuple[Any, ...]
    maps: tuple[HeatMap, ...]

    @property
    def cells(self) -> list[HeatCell]:
        """The cells of all maps."""
        return [cell for heat_map in self.maps for row in heat_map.cells for cell in row]


def make_heat_maps(rows: Iterable[ArmRow], *, x: str, y: str, arms: Sequence[str]) -> HeatMaps:
    """Return a map for each arm that has rows; numbers rise along the axes, other values come as they first do."""
    by_place: dict[tuple[Hashable, ...], list[ArmRow]] = {}
    for row in rows:
        by_place.setdefault((row.arm, row.point[x], row.point[y]), []).append(row)
    there = {arm for arm, *_ in by_place}
    xs, ys = _ordered(at for _, at, _ in by_place), _ordered(at for *_, at in by_place)
    maps = tuple(
        HeatMap(arm, tuple(tuple(_cell(by_place.get((arm, i, j), [])) for i in xs) for j in ys))
        for arm in arms
        if arm in there
    )
    return HeatMaps(xs, ys, maps)


def _ordered(values: Iterable[Any]) -> tuple[Any, ...]:
    distinct = list(dict.fromkeys(values))
    numbers = sorted(value for value in distinct if is_number(value))
    return (*numbers, *(value for value in distinct if not is_number(value)))


def _cell(rows: Sequence[ArmRow]) -> HeatCell:
    finished = [row for row in rows if row.n]
    means = [row.mean for row in finished]
    value = None if not means or None in means else sum(cast("list[float]", means)) / len(means)
    trials, diverged = sum(row.trials for row in finished), sum(row.diverged for row in finished)
    return HeatCell(value, points=len(finished), trials=trials, diverged=diverged)
