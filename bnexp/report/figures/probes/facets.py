"""A panel per arm, side by side, in as many rows as there is something to tell apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from bnexp.report.figures.lettering import shortened, wrapped
from bnexp.report.figures.probes.probed import MOST_ARMS
from bnexp.report.figures.sheet import SMALL, dress, make_sheet

NARROW, WIDE = 5.6, 8.0
"""Widths in inches: of a figure with one column, and with several."""
_NARROWEST = 4.5
"""Inches: where the panels would let a figure be narrower."""

_BESIDE = 1.3
"""Inches: what stands left and right of the panels."""
_TITLE_LINE, _BELOW = 0.14, 0.45
"""Inches: a line of a panel's title, the ticks and the label under the last row."""


@dataclass(frozen=True)
class Facets:
    """Where the panels stand; beyond MOST_ARMS arms all rows come again for the next ones."""

    rows: tuple[str, ...]
    """What is written beside each row; nothing where it is empty."""
    arms: tuple[str, ...]
    row_height: float
    """Inches."""
    square: bool = False
    """Whether panels are as wide as high, rather than as wide as there is room."""

    @property
    def columns(self) -> int:
        """Panels side by side: as many as leave the fewest places empty."""
        return ceil(len(self.arms) / ceil(len(self.arms) / MOST_ARMS))

    @property
    def width(self) -> float:
        """Inches of the figure."""
        if self.square:
            return min(max(_BESIDE + self.columns * (self.row_height + 0.1), _NARROWEST), WIDE)
        return WIDE if self.columns > 1 else NARROW

    @property
    def panel_width(self) -> float:
        """Inches of a panel, about."""
        return (self.width - _BESIDE) / self.columns - 0.1

    @property
    def height(self) -> float:
        """Inches of all panels with what is written at them."""
        lines = ceil(len(self.arms) / self.columns)
        titles = max(self._title(arm).count("\n") + 1 for arm in self.arms)
        return lines * (len(self.rows) * self.row_height + titles * _TITLE_LINE + 0.1) + _BELOW

    def sheet(self, title: str, caption: str, handles: Sequence[Artist]) -> tuple[Figure, SubFigure]:
        """Return a figure with room for the panels, and its part for them."""
        return make_sheet(title=title, caption=caption, handles=handles, width=self.width, height=self.height)

    def panels(self, body: SubFigure, sharey: bool | Literal["row"] = True) -> Iterator[tuple[int, str, Axes]]:
        """Make the panels; yield the place of each one's row in `rows`, its arm and its axes."""
        lines = ceil(len(self.arms) / self.columns)
        grid = body.subplots(lines * len(self.rows), self.columns, sharex=True, sharey=sharey, squeeze=False)
        for line, across in enumerate(grid):
            block, row = divmod(line, len(self.rows))
            if self.rows[row]:
                across[0].set_ylabel(
                    shortened(self.rows[row], self.row_height - 0.1, SMALL), size=SMALL, parse_math=False
                )
            arms = self.arms[block * self.columns : (block + 1) * self.columns]
            for axes in across[len(arms) :]:
                axes.remove()
            for arm, axes in zip(arms, across, strict=False):
                dress(axes)
                # Under the last panel of a column that is one short there is no other to carry the ticks.
                below = (block + 1) * self.columns + list(arms).index(arm)
                axes.tick_params(labelbottom=row == len(self.rows) - 1 and below >= len(self.arms))
                if row == 0:
                    axes.set_title(self._title(arm), size=SMALL, parse_math=False)
                yield row, arm, axes

    def _title(self, arm: str) -> str:
        return wrapped(arm, self.panel_width, SMALL)


def row_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """Return what is written beside the rows: nothing where there is but one."""
    return tuple(texts) if len(texts) > 1 else ("",)
