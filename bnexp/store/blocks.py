"""Rows of probes.csv in blocks: a block is all that was measured in a trial since its record before.

A block's checksum goes on from its record's, so that none can be changed, lost or moved unseen.
"""

from collections.abc import Iterator, Sequence
from zlib import crc32

from bnexp.records import PROBE_COLUMNS, ProbeRecord
from bnexp.store.cells import csv_text

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
