"""Learning curves as text, in Braille dots and a marker per arm, for a look at a run from a terminal."""

from collections.abc import Mapping, Sequence
from io import StringIO

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bnexp.config.text import escaped
from bnexp.report.panels import ArmCurve, Panel, Panels
from bnexp.report.style import ArmStyle, arm_styles, point_texts

_DIVERGED = "x"

ROWS = (13, 9, 5)
"""The heights that a plot can have, the usual one first: the five ticks of the y axis are on rows of their own."""
_Y_TICKS = ("1", "0.75", "0.5", "0.25", "0")
_Y_AXIS = 5
"""Columns that the y axis takes."""
_NARROWEST, _WIDEST = 38, 90
"""Columns of a panel."""
_GAP = 2
"""Columns between two panels."""
_MARKERS = 12
"""Markers along a curve, about."""
_SAMPLES = 10_000
"""Points of a line at which its dots are computed."""
_BAND_DOTS = 4
"""Distance in dots between the drawn dots at the edge of a band; a column has two."""
_DOTS = np.array([(0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)])
"""The bits of a Braille sign's dots, by column and row."""


def plot_curves(
    panels: Panels,
    *,
    arms: Sequence[str],
    label: str,
    width: int,
    colour: bool,
    rows: int = ROWS[0],
    bands: bool = False,
) -> str:
    """Return the mean curves as lines of text, a plot per panel, side by side where they fit.

    y reaches from 0 to 1, and x is the same in every panel. Without `colour` there are no escape sequences.

    Args:
        panels: the curves.
        arms: all arms of the study, which determine the looks of those that are drawn.
        label: what y is.
        width: no line is wider, unless it is below 38.
        colour: mark arms by colour, too.
        rows: of a plot between its axes, one of ROWS.
        bands: draw where the lowest and the highest seed are, too, as dotted lines.
    """
    curves = panels.curves
    if not curves:
        return f"{label}: nothing recorded yet\n"
    styles, width = arm_styles(arms), max(width, _NARROWEST)
    columns = -(-len(panels.panels) // -(-len(panels.panels) // most_side_by_side(width)))
    size = min((width + _GAP) // columns - _GAP, _WIDEST)
    low, high = min(curve.x[0] for curve in curves), max(curve.x[-1] for curve in curves)
    span = (low, high if high > low else low + 1)
    grid = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    for _ in range(columns):
        grid.add_column(width=size, vertical="bottom")
    plots = [_plot(panel, styles, span, (rows, size), panels.axis, bands=bands) for panel in panels.panels]
    for start in range(0, len(plots), columns):
        grid.add_row(*plots[start : start + columns])
    console = Console(file=StringIO(), width=width, force_terminal=colour, color_system="256" if colour else None)
    with console.capture() as captured:
        seeds = max(curve.seeds for curve in curves)
        band = "; dots: the lowest and the highest" if bands and seeds > 1 else ""
        console.print(Text(f"{label}, {'one seed' if seeds == 1 else f'mean over {seeds} seeds'}{band}"), grid, "")
        console.print(Text("   ").join(_legend(curves, styles)))
        if len(panels.panels) < panels.total:
            console.print(f"Showing {len(panels.panels)} of {panels.total} grid points.", highlight=False)
        if any(curve.crosses for curve in curves):
            console.print("x: where a trial diverged; a stopped one keeps its last value.")
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def most_side_by_side(width: int) -> int:
    """Return how many plots fit side by side."""
    return (max(width, _NARROWEST) + _GAP) // (_NARROWEST + _GAP)


def _legend(curves: Sequence[ArmCurve], styles: Mapping[str, ArmStyle]) -> list[Text]:
    drawn = {curve.arm for curve in curves}
    shown = [Text(f"{style.letter} {escaped(arm)}", style.ansi) for arm, style in styles.items() if arm in drawn]
    return [*shown, Text(f"{_DIVERGED} diverged")] if any(curve.crosses for curve in curves) else shown


def _plot(
    panel: Panel,
    styles: Mapping[str, ArmStyle],
    span: tuple[float, float],
    size: tuple[int, int],
    axis: str,
    *,
    bands: bool,
) -> Text:
    """Return a panel's title, curves and axes; its size is in rows between the axes and in columns over all."""
    height, width = size
    signs = np.full((height, width - _Y_AXIS), " ")
    colours = np.full(signs.shape, "", dtype=object)
    dots = np.zeros(signs.shape, dtype=int)
    low, high = span

    def places(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = (y >= 0) & (y <= 1)
        return (x[inside] - low) / (high - low) * (signs.shape[1] - 1), (height - 1) * (1 - y[inside])

    def draw(x: np.ndarray, y: np.ndarray, sign: str, colour: str) -> None:
        column, row = places(x, y)
        cells = np.rint(row).astype(int), np.rint(column).astype(int)
        signs[cells], colours[cells] = sign, colour

    def draw_line(x: np.ndarray, y: np.ndarray, colour: str, every: int = 1) -> None:
        """Draw a line of which one dot in `every` is shown."""
        samples = np.linspace(0, len(x) - 1, _SAMPLES)
        column, row = places(np.interp(samples, np.arange(len(x)), x), np.interp(samples, np.arange(len(x)), y))
        down, along = np.rint(4 * row + 1.5).astype(int), np.rint(2 * column + 0.5).astype(int)
        down, along = down[along % every == 0], along[along % every == 0]
        cells = down // 4, along // 2
        np.bitwise_or.at(dots, cells, _DOTS[along % 2, down % 4])
        signs[cells], colours[cells] = np.vectorize(chr, otypes=["U"])(0x2800 + dots[cells]), colour

    for curve in panel.curves if bands else ():
        for edge in (curve.low, curve.high) if curve.seeds > 1 else ():
            draw_line(curve.x, edge, f"dim {styles[curve.arm].ansi}".strip(), _BAND_DOTS)
    for curve in panel.curves:
        draw_line(curve.x, curve.mean, styles[curve.arm].ansi)
    for place, curve in enumerate(panel.curves):
        # If there are enough records, no two curves have their markers at the same ones.
        count, records = len(panel.curves), len(curve.x)
        every = max(1, min(count, records // 4), records // _MARKERS)
        turns = slice(place * every // count, None, every)
        draw(curve.x[turns], curve.mean[turns], styles[curve.arm].letter, styles[curve.arm].ansi)
    for curve in panel.curves:
        crosses = np.array(curve.crosses, dtype=float).reshape(-1, 2)
        draw(crosses[:, 0], crosses[:, 1], _DIVERGED, styles[curve.arm].ansi)
    title = ", ".join([*point_texts(panel.point), *([] if panel.curves else ["nothing recorded yet"])])
    rows = [Text(), Text(escaped(title))] if title else [Text()]
    ticks = dict(zip(range(0, height, (height - 1) // (len(_Y_TICKS) - 1)), _Y_TICKS, strict=True))
    for number, cells in enumerate(zip(signs, colours, strict=True)):
        tick = f"{ticks.get(number, ''):>{_Y_AXIS - 1}}{'┤' if number in ticks else '│'}"
        rows.append(Text.assemble(tick, *zip(*cells, strict=True)))
    return Text("\n").join([*rows, *map(Text, _x_axis(*span, width, axis))])


def _x_axis(low: float, high: float, width: int, name: str) -> tuple[str, str, str]:
    """Return the axis, the numbers under its ticks, and its name."""
    from matplotlib.ticker import MaxNLocator  # only where curves are drawn

    columns = width - _Y_AXIS
    line, numbers = np.full(columns, "─"), np.full(width, " ")
    found = np.asarray(MaxNLocator(max(columns // 8, 1), integer=name != "seconds").tick_values(low, high))
    for value in found[(found >= low) & (found <= high)]:
        column, text = round((value - low) / (high - low) * (columns - 1)), f"{value:g}"
        line[column] = "┬"
        start = min(_Y_AXIS + column - (len(text) - 1) // 2, width - len(text))
        numbers[start : start + len(text)] = list(text)
    return f"{' ' * (_Y_AXIS - 1)}└{''.join(line)}", "".join(numbers), f"{'':{_Y_AXIS}}{name:^{columns}}"
