"""The records so far of a trial that is being trained, as lines of the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bnexp.store.checksums import Entry, rows_sum
from bnexp.store.files import CURVES
from bnexp.store.tables import NO_STEP, line_cells


@dataclass
class Attempt:
    """One training of a trial, from its start or from the records that it continues from."""

    lines: Mapping[str, list[str]]
    """Its lines in each table that grows. As text they take a fifth of the memory of cells."""
    old_until: int = NO_STEP
    """Last step recorded by the previous attempt; its rows stay in the files until this attempt reaches that step."""
    last_step: int = field(init=False)
    sums: dict[str, int] = field(init=False)
    """Sum of the checksums of its lines, by table."""

    def __post_init__(self) -> None:
        self.last_step = step_of(self.lines[CURVES][-1]) if self.lines[CURVES] else NO_STEP
        self.sums = {name: rows_sum(map(line_cells, lines)) for name, lines in self.lines.items()}

    def add(self, trial: int, step: int, new: Mapping[str, tuple[Sequence[str], int]]) -> list[Entry]:
        """Add a record and what was measured since the one before; return the entries for all tables.

        Args:
            trial: its number.
            step: of the record.
            new: by table its lines and the sum of their checksums.
        """
        self.last_step = step
        for name, (lines, sum_) in new.items():
            self.lines[name].extend(lines)
            self.sums[name] += sum_
        return [(name, trial, step, sum_) for name, sum_ in self.sums.items()]

    def reaches(self, step: int) -> bool:
        """Return whether it has a record of a step."""
        return any(step_of(line) == step for line in self.lines[CURVES])

    def until(self, step: int) -> "Attempt":
        """Return the attempt that continues from a step of this one."""
        furthest = max(self.last_step, self.old_until)
        lines = {name: [line for line in lines if step_of(line) <= step] for name, lines in self.lines.items()}
        return Attempt(lines, furthest if furthest > step else NO_STEP)


def step_of(line: str) -> int:
    """Return the step of a line, whose first cells are trial, epoch and step."""
    return int(line.split(",", 3)[2])
