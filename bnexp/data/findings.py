"""What reading a data set found besides its images: what was left out, and what people should know of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from bnexp.words import counted

GROUNDS = {"white": 255, "black": 0}
"""What transparent pictures may be laid on, with the grey value."""


@dataclass(frozen=True)
class Findings:
    """For people and scripts; training doesn't depend on it."""

    left_out: tuple[tuple[str, int], ...] = ()
    """Files and folders that aren't read: the reason, or their ending, and how many."""
    ground: str = ""
    """What transparent pictures were laid on, one of GROUNDS; empty where there are none."""
    remarks: tuple[str, ...] = ()
    """What may surprise in how the files were read."""
    warnings: tuple[str, ...] = ()
    """What is probably a mistake in the data."""

    def lines(self) -> Iterator[str]:
        """Yield all but the warnings."""
        if self.ground:
            why = ", since what they show is light" if self.ground == "black" else ""
            yield f"transparent pictures are laid on {self.ground}{why}"
        yield from self.remarks
        if self.left_out:
            yield f"left out: {self.left_out_text()}"

    def left_out_text(self) -> str:
        """Write what was left out, such as "3 .txt files, 1 hidden"."""
        return ", ".join(_text(reason, count) for reason, count in self.left_out)


def most_frequent_first(reasons: Counter[str]) -> tuple[tuple[str, int], ...]:
    """Return how often each reason occurred, where it did; equally frequent ones by name."""
    return tuple(sorted((+reasons).items(), key=lambda item: (-item[1], item[0])))


def _text(reason: str, count: int) -> str:
    if reason[0] == ".":
        return counted(count, f"{reason} file")
    return counted(count, reason) if reason.endswith("folder") else f"{count} {reason}"
