"""Rows of CSV files: cells that keep every digit, and the blocks of probes.csv."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from zlib import crc32

from bnexp.records import PROBE_COLUMNS, ProbeRecord

RUN_BY_SPREADSHEETS = ("=", "+", "-", "@")
"""A text that begins with one of these is a formula to a spreadsheet."""


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, header: bool = True) -> str:
    """Return rows as CSV: blanks for None, numbers with every digit that matters, true text quoted where needed."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    if header:
        writer.writeheader()
    writer.writerows({name: cell(row.get(name)) for name in columns} for row in rows)
    return text.getvalue()


def number_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Return rows of numbers as lines without their breaks: what csv_text makes of them, in a quarter of the time."""
    return [",".join(map(_number, map(row.get, columns))).encode() for row in rows]


def _number(value: float | None) -> str:
    # As the csv module writes them.
    return repr(value) if type(value) is float else "" if value is None else str(value)


def csv_line(cells: Iterable[Any]) -> bytes:
    """Return cells as one row, as they are and without the line break."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue().encode()


def cell(value: Any) -> Any:
    """Return what stands in a cell: a list as words, a text on one line with a `'` before what would be a formula."""
    if isinstance(value, list | tuple):
        # One spelling of a swept list, whatever quotes Python would print it with.
        value = " ".join(map(str, value))
    if not isinstance(value, str):
        return value
    line = "".join(letter if letter.isprintable() else " " for letter in value)
    return f"'{line}" if _formula(line) else line


def meant(written: Any) -> Any:
    """Return the text that `cell` wrote, without the `'` that keeps it from being run."""
    return written[1:] if isinstance(written, str) and written[:1] == "'" and _formula(written) else written


def _formula(text: str) -> bool:
    return text.lstrip("'").startswith(RUN_BY_SPREADSHEETS)  # a text that is guarded already is guarded once more


# Rows of probes.csv in blocks: a block is all that was measured in a trial since its record before.
#
# A block's checksum goes on from its record's, so that none can be changed, lost or moved unseen.

Block = tuple[bytes, ...]
"""Whole lines without their line breaks; often there are none."""

_OWN = b"probes\n"
"""What an empty block goes on with, too."""


def block_checksum(block: Block, record: int) -> int:
    """Return the checksum of a block, from that of the record that it came with."""
    return crc32(_OWN + b"\n".join(block), record)


def blocks_of(probes: Sequence[ProbeRecord]) -> dict[int, Block]:
    """Return the rows of what was measured since the last record, by trial."""
    found: dict[int, list[bytes]] = {}
    for each in probes:
        lines = csv_text(PROBE_COLUMNS, each.rows(), header=False).encode().split(b"\n")[:-1]
        size = len(each.values)
        for k, trial in enumerate(each.trials):
            found.setdefault(trial, []).extend(lines[k * size : (k + 1) * size])
    return {trial: tuple(lines) for trial, lines in found.items()}


def blocks_between(lines: Sequence[bytes], steps: Sequence[int]) -> Iterator[Block]:
    """Yield a trial's rows in a block for each of its records, which are told by their steps; what is left is lost."""
    place = 0
    for step in steps:
        first = place
        while place < len(lines) and step_of(lines[place]) <= step:
            place += 1
        yield tuple(lines[first:place])


def probe_of(name: str) -> str:
    """Return the probe that a value is of, from what stands in the column `probe`."""
    return name.partition(".")[0].partition("[")[0]


def step_of(line: bytes) -> int:
    """Return the step of a row, −1 where it doesn't say."""
    cells = line.split(b",", 3)
    return int(cells[2]) if len(cells) == 4 and cells[2].isdigit() else -1
