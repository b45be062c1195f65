"""What the files of a run folder are called, and which format they are in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnexp.errors import InputError
from bnexp.store.files import read

CONFIG, ENVIRONMENT, LOG = "config.yaml", "environment.json", "log.txt"
TRIALS, CURVES, CHECKSUMS = "trials.csv", "curves.csv", "checksums.txt"
PROBES, LATE_PROBES = "probes.csv", "late_probes.csv"
"""Only where the configuration has probes, and where some were taken afterwards."""
SUMMARIES = ("summary.md", "summary.csv")
"""Written when a run finishes; no command reads them, people do."""
PICTURE = "curves.png"
"""Written then, too, and again by every report."""
FORMAT_VERSION = 3
"""The format in which run folders are written; environment.json names the format of a folder."""
READ_ONLY = 2
"""The format before, which is still read, but not continued: `diverged` meant something else there."""


def check_format(run: Path) -> int | None:
    """Return the format of a run folder; None where it doesn't say, which is left to the checksums.

    Raises:
        InputError: the format is neither FORMAT_VERSION nor READ_ONLY.
    """
    found = _format(run)
    if found is None or found in (FORMAT_VERSION, READ_ONLY):
        return found
    if found > FORMAT_VERSION:
        raise InputError(f"{run}: written by a newer bnexp (format {found}, this one reads {FORMAT_VERSION}); upgrade")
    raise InputError(
        f"{run}: written by an earlier bnexp (format {found}, this one reads {READ_ONLY} and {FORMAT_VERSION}); "
        "train it anew with bnexp run --rerun"
    )


def cannot_continue(run: Path) -> InputError:
    """Return the error for a run folder of a format that is only read."""
    return InputError(
        f"{run}: written by an earlier bnexp (format {READ_ONLY}), which this one can show but not continue; "
        "train it anew with bnexp run --rerun"
    )


def _format(run: Path) -> int | None:
    try:
        about = json.loads(read(run / ENVIRONMENT))
        found = about.get("format") if isinstance(about, dict) else None
    except (OSError, ValueError, RecursionError):
        return None
    return found if type(found) is int else None


def groups_of(environment: Mapping[str, Any]) -> list[list[int]]:
    """Return the groups that environment.json holds, as words to keep it short."""
    return [[int(number) for number in group.split()] for group in environment.get("groups", ())]
