"""checksums.txt, and the tables of a run folder held against it."""

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from pathlib import Path
from zlib import crc32

from bnexp.config.experiment import ExperimentConfig
from bnexp.records import CURVE_COLUMNS, PROBE_COLUMNS
from bnexp.store.cells import Block, block_checksum, blocks_between, step_of
from bnexp.store.files import Appender, whole_lines
from bnexp.store.layout import CHECKSUMS, CURVES, PROBES, TRIALS
from bnexp.store.results import NEW_COLUMNS, TRIAL_COLUMNS

# checksums.txt: what everything that was written into a run folder must look like when it is read.
#
# A line of eight hexadecimal digits for every row and file ever written. Rows of curves.csv are chained: the checksum
# of a row covers all earlier rows of its trial, so that none can be changed, lost or moved unseen. A row of trials.csv
# has two, its own and a seal that goes on from the trial's last record. The file only grows, and a checksum is in it
# before what it stands for is: reading the tables first and this file afterwards never finds a good row wanting.

OUTCOME = crc32(b"outcome")
"""What a row of trials.csv goes on from, so that it is no record."""


def checksum(content: bytes, before: int = 0) -> int:
    """Return the checksum of some bytes, chained to that of what comes before them."""
    return crc32(content, before)


def file_checksum(name: str, content: bytes) -> int:
    """Return the checksum of a whole file, which is that of no other file with the same content."""
    return crc32(content, crc32(name.encode()))


def seal(outcome: bytes, records: int) -> int:
    """Return the checksum of a row of trials.csv that goes on from the trial's last record, 0 where there is none.

    It is never the row's own, which would do for a trial whose records are all lost.
    """
    return crc32(b"\n" + outcome, records)


def chain(rows: Iterable[bytes]) -> list[int]:
    """Return the checksums of rows that follow each other, each over all up to it."""
    return list(accumulate(rows, lambda before, row: crc32(row, before), initial=0))[1:]


class Checksums:
    """The checksums of a run folder, to add to."""

    def __init__(self, run: Path):
        self._file = Appender(run / CHECKSUMS)
        self._start = b"\n"  # whatever a crash left at the end of the last one

    def add(self, values: Iterable[int]) -> None:
        """Enter checksums of what is about to be written."""
        self._file.append(self._start + b"".join(b"%08x\n" % value for value in values))
        self._start = b""

    def sync(self) -> None:
        """Wait until they are on the disk."""
        self._file.sync()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Known:
    """The checksums of a run folder as they are at this moment, to look up."""

    def __init__(self, run: Path):
        path = run / CHECKSUMS
        self.missing = not path.is_file()
        self._values = frozenset() if self.missing else frozenset(path.read_bytes().split())

    def __contains__(self, value: int) -> bool:
        return b"%08x" % value in self._values


NAMED = 5
"""Trials that a message lists."""


@dataclass(frozen=True)
class Fault:
    """Something in a run folder that is not as it was written."""

    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


@dataclass(frozen=True)
class Tables:
    """What of the tables is as it was written; rows are whole lines without their line breaks."""

    outcomes: dict[int, bytes]
    """Rows of trials.csv of the trials that have ended, and whose records are all there."""
    records: dict[int, list[bytes]]
    """Rows of curves.csv by trial, up to the first that is not sound, or that came with others that are not."""
    blocks: dict[int, list[Block]]
    """The rows of probes.csv that came with each of them; empty without probes."""
    trials_csv: bytes
    """The file."""
    curves_csv: bytes
    """The file, but for a last line that is still being written."""
    faults: tuple[Fault, ...]
    older: bool = False
    """Whether trials.csv has the columns of the format before."""


def trial_columns(config: ExperimentConfig) -> tuple[str, ...]:
    """Return the columns of trials.csv."""
    return ("trial", "arm", "seed", *config.swept, *TRIAL_COLUMNS)


def older_columns(config: ExperimentConfig) -> tuple[str, ...]:
    """Return the columns of trials.csv in the format before."""
    return tuple(name for name in trial_columns(config) if name not in NEW_COLUMNS)


def cells_of(line: bytes) -> list[str]:
    """Return the cells of a row, as text."""
    return next(csv.reader([line.decode()]))


