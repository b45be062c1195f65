"""Tables: columns over records, defined once and written for terminals, pipes, notebooks, Markdown and LaTeX."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from itertools import pairwise
from operator import itemgetter
from typing import Any, Generic, Literal, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.text import Text

R = TypeVar("R")
Kind = Literal["number", "text", "arm"]
MISSING = "-"
"""Text of a cell if its value is unknown or doesn't apply."""
GAP = "  "
"""Separates two columns of text."""


@dataclass(frozen=True)
class Cell:
    """The text of a record in a column."""

    text: str
    detail: str = ""
    """Shown after the text: an interval, or where the value was reached."""
    sort: float | None = None
    """The number by which a page sorts rows; None to sort by the text."""

    def __str__(self) -> str:
        return f"{self.text} {self.detail}" if self.detail else self.text


@dataclass(frozen=True)
class Column(Generic[R]):
    """A header, and how a record fills the cell under it."""

    header: str
    cell: Callable[[R], Cell | str]
    fields: tuple[str, ...] = ()
    """The record's fields behind the cell; the first is the column's name for programs."""
    kind: Kind = "number"
    legend: str = ""
    """The meaning of the column, a line under the table."""
    drop: int = 0
    """If a terminal is too narrow, columns with the highest number are left out first; 0 always stays."""
    shared: bool = False
    """True if neighbouring rows share the value, such as a swept setting, so that a line above them can show it."""

    def answers(self, wanted: str) -> bool:
        """Tell whether a name means this column: its header, its first field, or the end of a setting's key."""
        name = self.fields[0] if self.fields else self.header
        return wanted in (self.header, name) or (self.shared and name.endswith(f".{wanted}"))


