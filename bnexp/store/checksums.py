"""checksums.txt: what everything that was written into a run folder must look like when it is read.

A line of eight hexadecimal digits for every row and file ever written. Rows of curves.csv are chained: the checksum
of a row covers all earlier rows of its trial, so that none can be changed, lost or moved unseen. A row of trials.csv
has two, its own and a seal that goes on from the trial's last record. The file only grows, and a checksum is in it
before what it stands for is: reading the tables first and this file afterwards never finds a good row wanting.
"""

from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from zlib import crc32

from bnexp.store.files import Appender
from bnexp.store.layout import CHECKSUMS

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