def examine(run: Path, config: ExperimentConfig) -> Tables:
    """Read the tables and check every row; what is missing or damaged becomes a fault, never an error.

    Raises:
        OSError: a file is there but can't be read.
    """
    # Outcomes first: the records that they rest on were written before. Checksums last: they were written first.
    trials_csv, curves_csv = (_content(run / name) for name in (TRIALS, CURVES))
    probes_csv = _content(run / PROBES) if config.probes else b""
    known = Known(run)
    if known.missing:
        fault = Fault(CHECKSUMS, "missing, so that nothing can be checked")
        return Tables({}, {}, {}, trials_csv or b"", curves_csv or b"", (fault,))
    numbers = range(len(config.points()) * len(config.arms) * len(config.seeds))
    older = _header(trials_csv) == older_columns(config)
    columns = older_columns(config) if older else trial_columns(config)
    ended, trial_faults = _outcomes(trials_csv, columns, numbers, known)
    records, sums, bad = _records(curves_csv, numbers, known)
    bad |= {number for number, row in ended.items() if seal(row, sums.get(number, [0])[-1]) not in known}
    faults = [*trial_faults, *_record_faults(CURVES, CURVE_COLUMNS, curves_csv, sorted(bad))]
    blocks: dict[int, list[Block]] = {}
    if config.probes:
        blocks, unproved, strange = _blocks(probes_csv or b"", records, sums, known, numbers, ended.keys() - bad)
        records = {number: rows[: len(blocks[number])] for number, rows in records.items()}
        faults += _record_faults(PROBES, PROBE_COLUMNS, probes_csv, sorted(unproved), strange=strange)
        bad |= unproved
    sound = {number: row for number, row in ended.items() if number not in bad}
    return Tables(sound, records, blocks, trials_csv or b"", curves_csv or b"", tuple(faults), older)


def _content(path: Path) -> bytes | None:
    return whole_lines(path) if path.is_file() else None


def _header(content: bytes | None) -> tuple[str, ...]:
    first = (content or b"").partition(b"\n")[0].decode(errors="replace")
    return tuple(first.split(","))


def _outcomes(
    content: bytes | None, columns: Sequence[str], numbers: range, known: Known
) -> tuple[dict[int, bytes], list[Fault]]:
    """Return the sound rows of ended trials, and what is wrong with the file."""
    if content is None:
        return {}, [Fault(TRIALS, "missing")]
    lines = content.split(b"\n")[1:-1]
    if _header(content) != columns:
        return {}, [Fault(TRIALS, "the first line is not as it was written")]
    rows = {_number(line): line for line in lines if checksum(line, OUTCOME) in known}
    lost = [number for number in numbers if number not in rows]
    at = columns.index("outcome")
    ended = {number: rows[number] for number in numbers if number in rows and cells_of(rows[number])[at]}
    if lost:
        return ended, [Fault(TRIALS, f"missing or not as it was written: {_named(lost)}")]
    return ended, [Fault(TRIALS, "has rows that nobody wrote")] if len(lines) > len(numbers) else []


def _records(
    content: bytes | None, numbers: range, known: Known
) -> tuple[dict[int, list[bytes]], dict[int, list[int]], set[int]]:
    """Return the sound rows by trial, their checksums, and the trials with others."""
    sound: dict[int, list[bytes]] = {}
    sums: dict[int, list[int]] = {}
    bad: set[int] = set()
    for line in (content or b"").split(b"\n")[1:-1]:
        number = _number(line)
        value = checksum(line, sums[number][-1] if number in sums else 0)
        if number in bad or number not in numbers or value not in known:
            bad.add(number)
        else:
            sums.setdefault(number, []).append(value)
            sound.setdefault(number, []).append(line)
    return sound, sums, bad


def _blocks(
    content: bytes,
    records: Mapping[int, Sequence[bytes]],
    sums: Mapping[int, Sequence[int]],
    known: Known,
    numbers: range,
    ended: Collection[int],
) -> tuple[dict[int, list[Block]], set[int], bool]:
    """Return what came with the records of each trial, up to the first block that is not sound; the trials that have
    such a block; and whether there are rows that belong to no record, nor to one that is still to be made.
    """
    lines: dict[int, list[bytes]] = {}
    for line in content.split(b"\n")[1:-1]:
        lines.setdefault(_number(line), []).append(line)
    found, strange = {}, False
    for number, rows in records.items():
        own = list(blocks_between(lines.get(number, ()), [step_of(row) for row in rows]))
        proved = takewhile(lambda pair: block_checksum(*pair) in known, zip(own, sums[number], strict=True))
        found[number] = [block for block, _ in proved]
        strange |= number in ended and sum(map(len, own)) < len(lines.get(number, ()))
    unproved = {number for number, rows in records.items() if len(found[number]) < len(rows)}
    return found, unproved, strange or any(number not in numbers for number in lines)


def _record_faults(
    file: str, columns: Sequence[str], content: bytes | None, bad: Sequence[int], *, strange: bool = False
) -> list[Fault]:
    if content is None:
        return [Fault(file, "missing")]
    if content.partition(b"\n")[0] != ",".join(columns).encode():
        return [Fault(file, "the first line is not as it was written")]
    if bad:
        return [Fault(file, f"missing or not as they were written: records of {_named(bad)}")]
    return [Fault(file, "has rows that nobody wrote")] if strange else []


def _number(line: bytes) -> int:
    """Return the trial that a row is about, -1 where it doesn't say."""
    first = line.partition(b",")[0]
    return int(first) if first.isdigit() and len(first) < 10 else -1


def _named(numbers: Sequence[int]) -> str:
    known = [number for number in numbers if number >= 0]
    shown = ", ".join(map(str, known[:NAMED])) + (", …" if len(known) > NAMED else "")
    return f"trial {shown}" if len(known) == 1 else f"trials {shown}" if known else "unknown trials"
