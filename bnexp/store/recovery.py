"""What of a run folder can be kept when it is continued; the rest is put aside, so that nothing is overwritten."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnexp.config.experiment import ExperimentConfig
from bnexp.errors import InputError
from bnexp.store.cells import Block
from bnexp.store.checksums import Fault, examine
from bnexp.store.files import make_folder, remove_leftovers, set_aside
from bnexp.store.layout import (
    CHECKSUMS,
    CONFIG,
    CURVES,
    ENVIRONMENT,
    LOG,
    PICTURE,
    PROBES,
    SUMMARIES,
    TRIALS,
    cannot_continue,
)
from bnexp.store.reader import DamagedRunError, RunRecord


@dataclass(frozen=True)
class Salvage:
    """All of a run folder that is as it was written."""

    outcomes: Mapping[int, bytes]
    """Rows of trials.csv of the trials that have ended."""
    records: Mapping[int, Sequence[bytes]]
    """Rows of curves.csv by trial, up to the first that is not sound."""
    blocks: Mapping[int, Sequence[Block]]
    """Rows of probes.csv that came with them; empty without probes."""
    environment: Mapping[str, Any] | None
    """environment.json, if it is sound."""
    notes: tuple[str, ...]
    """What was damaged, and under which name it is kept."""


def make_run_folder(path: Path) -> None:
    """Make the folders of a run, without what a process that was killed left in them."""
    make_folder(path / "checkpoints")
    for folder in (path, path / "checkpoints"):
        remove_leftovers(folder)


def salvage(path: Path, config: ExperimentConfig) -> Salvage:
    """Return what can be kept of a run folder, and keep copies of what is damaged.

    Raises:
        InputError: the folder is of a format that is only read.
        OSError: a file can't be read, which may be whole, or no copy can be made.
    """
    tables = examine(path, config)
    if tables.older:
        raise cannot_continue(path)
    about, damaged = _other_files(path)
    notes = [_put_aside(path, fault) for fault in (*damaged, *tables.faults)] + _cleared(path)
    return Salvage(tables.outcomes, tables.records, tables.blocks, about, tuple(notes))


def _other_files(path: Path) -> tuple[dict[str, Any] | None, list[Fault]]:
    """Return environment.json, and which of it and config.yaml are damaged."""
    record, about, damaged = RunRecord(path), None, []
    try:
        about = record.environment
    except InputError as error:
        damaged.append(Fault(ENVIRONMENT, _why(error, path / ENVIRONMENT)))
    try:
        _ = record.config
    except InputError as error:
        damaged.append(Fault(CONFIG, _why(error, path / CONFIG)))
    return about, damaged


def _why(error: InputError, path: Path) -> str:
    if isinstance(error, DamagedRunError) and error.refused:
        raise error.refused
    return str(error).removeprefix(f"{path}: ")


def _put_aside(path: Path, fault: Fault) -> str:
    """Keep what is about to be replaced; return what there is to say."""
    files = (TRIALS, CURVES, PROBES) if fault.file == CHECKSUMS else (fault.file,)
    kept = [set_aside(path / name).name for name in files if os.path.lexists(path / name)]
    return f"{fault} (kept as {', '.join(kept)})" if kept else str(fault)


def _cleared(path: Path) -> list[str]:
    """Move away what stands where a file is to be and is none; return what there is to say."""
    names = (CHECKSUMS, LOG, *SUMMARIES, PICTURE)
    odd = [name for name in names if os.path.lexists(path / name) and not (path / name).is_file()]
    return [f"{name}: not a file (kept as {set_aside(path / name).name})" for name in odd]
