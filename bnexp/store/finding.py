"""Finding run folders: by path, by name, by the name of their experiment, or all of them."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bnexp.errors import InputError, nearest, refuse_twice
from bnexp.store.files import read
from bnexp.store.layout import CHECKSUMS, CONFIG, ENVIRONMENT, LOG
from bnexp.store.reader import RunRecord

Warn = Callable[[str], None]
"""Told about every run that is left out, and why."""


def find_runs(runs: Path) -> list[RunRecord]:
    """Return the runs in a folder, oldest first."""
    folders = [path for path in runs.glob("*") if holds_run(path)] if runs.is_dir() else []
    return [RunRecord(path) for path in sorted(folders, key=lambda path: (_started(path), path.name))]


def newest_runs(runs: Path) -> list[RunRecord]:
    """Return the newest run of every experiment, in the order of their names."""
    newest = {experiment_of(run.path): run for run in find_runs(runs)}
    return [newest[name] for name in sorted(newest)]


def find_run(written: str, runs: Path) -> RunRecord:
    """Return the run meant by a folder's path, a folder's name in `runs`, or an experiment's name (the newest).

    Raises:
        InputError: no such run; the message says which there are.
    """
    for path in (Path(written), runs / written):
        if RunRecord.exists(path):
            return RunRecord(path)
    known = find_runs(runs)
    named = [run for run in known if experiment_of(run.path) == written]
    if named:
        return named[-1]
    names = [run.path.name for run in known]
    there = f"there are {', '.join(names)}" if names else "there are none yet: train one with bnexp run"
    raise InputError(f"{written}: no such run in {runs}{nearest(written, names)}; {there}")


def find_some(written: Sequence[str], runs: Path) -> list[RunRecord]:
    """Return the runs asked for, or without any the newest run of every experiment.

    Raises:
        InputError: one is not there or named twice, or nothing was asked for and there is no run at all.
    """
    found = [find_run(name, runs) for name in written] if written else newest_runs(runs)
    refuse_twice((name, run.path.resolve()) for name, run in zip(written, found, strict=False))
    if not found:
        raise InputError(f"{runs}: no runs here yet; train one with bnexp run configs/quickstart.yaml")
    return found


def find_together(written: Sequence[str], runs: Path, warn: Warn) -> list[list[RunRecord]]:
    """Return what belongs into one comparison each: all runs asked for, or without any every experiment's newest.

    Runs that can't be read are left out with a warning.

    Raises:
        InputError: as find_some, or no run is left.
    """
    found, reasons = [], []
    for run in find_some(written, runs):
        try:
            run.check()
            found.append(run)
        except InputError as error:
            reasons.append(str(error))
    if not found:
        raise InputError("\n".join([*reasons, "no run is left; bnexp run with its configuration restores one"]))
    for reason in reasons:
        warn(f"left out: {reason}")
    return [found] if written else [[run] for run in found]


def experiment_of(folder: Path) -> str:
    """Return the name of the experiment that a run folder's name begins with."""
    return folder.name.rpartition("-")[0]


def holds_run(path: Path) -> bool:
    """Tell whether a folder is a run, be it one that has lost its configuration: that comes before the first log."""
    return any(all(os.path.lexists(path / name) for name in names) for names in ((CONFIG,), (CHECKSUMS, LOG)))


def _started(path: Path) -> str:
    try:
        about = json.loads(read(path / ENVIRONMENT))
        return str(about.get("started", "")) if isinstance(about, dict) else ""
    except (OSError, ValueError, RecursionError):
        return ""
