"""What came of a part of `make gpu`: one JSON file each, and the same as Markdown."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.gpu.figures import Figure, table
from benchmarks.gpu.parts import PARTS, Part
from bnexp.config.text import gibibytes

Outcome = Literal["done", "failed", "unfinished", "left out"]
SHOWN = 20
"""Lines of a failure that Markdown shows, the last of those in the JSON."""


@dataclass(frozen=True)
class Record:
    """What came of a part."""

    part: str
    command: str
    rehearsed: bool
    """Nothing of it is about a GPU."""
    outcome: Outcome
    reason: str
    """The error of a part that failed; otherwise what is left to do, or missing."""
    started: str
    seconds: float
    machine: dict[str, Any]
    """Versions, cores and devices, as `bnexp doctor --json` has them."""
    figures: Sequence[Figure] = ()
    table: str = ""

    def write(self, folder: Path) -> None:
        """Write it into a folder, in place of an older one of the same part."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / f"{self.part}.json").write_text(text + "\n", encoding="utf-8")

    @property
    def text(self) -> str:
        """All of it as Markdown, without a heading."""
        came = [self.outcome.capitalize() + f": {self.reason}." if self.outcome in ("unfinished", "left out") else ""]
        if self.outcome == "failed":
            last = self.reason.splitlines()[-SHOWN:]
            came = ["Failed:", "\n".join(["```text", *(line.replace("```", "'''") for line in last), "```"])]
        tables = [table(self.figures) if self.figures else "", self.table]
        head = f"    {self.command}\n\n{self._where()}"
        return "\n\n".join(each.strip("\n") for each in (head, *came, *tables) if each)

    def _where(self) -> str:
        has = {name: number or "none" for name, number in self.machine["versions"].items()}
        devices = [f"{each['name']} ({gibibytes(each['bytes'])})" for each in self.machine["devices"]]
        versions = f"Python {has['python']}, torch {has['torch']}, NumPy {has['numpy']}, bnexp {has['bnexp']}"
        cuda = f"driver {has['driver']}, CUDA {has['cuda']}, cuDNN {has['cudnn']}"
        note = "A rehearsal without a GPU, so that its figures mean nothing. " if self.rehearsed else ""
        return f"{note}{', '.join(devices)}; {cuda}; {versions}; {self.started[:10]}, {self.seconds:.0f} s."


def read(folder: Path) -> dict[str, Record]:
    """Return the records in a folder by their part; none where there is no such folder."""
    found = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json")))
    return {each["part"]: Record(**each | {"figures": [Figure(**one) for one in each["figures"]]}) for each in found}


def section(records: dict[str, Record], page: str | None = None) -> str:
    """Return all records, or those that a document shows, as Markdown under headings; empty where there are none."""
    return "\n\n".join(_sections(records, [part for part in PARTS if page in (None, part.page)]))


def _sections(records: dict[str, Record], parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        if part.name in records:
            yield f"### {part.title} (`make gpu PARTS={part.name}`)\n\n{records[part.name].text}"
