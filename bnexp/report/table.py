"""A table of strings and its renderings: for the terminal, for pipes, for Markdown and for notebooks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from html import escape
from textwrap import fill

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

GAP = "  "
"""Between two columns of text."""
UNBROKEN = 24
"""Characters of a word that stay together where a table is wider than the terminal."""


@dataclass(frozen=True)
class Table:
    """Cells as people read them; every row has a cell per header."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    """Lines under the table: what the columns mean, and what to be careful about."""
    marked: tuple[int, ...] = ()
    """Numbers of the rows that stand out, from 0."""


def to_rich(table: Table) -> RenderableType:
    """Return the table for a rich console; names are shown as they are, `[` opens no markup.

    Where the console is too narrow, the intervals move to a second line of their cells.
    """
    return _Fitted(table)


def to_text(table: Table) -> str:
    """Return plain lines with aligned columns, as wide as they need, ending in a newline."""
    widths = _widths(table)
    body = [GAP.join(map(_padded, line, widths)).rstrip() for line in (table.headers, *table.rows)]
    title = [table.title, ""] if table.title else []
    notes = ["", *table.notes] if table.notes else []
    return "\n".join([*title, *body, *notes]) + "\n"


def to_markdown(table: Table) -> str:
    """Return a GitHub Markdown table with the title as a heading above and the notes as a list below."""
    rows = [tuple(map(_escaped, row)) for row in table.rows]
    for place in table.marked:
        rows[place] = (f"**{rows[place][0]}**", *rows[place][1:])
    lines = [tuple(map(_escaped, table.headers)), ("---",) * len(table.headers), *rows]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    title = [f"### {table.title}"] if table.title else []
    notes = ["\n".join(f"- {note}" for note in table.notes)] if table.notes else []
    return "\n\n".join([*title, body, *notes]) + "\n"


def to_html(table: Table) -> str:
    """Return an HTML table for a notebook, with the title as its caption and the notes below."""
    head = "".join(f"<th>{escape(header)}</th>" for header in table.headers)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{notes}"


@dataclass(frozen=True)
class _Fitted:
    """A table that takes its form when it is printed: only then is the width of the console known."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        if self.table.title:
            yield Text(f"{self.table.title}\n", style="bold")
        widths = _widths(self.table)
        fits = sum(widths) + len(GAP) * (len(widths) - 1) <= options.max_width
        yield _rich_grid(self.table if fits else _with_broken_intervals(self.table), options.max_width)
        if self.table.notes:
            yield Text("\n" + "\n".join(self.table.notes), style="dim")


def _with_broken_intervals(table: Table) -> Table:
    rows = tuple(tuple(cell.replace(" [", "\n[") for cell in row) for row in table.rows)
    return replace(table, rows=rows)


def _rich_grid(table: Table, width: int) -> RichTable:
    """Return headers and rows; a column with broken cells keeps their width and wraps its header to it."""
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    most = min(UNBROKEN, width // (2 * len(table.headers)))
    for header, *cells in zip(table.headers, *table.rows, strict=True):
        broken = any("\n" in cell for cell in cells)
        title = Text(fill(header, _width(cells)) if broken else header)
        grid.add_column(title, no_wrap=broken, overflow="fold", min_width=min(_longest_word(cells), most))
    for row in table.rows:
        grid.add_row(*map(Text, row))
    return grid


def _longest_word(cells: Iterable[str]) -> int:
    return max((cell_len(word) for cell in cells for word in cell.split()), default=0)


def _widths(table: Table) -> list[int]:
    return [_width(column) for column in zip(table.headers, *table.rows, strict=True)]


def _width(cells: Iterable[str]) -> int:
    return max(cell_len(line) for cell in cells for line in cell.split("\n"))


def _padded(cell: str, width: int) -> str:
    # str.ljust counts characters; a terminal counts columns, two for a wide character.
    return cell + " " * (width - cell_len(cell))


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