@dataclass(frozen=True)
class Table:
    """Records as people read them: a row for each, with a cell per column."""

    columns: tuple[Column[Any], ...]
    records: Sequence[Any]
    title: str = ""
    notes: tuple[str, ...] = ()
    """Lines under the table: what it is over, and what to be careful about."""
    marked: tuple[int, ...] = ()
    """Numbers of the rows that stand out, from 0."""
    name: str = ""
    """A short name for programs."""

    @cached_property
    def cells(self) -> tuple[tuple[Cell, ...], ...]:
        """The cells, row by row."""
        return tuple(tuple(_as_cell(column.cell(record)) for column in self.columns) for record in self.records)

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers."""
        return tuple(column.header for column in self.columns)

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The cells as text."""
        return tuple(tuple(map(str, row)) for row in self.cells)

    @property
    def shared(self) -> "Table":
        """The table of its shared columns."""
        return self.only([column for column in self.columns if column.shared])

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines under the table: the legends of its columns, then the notes."""
        legends = dict.fromkeys(column.legend for column in self.columns if column.legend)
        return (*legends, *self.notes)

    def only(self, columns: Sequence[Column[Any]]) -> "Table":
        """Return the table with these columns."""
        return replace(self, columns=tuple(columns))

    def known(self) -> "Table":
        """Return the table without the columns in which no row has a value."""

        def has_values(column: Column[Any]) -> bool:
            return any(_as_cell(column.cell(record)).text != MISSING for record in self.records)

        return self.only([column for column in self.columns if has_values(column)])

    def rewritten(self, write: Callable[[str], str]) -> "Table":
        """Return the table with a function applied to every text in it."""

        def column(number: int, old: Column[Any]) -> Column[Any]:
            def cell(record: int) -> Cell:
                found = self.cells[record][number]
                return replace(found, text=write(found.text), detail=write(found.detail))

            return replace(old, header=write(old.header), cell=cell, legend=write(old.legend))

        columns = tuple(column(*each) for each in enumerate(self.columns))
        notes = tuple(map(write, self.notes))
        return replace(self, columns=columns, records=range(len(self.records)), title=write(self.title), notes=notes)


def _as_cell(found: Cell | str) -> Cell:
    return found if isinstance(found, Cell) else Cell(found)


def plain_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", notes: Sequence[str] = (), name: str = ""
) -> Table:
    """Return a table of texts."""
    columns = tuple(Column(header, itemgetter(place), kind="text") for place, header in enumerate(headers))
    return Table(columns, rows, title, tuple(notes), name=name)


def to_text(table: Table) -> str:
    """Return plain lines with aligned columns, as wide as they need, ending in a newline."""
    widths = _one_line_widths(table)
    body = [GAP.join(map(set_cell_size, line, widths)).rstrip() for line in (table.headers, *table.rows)]
    title = [table.title, ""] if table.title else []
    lines = ["", *table.lines] if table.lines else []
    return "\n".join([*title, *body, *lines]) + "\n"


def to_markdown(table: Table) -> str:
    """Return a GitHub Markdown table with the title as a heading above and the notes as a list below."""
    rows = [tuple(map(_escaped, row)) for row in table.rows]
    for place in table.marked:
        rows[place] = (f"**{rows[place][0]}**", *rows[place][1:])
    lines = [tuple(map(_escaped, table.headers)), ("---",) * len(table.headers), *rows]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    title = [f"### {table.title}"] if table.title else []
    notes = ["\n".join(f"- {line}" for line in table.lines)] if table.lines else []
    return "\n\n".join([*title, body, *notes]) + "\n"


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def to_html(table: Table) -> str:
    """Return an HTML table for a notebook, with the title as its caption and the notes below."""
    sides = ["right" if column.kind == "number" else "left" for column in table.columns]
    head = _html_row("th", table.headers, sides)
    rows = "".join(_html_row("td", map(in_print, row), sides) for row in table.rows)
    notes = "".join(f"<p>{escape(line)}</p>" for line in table.lines)
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    return f"<table>{caption}<thead>{head}</thead><tbody>{rows}</tbody></table>{notes}"


def _html_row(tag: str, cells: Iterable[str], sides: Sequence[str]) -> str:
    styled = zip(map(escape, cells), sides, strict=True)
    written = (f'<{tag} style="text-align: {side}">{cell}</{tag}>' for cell, side in styled)
    return f"<tr>{''.join(written)}</tr>"


def to_latex(table: Table, remarks: Sequence[str] = ()) -> str:
    """Return a LaTeX table for the booktabs package: caption, label, and under it the notes and remarks."""
    alignment = "".join("r" if column.kind == "number" else "l" for column in table.columns)
    notes = [rf"{_latex(line)}\par" for line in (*table.lines, *remarks)]
    lines = [
        r"\begin{table}",
        r"\centering",
        *([rf"\caption{{{_latex(table.title)}}}"] if table.title else []),
        *([rf"\label{{tab:{table.name}}}"] if table.name else []),
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _latex_row(table.headers),
        r"\midrule",
        *map(_latex_row, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\medskip", r"\parbox{\linewidth}{\footnotesize", *notes, "}"] if notes else []),
        r"\end{table}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _latex_row(cells: Sequence[str]) -> str:
    row = " & ".join(map(_latex, cells)) + r" \\"
    return f"{{}}{row}" if row.startswith("[") else row  # behind the \\\\ of another row it would be a length


def _latex(text: str) -> str:
    """Return text with LaTeX's special characters escaped, and a minus sign before every negative number."""
    return "".join(_LATEX.get(letter, letter) for letter in in_print(text))


_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "\n": " ",
}


def in_print(text: str) -> str:
    """Return text with the signs of print: a dash for what is missing, and a minus before numbers.

    The hyphen of an exponent stays.
    """
    if MISSING not in text:  # most numbers, and it saves a fifth of a large page's time
        return text
    return "–" if text == MISSING else re.sub(r"(?<![\w.-])-(?=[\d.])", "−", text)


def to_rich(table: Table) -> RenderableType:
    """Return the table for a rich console; names are shown as they are, `[` opens no markup.

    It is laid out when it is printed, since only then the width is known. If a row doesn't fit, details move to a
    second line of their cells, then shared values to a line of their own, and then columns are left out, with a note.
    If it is still too wide, the rest continues below, beside the first column. From 80 columns on, lines are broken
    only between words.
    """
    return _Fitted(table)


@dataclass(frozen=True)
class _Fitted:
    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        if self.table.title:
            yield Text(f"{self.table.title}\n", style="bold")
        shown, heads = _fitting(self.table, options.max_width)
        for number, part in enumerate(_continued(shown, options.max_width)):
            yield Group(*([Text()] if number else []), *_drawn(part, heads, options.max_width, console))
        left_out = [column.header for column in self.table.columns if column not in shown.columns and column.drop]
        notes = [*shown.lines]
        if left_out:
            notes.append(f"Left out, since the window is narrow: {', '.join(left_out)}.")
        if notes:
            yield Text("\n" + "\n".join(notes), style="dim")


