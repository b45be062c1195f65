"""Learning curves as text: for a look at a run where there is nothing but a terminal.

Lines are drawn in Braille dots. Every arm has a marker and a colour of its own, and the markers of the arms take turns
along x, so that curves which lie on one another can be told apart, in colour or without.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from rich.cells import cell_len, set_cell_size

from bnexp.report.panels import ArmCurve, Panel, Panels
from bnexp.report.style import point_texts

Look = tuple[str, int | None]
"""Marker and colour: of the 256 that terminals know, one that can be seen on black and on white; None is as text."""

_KNOWN: dict[str, Look] = {"none": ("o", None), "before": ("#", 33), "after": ("+", 172)}
_OTHER_MARKERS = "*@%=&ABCDEFGHIJKLMNPQRSTUVWYZ"
_OTHER_COLOURS = (35, 167, 170, 74)
_DIVERGED = "x"

_Y_TICKS = {0: "1", 3: "0.75", 6: "0.5", 9: "0.25", 12: "0"}
"""By line of a plot."""
_ROWS = 13
_Y_AXIS = 5
"""Columns that the y axis takes."""
_NARROWEST, _WIDEST = 38, 90
"""Columns of a panel."""
_GAP = 2
"""Columns between two panels."""
_SAMPLES = 10_000
"""Points of a line that are looked at for its dots."""
_DOTS = np.array([(0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)])
"""The bits of a Braille sign's dots, by column and row."""
_MARKERS = 12
"""Markers along a curve of many records, about."""


