"""Learning curves as text: for a look at a run where there is nothing but a terminal.

Lines are drawn in Braille dots. Every arm has a marker and a colour of its own, and the markers of the arms take turns
along x, so that curves which lie on one another can be told apart, in colour or without.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from rich.cells import cell_len, set_cell_size

from bnexp.report.panels import ArmCurve, Panel, Panels
from bnexp.report.style import point_texts


@dataclass(frozen=True)
class Look:
    """How an arm is drawn."""

    marker: str
    colour: int | None
    """Of the 256 that terminals know, one that can be seen on black and on white; None: the colour of text."""


_KNOWN = {"none": Look("o", None), "before": Look("#", 33), "after": Look("+", 172)}
_DIVERGED = "x"
_OTHER_MARKERS = "*@%=&ABCDEFGHIJKLMNPQRSTUVWYZ"
_OTHER_COLOURS = (35, 167, 170, 74)

_ROWS = 13
"""Lines from y = 0 to y = 1, with a tick at every third of them."""
_Y_TICKS = {0.0: "0", 0.25: "0.25", 0.5: "0.5", 0.75: "0.75", 1.0: "1"}
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


@dataclass(frozen=True)
class _Frame:
    """What all panels share."""

    width: int
    low: float
    high: float
    """Where x begins and ends."""
    axis: str
    looks: dict[str, Look]


def plot_curves(panels: Panels, *, arms: Sequence[str], label: str, width: int, colour: bool) -> str:
    """Return the mean curves as lines of text ending in a newline, a plot per panel, side by side where they fit.

    y reaches from 0 to 1, and x is the same in every panel. No line is wider than `width`, unless that is below 38.
    Without `colour` there are no escape sequences.
    """
    width = max(width, _NARROWEST)
    curves = [curve for panel in panels.panels for curve in panel.curves]
    if not curves:
        return _shortened(f"{label}: nothing recorded yet", width) + "\n"
    columns = _columns(len(panels.panels), width)
    size = min((width - _GAP * (columns - 1)) // columns, _WIDEST)
    looks = arm_looks(arms)
    if not colour:
        looks = {arm: Look(look.marker, None) for arm, look in looks.items()}
    frame = _Frame(size, *_span(curves), panels.axis, looks)
    blocks = [[*_title(panel, size), *_plot(panel, frame)] for panel in panels.panels]
    plots = [line for i in range(0, len(blocks), columns) for line in ("", *_beside(blocks[i : i + columns], size))]
    lines = [_heading(label, curves), *plots, "", *_legend(curves, frame, width), *_notes(panels, curves)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def arm_looks(arms: Sequence[str]) -> dict[str, Look]:
    """Return the look of each arm: its own for none, before and after, by position for all other names."""
    others = [arm for arm in arms if arm not in _KNOWN]
    drawn = {
        arm: Look(_OTHER_MARKERS[i % len(_OTHER_MARKERS)], _OTHER_COLOURS[i % len(_OTHER_COLOURS)])
        for i, arm in enumerate(others)
    }
    return {arm: _KNOWN.get(arm) or drawn[arm] for arm in arms}


class _Canvas:
    """Signs in rows and columns, each with a colour; x and y run from 0 to 1 between the middles of the outer ones."""

    def __init__(self, columns: int):
        self.signs = np.full((_ROWS, columns), " ")
        self.colours = np.full((_ROWS, columns), None, dtype=object)
        self._dots = np.zeros((_ROWS, columns), dtype=int)

    def line(self, x: np.ndarray, y: np.ndarray, colour: int | None) -> None:
        """Join points by a line of Braille dots, of which a sign has two columns and four rows."""
        records = np.arange(len(x))
        x, y = (np.interp(np.linspace(0, len(x) - 1, _SAMPLES), records, values) for values in (x, y))
        down, along = (np.rint(place) for place in (4 * self._row(y) + 1.5, 2 * self._column(x) + 0.5))
        down, along = (place[(y >= 0) & (y <= 1)].astype(int) for place in (down, along))
        cells = down // 4, along // 2
        np.bitwise_or.at(self._dots, cells, _DOTS[along % 2, down % 4])
        self.signs[cells], self.colours[cells] = np.vectorize(chr)(0x2800 + self._dots[cells]), colour

    def marks(self, x: np.ndarray, y: np.ndarray, sign: str, colour: int | None) -> None:
        """Put a sign at points."""
        inside = (y >= 0) & (y <= 1)
        cells = tuple(np.rint(place[inside]).astype(int) for place in (self._row(y), self._column(x)))
        self.signs[cells], self.colours[cells] = sign, colour

    def rows(self) -> Iterator[str]:
        """Yield the rows as text, with escape sequences for colours."""
        for signs, colours in zip(self.signs, self.colours, strict=True):
            runs = groupby(zip(signs, colours, strict=True), key=lambda look: None if look[0] == " " else look[1])
            yield "".join(_painted("".join(sign for sign, _ in run), colour) for colour, run in runs)

    def _column(self, x: np.ndarray) -> np.ndarray:
        return x * (self.signs.shape[1] - 1)

    def _row(self, y: np.ndarray) -> np.ndarray:
        return (_ROWS - 1) * (1 - y)


def _plot(panel: Panel, frame: _Frame) -> list[str]:
    """Return a panel's axes and curves as lines that are all as wide as the panel."""
    canvas = _Canvas(frame.width - _Y_AXIS)

    def along(x: Iterable[float]) -> np.ndarray:
        return (np.asarray(list(x), dtype=float) - frame.low) / (frame.high - frame.low)

    shown = [(curve, frame.looks[curve.arm], *_finite(curve)) for curve in panel.curves]
    for _, look, x, y in shown:
        if len(x):
            canvas.line(along(x), y, look.colour)
    for i, (_, look, x, y) in enumerate(shown):
        turns = _turns(len(x), i, len(shown))
        canvas.marks(along(x[turns]), y[turns], look.marker, look.colour)
    for curve, look, _, _ in shown:
        crosses = [at for at in curve.crosses if np.isfinite(at).all()]
        canvas.marks(along(x for x, _ in crosses), np.array([y for _, y in crosses]), _DIVERGED, look.colour)
    labels = {round((_ROWS - 1) * (1 - value)): text for value, text in _Y_TICKS.items()}
    lines = [
        f"{labels.get(number, ''):>{_Y_AXIS - 1}}{'┤' if number in labels else '│'}{row}"
        for number, row in enumerate(canvas.rows())
    ]
    return [*lines, *_x_axis(frame)]


