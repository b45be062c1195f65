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
FORMAT_VERSION = 2
"""Of the run folder; environment.json says which one a folder has."""


def check_format(run: Path) -> None:
    """Refuse a run folder of another format; one that doesn't say which is left to the checksums.

    Raises:
        InputError: the format is not FORMAT_VERSION.
    """
    try:
        about = json.loads(read(run / ENVIRONMENT))
        found = about.get("format") if isinstance(about, dict) else None
    except (OSError, ValueError, RecursionError):
        return
    if type(found) is not int or found == FORMAT_VERSION:
        return
    if found > FORMAT_VERSION:
        raise InputError(f"{run}: written by a newer bnexp (format {found}, this one reads {FORMAT_VERSION}); upgrade")
    raise InputError(
        f"{run}: written by an earlier bnexp (format {found}, this one reads {FORMAT_VERSION}); "
        "train it anew with bnexp run --rerun"
    )


def groups_of(environment: Mapping[str, Any]) -> list[list[int]]:
    """Return the groups that environment.json holds, as words to keep it short."""
    return [[int(number) for number in group.split()] for group in environment.get("groups", ())]
