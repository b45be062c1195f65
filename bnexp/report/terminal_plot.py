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

_ROWS = 13
_Y_TICKS = {0: "1", 3: "0.75", 6: "0.5", 9: "0.25", 12: "0"}
"""By row of a plot."""
_Y_AXIS = 5
"""Columns that the y axis takes."""
_NARROWEST, _WIDEST = 38, 90
"""Columns of a panel."""
_GAP = 2
"""Columns between two panels."""
_MARKERS = 12
"""Markers along a curve, about."""
_SAMPLES = 10_000
"""Points of a line that are looked at for its dots."""
_DOTS = np.array([(0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)])
"""The bits of a Braille sign's dots, by column and row."""


def plot_curves(panels: Panels, *, arms: Sequence[str], label: str, width: int, colour: bool) -> str:
    """Return the mean curves as lines of text, a plot per panel, side by side where they fit.

    y reaches from 0 to 1, and x is the same in every panel. No line is wider than `width`, unless that is below 38.
    Without `colour` there are no escape sequences.
    """
    curves = panels.curves
    if not curves:
        return f"{label}: nothing recorded yet\n"
    styles, width = arm_styles(arms), max(width, _NARROWEST)
    rows = -(-len(panels.panels) // ((width + _GAP) // (_NARROWEST + _GAP)))
    columns = -(-len(panels.panels) // rows)
    size = min((width + _GAP) // columns - _GAP, _WIDEST)
    low, high = min(curve.x[0] for curve in curves), max(curve.x[-1] for curve in curves)
    span = (low, high if high > low else low + 1)
    grid = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    for _ in range(columns):
        grid.add_column(width=size, vertical="bottom")
    plots = [_plot(panel, styles, span, size, panels.axis) for panel in panels.panels]
    for start in range(0, len(plots), columns):
        grid.add_row(*plots[start : start + columns])
    console = Console(file=StringIO(), width=width, force_terminal=colour, color_system="256" if colour else None)
    with console.capture() as captured:
        seeds = max(curve.seeds for curve in curves)
        console.print(Text(f"{label}, {'one seed' if seeds == 1 else f'mean over {seeds} seeds'}"), grid, "")
        console.print(Text("   ").join(_legend(curves, styles)))
        if len(panels.panels) < panels.total:
            console.print(f"Showing {len(panels.panels)} of {panels.total} grid points.", highlight=False)
        if any(curve.crosses for curve in curves):
            console.print("x: where a trial diverged; a stopped one keeps its last value.")
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _legend(curves: Sequence[ArmCurve], styles: Mapping[str, ArmStyle]) -> list[Text]:
    drawn = {curve.arm for curve in curves}
    shown = [Text(f"{style.letter} {escaped(arm)}", style.ansi) for arm, style in styles.items() if arm in drawn]
    return [*shown, Text(f"{_DIVERGED} diverged")] if any(curve.crosses for curve in curves) else shown


def _plot(panel: Panel, styles: Mapping[str, ArmStyle], span: tuple[float, float], width: int, axis: str) -> Text:
    """Return a panel's title, curves and axes."""
    signs = np.full((_ROWS, width - _Y_AXIS), " ")
    colours = np.full(signs.shape, "", dtype=object)
    dots = np.zeros(signs.shape, dtype=int)
    low, high = span

    def places(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = (y >= 0) & (y <= 1)
        return (x[inside] - low) / (high - low) * (signs.shape[1] - 1), (_ROWS - 1) * (1 - y[inside])

    def draw(x: np.ndarray, y: np.ndarray, sign: str, colour: str) -> None:
        column, row = places(x, y)
        cells = np.rint(row).astype(int), np.rint(column).astype(int)
        signs[cells], colours[cells] = sign, colour

    for curve in panel.curves:
        numbers, samples = np.arange(len(curve.x)), np.linspace(0, len(curve.x) - 1, _SAMPLES)
        column, row = places(np.interp(samples, numbers, curve.x), np.interp(samples, numbers, curve.mean))
        down, along = np.rint(4 * row + 1.5).astype(int), np.rint(2 * column + 0.5).astype(int)
        cells = down // 4, along // 2
        np.bitwise_or.at(dots, cells, _DOTS[along % 2, down % 4])
        signs[cells], colours[cells] = np.vectorize(chr, otypes=["U"])(0x2800 + dots[cells]), styles[curve.arm].ansi
    for place, curve in enumerate(panel.curves):
        # No two curves have their markers at the same records, if there are enough.
        count, records = len(panel.curves), len(curve.x)
        every = max(1, min(count, records // 4), records // _MARKERS)
        turns = slice(place * every // count, None, every)
        draw(curve.x[turns], curve.mean[turns], styles[curve.arm].letter, styles[curve.arm].ansi)
    for curve in panel.curves:
        crosses = np.array(curve.crosses, dtype=float).reshape(-1, 2)
        draw(crosses[:, 0], crosses[:, 1], _DIVERGED, styles[curve.arm].ansi)
    title = ", ".join([*point_texts(panel.point), *([] if panel.curves else ["nothing recorded yet"])])
    rows = [Text(), Text(escaped(title))] if title else [Text()]
    for number, cells in enumerate(zip(signs, colours, strict=True)):
        edge = f"{_Y_TICKS.get(number, ''):>{_Y_AXIS - 1}}{'┤' if number in _Y_TICKS else '│'}"
        rows.append(Text.assemble(edge, *zip(*cells, strict=True)))
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
