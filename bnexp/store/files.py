"""Writing files so that a reader never sees half of one."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def replace(path: Path, content: str | bytes) -> None:
    """Write a file beside its final place, flush it to disk, and move it there in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, header: bool = True) -> str:
    """Return rows as CSV: blanks for None, numbers with every digit that matters, true text quoted where needed."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    if header:
        writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in columns} for row in rows)
    return text.getvalue()


def whole_lines(path: Path) -> bytes:
    """Return a file up to its last line break: what follows was still being written."""
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]


def _cell(value: Any) -> Any:
    # One spelling of a swept list or mapping, whatever quotes Python would print it with.
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return value