def plot_curves(panels: Panels, *, arms: Sequence[str], label: str, width: int, colour: bool) -> str:
    """Return the mean curves as lines of text ending in a newline, a plot per panel, side by side where they fit.

    y reaches from 0 to 1, and x is the same in every panel. No line is wider than `width`, unless that is below 38.
    Without `colour` there are no escape sequences.
    """
    width, curves = max(width, _NARROWEST), panels.curves
    if not curves:
        return _shortened(f"{label}: nothing recorded yet", width) + "\n"
    looks = {arm: (marker, code if colour else None) for arm, (marker, code) in arm_looks(arms).items()}
    rows = -(-len(panels.panels) // min(len(panels.panels), (width + _GAP) // (_NARROWEST + _GAP)))
    columns = -(-len(panels.panels) // rows)
    size = min((width - _GAP * (columns - 1)) // columns, _WIDEST)
    span = _span(curves)
    blocks = [[*_title(panel, size), *_plot(panel, looks, span, size, panels.axis)] for panel in panels.panels]
    plots = [line for i in range(0, len(blocks), columns) for line in ("", *_beside(blocks[i : i + columns], size))]
    seeds = max(curve.seeds for curve in curves)
    heading = f"{label}, one seed" if seeds == 1 else f"{label}, mean over {seeds} seeds"
    lines = [heading, *plots, "", *_legend(curves, looks, width)]
    if len(panels.panels) < panels.total:
        lines.append(f"Showing {len(panels.panels)} of {panels.total} grid points.")
    if any(curve.crosses for curve in curves):
        lines.append("x: where a trial diverged; a stopped one keeps its last value.")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def arm_looks(arms: Sequence[str]) -> dict[str, Look]:
    """Return the look of each arm: its own for none, before and after, by position for all other names."""
    others = [arm for arm in arms if arm not in _KNOWN]
    marker, colour = len(_OTHER_MARKERS), len(_OTHER_COLOURS)
    drawn = {arm: (_OTHER_MARKERS[i % marker], _OTHER_COLOURS[i % colour]) for i, arm in enumerate(others)}
    return {arm: _KNOWN.get(arm) or drawn[arm] for arm in arms}


def _span(curves: Sequence[ArmCurve]) -> tuple[float, float]:
    """Return where x begins and ends; a single record has some room behind it."""
    x = np.concatenate([_finite(curve)[0] for curve in curves])
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
    return low, high if high > low else low + 1


def _finite(curve: ArmCurve) -> tuple[np.ndarray, np.ndarray]:
    """Return the points that can be drawn."""
    x, y = np.asarray(curve.x, dtype=float), np.asarray(curve.mean, dtype=float)
    finite = np.isfinite(x) & np.isfinite(y)
    return x[finite], y[finite]


@dataclass(frozen=True)
class _Canvas:
    """Signs in rows and columns, each with a colour; y runs from 0 to 1 between the middles of the outer rows."""

    signs: np.ndarray
    colours: np.ndarray
    dots: np.ndarray
    span: tuple[float, float]
    """x in the middles of the first and of the last column."""

    def line(self, x: np.ndarray, y: np.ndarray, colour: int | None) -> None:
        """Join points by a line of Braille dots, of which a sign has two columns and four rows."""
        if len(x):
            among, records = np.linspace(0, len(x) - 1, _SAMPLES), np.arange(len(x))
            row, column = self._places(np.interp(among, records, x), np.interp(among, records, y))
            down, along = np.rint(4 * row + 1.5).astype(int), np.rint(2 * column + 0.5).astype(int)
            cells = down // 4, along // 2
            np.bitwise_or.at(self.dots, cells, _DOTS[along % 2, down % 4])
            self.signs[cells], self.colours[cells] = np.vectorize(chr, otypes=["U"])(0x2800 + self.dots[cells]), colour

    def marks(self, x: np.ndarray, y: np.ndarray, sign: str, colour: int | None) -> None:
        """Put a sign at points."""
        row, column = self._places(x, y)
        cells = np.rint(row).astype(int), np.rint(column).astype(int)
        self.signs[cells], self.colours[cells] = sign, colour

    def _places(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns, between two where a point is between them; of the points within the axes."""
        inside, (low, high) = np.isfinite(x) & (y >= 0) & (y <= 1), self.span
        return (_ROWS - 1) * (1 - y[inside]), (x[inside] - low) / (high - low) * (self.signs.shape[1] - 1)

    def rows(self) -> Iterator[str]:
        """Yield the rows as text, with escape sequences for colours."""
        for signs, colours in zip(self.signs, self.colours, strict=True):
            runs = groupby(zip(signs, colours, strict=True), key=lambda look: None if look[0] == " " else look[1])
            yield "".join(_painted("".join(sign for sign, _ in run), colour) for colour, run in runs)


def _plot(panel: Panel, looks: Mapping[str, Look], span: tuple[float, float], width: int, axis: str) -> Iterator[str]:
    """Yield a panel's axes and curves as lines that are all as wide as the panel."""
    shape = (_ROWS, width - _Y_AXIS)
    canvas = _Canvas(np.full(shape, " "), np.full(shape, None, dtype=object), np.zeros(shape, dtype=int), span)
    for curve in panel.curves:
        canvas.line(*_finite(curve), looks[curve.arm][1])
    for place, curve in enumerate(panel.curves):
        (x, y), count = _finite(curve), len(panel.curves)
        # No two curves have their markers at the same records, if there are enough.
        every = max(1, min(count, len(x) // 4), len(x) // _MARKERS)
        turns = slice(place * every // count, None, every)
        canvas.marks(x[turns], y[turns], *looks[curve.arm])
    for curve in panel.curves:
        x, y = np.array(curve.crosses, dtype=float).reshape(-1, 2).T
        canvas.marks(x, y, _DIVERGED, looks[curve.arm][1])
    for number, row in enumerate(canvas.rows()):
        yield f"{_Y_TICKS.get(number, ''):>{_Y_AXIS - 1}}{'┤' if number in _Y_TICKS else '│'}{row}"
    yield from _x_axis(*span, width, axis)


def _x_axis(low: float, high: float, width: int, name: str) -> Iterator[str]:
    """Yield the axis, the numbers under its ticks, and its name."""
    columns = width - _Y_AXIS
    line, numbers = np.full(columns, "─"), np.full(width, " ")
    for value, text in ticks(low, high, columns // 8, whole=name != "seconds").items():
        column = round((value - low) / (high - low) * (columns - 1))
        line[column] = "┬"
        start = min(_Y_AXIS + column - (len(text) - 1) // 2, width - len(text))
        numbers[start : start + len(text)] = list(text)
    yield f"{' ' * (_Y_AXIS - 1)}└{''.join(line)}"
    yield "".join(numbers)
    yield f"{'':{_Y_AXIS}}{name:^{columns}}"


def ticks(low: float, high: float, most: int, *, whole: bool) -> dict[float, str]:
    """Return about as many round numbers between two ends as asked, with their texts: 20k where all are thousands."""
    rough = (high - low) / max(most, 1)
    unit = 10.0 ** np.floor(np.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    values = step * np.arange(np.ceil(low / step), np.floor(high / step) + 1)
    letter, size = next(((letter, size) for letter, size in (("M", 1e6), ("k", 1e3)) if step % size == 0), ("", 1.0))
    return {value: f"{value / size:.10g}{letter if value else ''}" for value in values.tolist()}


def _beside(blocks: Sequence[list[str]], width: int) -> list[str]:
    """Return panels next to one another, the plots at one height whatever the length of the titles."""
    height = max(map(len, blocks))
    full = [[" " * width] * (height - len(block)) + block for block in blocks]
    return [(" " * _GAP).join(parts) for parts in zip(*full, strict=True)]


def _title(panel: Panel, width: int) -> list[str]:
    texts = [*point_texts(panel.point), *([] if panel.curves else ["nothing recorded yet"])]
    return [set_cell_size(", ".join(line), width) for line in _packed(texts, ", ", width)]


def _legend(curves: Sequence[ArmCurve], looks: Mapping[str, Look], width: int) -> list[str]:
    drawn = {curve.arm for curve in curves}
    shown = [(f"{marker} {arm}", colour) for arm, (marker, colour) in looks.items() if arm in drawn]
    if any(curve.crosses for curve in curves):
        shown.append((f"{_DIVERGED} diverged", None))
    colours = iter([colour for _, colour in shown])
    lines = _packed([text for text, _ in shown], "   ", width)
    return ["   ".join(_painted(text, next(colours)) for text in line) for line in lines]


def _painted(text: str, colour: int | None) -> str:
    return text if colour is None else f"\x1b[38;5;{colour}m{text}\x1b[0m"


def _packed(texts: Sequence[str], gap: str, width: int) -> list[list[str]]:
    """Return the texts in lines that are no wider than asked, each of them whole unless it is wider by itself."""
    lines: list[list[str]] = []
    for text in (_shortened(text, width) for text in texts):
        if lines and cell_len(gap.join([*lines[-1], text])) <= width:
            lines[-1].append(text)
        else:
            lines.append([text])
    return lines


def _shortened(text: str, width: int) -> str:
    """Return a text that takes one line of at most a width, in columns of a terminal, and no control over it."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"