def _x_axis(frame: _Frame) -> Iterator[str]:
    """Yield the axis, the numbers under its ticks, and its name."""
    columns = frame.width - _Y_AXIS
    line, numbers = np.full(columns, "─"), np.full(frame.width, " ")
    known = ticks(frame.low, frame.high, columns // 8, whole=frame.axis != "seconds")
    for value, text in known.items():
        column = round((value - frame.low) / (frame.high - frame.low) * (columns - 1))
        line[column] = "┬"
        start = min(_Y_AXIS + column - (len(text) - 1) // 2, frame.width - len(text))
        numbers[start : start + len(text)] = list(text)
    yield f"{' ' * (_Y_AXIS - 1)}└{''.join(line)}"
    yield "".join(numbers)
    yield f"{'':{_Y_AXIS}}{frame.axis:^{columns}}"


def ticks(low: float, high: float, most: int, *, whole: bool) -> dict[float, str]:
    """Return about as many round numbers between two ends as asked, with their texts: 20k where all are thousands."""
    rough = (high - low) / max(most, 1)
    unit = 10.0 ** np.floor(np.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    values = step * np.arange(np.ceil(low / step), np.floor(high / step) + 1)
    letter, size = next(((letter, size) for letter, size in (("M", 1e6), ("k", 1e3)) if step % size == 0), ("", 1.0))
    return {value: f"{value / size:.10g}{letter if value else ''}" for value in values.tolist()}


def _turns(records: int, place: int, curves: int) -> slice:
    """Return the records that bear the marker of a panel's curve: no two curves the same, if there are enough."""
    every = max(1, min(curves, records // 4), records // _MARKERS)
    return slice(place * every // curves, None, every)


def _finite(curve: ArmCurve) -> tuple[np.ndarray, np.ndarray]:
    """Return the points that can be drawn."""
    x, y = np.asarray(curve.x, dtype=float), np.asarray(curve.mean, dtype=float)
    finite = np.isfinite(x) & np.isfinite(y)
    return x[finite], y[finite]


def _span(curves: Sequence[ArmCurve]) -> tuple[float, float]:
    """Return where x begins and ends; a single record has some room behind it."""
    x = np.concatenate([_finite(curve)[0] for curve in curves])
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
    return low, high if high > low else low + 1


def _columns(count: int, width: int) -> int:
    """Return how many panels stand side by side: as many as fit, spread evenly over the rows that it takes."""
    rows = -(-count // min(count, (width + _GAP) // (_NARROWEST + _GAP)))
    return -(-count // rows)


def _beside(blocks: Sequence[list[str]], width: int) -> list[str]:
    """Return panels next to one another, the plots at one height whatever the length of the titles."""
    height = max(map(len, blocks))
    full = [[" " * width] * (height - len(block)) + block for block in blocks]
    return [(" " * _GAP).join(parts) for parts in zip(*full, strict=True)]


def _title(panel: Panel, width: int) -> list[str]:
    texts = [*point_texts(panel.point), *([] if panel.curves else ["nothing recorded yet"])]
    lines = [", ".join(line) for line in _packed(texts, ", ", width)]
    return [set_cell_size(line, width) for line in lines]


def _heading(label: str, curves: Sequence[ArmCurve]) -> str:
    seeds = max(curve.seeds for curve in curves)
    return f"{label}, one seed" if seeds == 1 else f"{label}, mean over {seeds} seeds"


def _legend(curves: Sequence[ArmCurve], frame: _Frame, width: int) -> list[str]:
    drawn = {curve.arm for curve in curves}
    looks = [(f"{look.marker} {arm}", look.colour) for arm, look in frame.looks.items() if arm in drawn]
    if any(curve.crosses for curve in curves):
        looks.append((f"{_DIVERGED} diverged", None))
    colours = iter([colour for _, colour in looks])
    lines = _packed([text for text, _ in looks], "   ", width)
    return ["   ".join(_painted(text, next(colours)) for text in line) for line in lines]


def _notes(panels: Panels, curves: Sequence[ArmCurve]) -> list[str]:
    notes = []
    if len(panels.panels) < panels.total:
        notes.append(f"Showing {len(panels.panels)} of {panels.total} grid points.")
    if any(curve.crosses for curve in curves):
        notes.append("x: where a trial diverged; a stopped one keeps its last value.")
    return notes


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
