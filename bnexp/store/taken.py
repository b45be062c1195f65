"""A trial that one run folder takes over from another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bnexp.store.blocks import Block, block_checksum
from bnexp.store.checksums import chain, seal


@dataclass(frozen=True)
class TakenTrial:
    """All rows of a trial that has ended, as they are written."""

    outcome: bytes
    """Its row of trials.csv."""
    records: Sequence[bytes]
    """Its rows of curves.csv."""
    blocks: Sequence[Block] = ()
    """Of probes.csv what came with each of them; empty where there is no such file."""

    def checksums(self) -> Iterator[int]:
        """Yield the checksums of all but the outcome's row itself."""
        sums = chain(self.records)
        yield from sums
        yield from (block_checksum(block, value) for block, value in zip(self.blocks, sums, strict=bool(self.blocks)))
        yield seal(self.outcome, sums[-1] if sums else 0)