def _fitting(table: Table, width: int) -> tuple[Table, list[str]]:
    """Return the columns that fit into a width, and for each row the line above it that tells the shared values."""
    heads = [""] * len(table.records)
    if _total(_one_line_widths(table)) <= width or _fits(table, width):
        return table, heads
    own = table.only([column for column in table.columns if not column.shared])
    many = len(table.shared.columns) > 1 or _total(_least_widths(table.shared)) > width / 3
    shown = _cut(own if many else table, width)
    if not many and own.columns != table.columns and not _fits(shown, width):
        shown, many = _cut(own, width), True
    if many:
        values = [_shared_text(table.shared.headers, row) for row in table.shared.rows]
        heads = ["" if value == before else value for before, value in pairwise(["", *values])]
    return shown, heads


def _cut(table: Table, width: int) -> Table:
    """Leave out columns that can be, until the others fit or only those that always stay are left."""
    while not _fits(table, width) and (last := max(table.columns, key=lambda column: column.drop)).drop:
        table = table.only([column for column in table.columns if column is not last])
    return table


def _fits(table: Table, width: int) -> bool:
    return _total(_least_widths(table)) <= width


def _shared_text(headers: Sequence[str], row: Sequence[str]) -> str:
    """Write the values that several rows share in one line: "depth 5, lr 0.1", "measure: test accuracy"."""
    known = [(header, value) for header, value in zip(headers, row, strict=True) if value != MISSING]
    written = [f"{header}: {value}" if " " in value else f"{header} {value}" for header, value in known]
    return ", ".join(written) or f"no {' or '.join(headers)}"


def _continued(table: Table, width: int) -> Iterator[Table]:
    """Yield the table, or parts of one whose words don't fit side by side; each begins with the first column."""
    widths, fits, part = _one_line_widths(table), _fits(table, width), [0]
    for place in range(1, len(widths)):
        if not fits and len(part) > 1 and _total([widths[each] for each in (*part, place)]) > width:
            yield table.only([table.columns[each] for each in part])
            part = [0]
        part.append(place)
    yield table.only([table.columns[each] for each in part])


def _drawn(table: Table, heads: Sequence[str], width: int, console: Console) -> Iterator[Text]:
    one_line = _one_line_widths(table)
    stacked = _total(one_line) > width
    widths = _spread(_least_widths(table), one_line, width) if stacked else one_line
    yield from _row([Text(header, style="bold") for header in table.headers], widths, console)
    yield Text("─" * min(_total(widths), width))
    for head, row in zip(heads, table.cells, strict=True):
        if head:
            yield Text(head, style="italic")
        yield from _row([_cell_text(cell, size) for cell, size in zip(row, widths, strict=True)], widths, console)


def _cell_text(cell: Cell, width: int) -> Text:
    text = str(cell)
    return Text(text if cell_len(text) <= width or not cell.detail else f"{cell.text}\n{cell.detail}")


def _row(cells: Sequence[Text], widths: Sequence[int], console: Console) -> Iterator[Text]:
    """Yield the lines of a row, each cell wrapped between words into its width."""
    wrapped = [list(cell.wrap(console, width, overflow="fold")) for cell, width in zip(cells, widths, strict=True)]
    for place in range(max(map(len, wrapped), default=0)):
        line = Text(end="")
        for lines, width in zip(wrapped, widths, strict=True):
            part = lines[place] if place < len(lines) else Text()
            line.append_text(part).append(" " * (width - part.cell_len + len(GAP)))
        line.rstrip()
        yield Text("").append_text(line)


def _spread(least: Sequence[int], most: Sequence[int], width: int) -> list[int]:
    """Return widths between the least and the most: spare width goes first to the columns that need the least more."""
    widths, spare = list(least), width - _total(least)
    if spare < 0:  # only below 80 columns, or with very long names: the widest column breaks
        widest = widths.index(max(widths))
        widths[widest] = max(1, widths[widest] + spare)
    for place in sorted(range(len(widths)), key=lambda i: most[i] - least[i]):
        more = max(0, min(spare, most[place] - least[place]))
        widths[place], spare = widths[place] + more, spare - more
    return widths


def _one_line_widths(table: Table) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(table.headers, *table.rows, strict=True)]


def _least_widths(table: Table) -> list[int]:
    """Return the width of each column's longest word; details and shared values stay on one line."""
    words = [[*header.split()] for header in table.headers]
    for row in table.cells:
        for found, cell, column in zip(words, row, table.columns, strict=True):
            found += [*([cell.text] if column.shared else cell.text.split()), cell.detail]
    return [max(map(cell_len, found), default=0) for found in words]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)
