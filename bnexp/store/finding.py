"""Finding run folders: by path, by name, by the name of their experiment, or all of them."""

import os
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from bnexp.errors import InputError, nearest, refuse_twice
from bnexp.store.files import CHECKSUMS, CONFIG, LOG, read_environment
from bnexp.store.reader import DamagedRunError, RunRecord

RUNS_VARIABLE = "BNEXP_RUNS"
"""Names the folder of the run folders where no command says another."""
MOST_NAMED = 10
"""The most runs that an error names one by one."""
Warn = Callable[[str], None]
"""Called with each warning: what was changed or lost since a run was written, or why a run is left out."""


def find_runs(runs: Path) -> list[RunRecord]:
    """Return the runs in a folder, oldest first."""
    folders = [path for path in runs.glob("*") if holds_run(path)] if runs.is_dir() else []
    started = {path: str(read_environment(path).get("started", "")) for path in folders}
    return [RunRecord(path) for path in sorted(folders, key=lambda path: (started[path], path.name))]


def newest_runs(runs: Path) -> list[RunRecord]:
    """Return the newest run of every experiment, in the order of their names."""
    newest = {experiment_of(run.path): run for run in find_runs(runs)}
    return [newest[name] for name in sorted(newest)]


def find_run(written: str, runs: Path, warn: Warn = lambda text: None) -> RunRecord:
    """Return the run meant by a folder's path, a folder's name in `runs`, or an experiment's name (the newest).

    Raises:
        InputError: no such run (the message names those that exist), no run folder, or no readable configuration.
    """
    run = _meant(written, runs)
    if why := _no_run(run.path):
        raise InputError(why)
    try:
        _ = run.config
    except DamagedRunError as error:
        remedy = "" if error.refused else "; bnexp run with its configuration restores it"
        raise InputError(f"{error}{remedy}") from error
    for line in run.warnings:
        warn(line)
    return run


def _meant(written: str, runs: Path) -> RunRecord:
    """Return the run that a word means, or the path if there is anything; reading it will say what is wrong."""
    places = (Path(written), runs / written)
    if path := next(filter(holds_run, places), None):
        return RunRecord(path)
    known = find_runs(runs)
    if named := [run for run in known if experiment_of(run.path) == written]:
        return named[-1]
    if path := next(filter(os.path.lexists, places), None):
        return RunRecord(path)
    names = [run.path.name for run in known]
    close = nearest(written, [*names, *(experiment_of(run.path) for run in known)])
    there = "there are none yet: train one with bnexp run"
    if names:
        there = f"there are {', '.join(names)}" if len(names) <= MOST_NAMED else f"bnexp list shows all {len(names)}"
    raise InputError(f"{written}: no such run in {runs.absolute()}{close}; {there}")


def runs_folder(runs: str | Path | None = None) -> Path:
    """Return the folder of the run folders: the one given, or else $BNEXP_RUNS, or else runs/ here."""
    return Path(runs or os.environ.get(RUNS_VARIABLE) or "runs")


def find_folders(written: Sequence[str], runs: Path) -> list[Path]:
    """Return the run folders asked for, readable or not.

    Raises:
        InputError: one is not there, named twice, or no run folder.
    """
    found = [run.path for run in find_some(written, runs)]
    if reasons := [why for path in found if (why := _no_run(path))]:
        raise InputError("\n".join(reasons))
    return found


def _expanded(written: str, runs: Path) -> list[str]:
    """Return the names of the runs that match a pattern such as base-*; any other word is returned as it is."""
    if not set("*?[") & set(written) or os.path.lexists(written):
        return [written]
    return [run.path.name for run in find_runs(runs) if fnmatchcase(run.path.name, written)] or [written]


def find_some(written: Sequence[str], runs: Path) -> list[RunRecord]:
    """Return the runs asked for, readable or not, or without any the newest run of every experiment.

    Raises:
        InputError: one is not there or named twice, or nothing was asked for and there is no run at all.
    """
    written = [name for each in written for name in _expanded(each, runs)]
    found = [_meant(name, runs) for name in written] if written else newest_runs(runs)
    refuse_twice((name, os.path.realpath(run.path)) for name, run in zip(written, found, strict=False))
    if not found:
        raise InputError(f"{runs.absolute()}: no runs here yet; train one with bnexp run configs/quickstart.yaml")
    return found


def find_together(written: Sequence[str], runs: Path, warn: Warn) -> list[list[RunRecord]]:
    """Return the runs of each comparison: all requested runs together or, without any, each experiment's newest run.

    Folders that aren't runs, or can't be read, are left out with a warning.

    Raises:
        InputError: as find_some, or no run is left.
    """
    found, reasons, changed = [], [], list[str]()
    for run in find_some(written, runs):
        try:
            if why := _no_run(run.path):
                raise InputError(why)
            run.check()
        except InputError as error:
            reasons.append(str(error))
        else:
            found.append(run)
            changed += run.warnings
    if not found:
        raise InputError("\n".join([*reasons, "no run is left; bnexp run with its configuration restores one"]))
    for line in (*changed, *(f"left out: {reason}" for reason in reasons)):
        warn(line)
    return [found] if written else [[run] for run in found]


def _no_run(path: Path) -> str:
    """Return why a path isn't a run folder; empty if it is one, or can't be read."""
    if os.path.isdir(path):
        unknown = not os.access(path, os.X_OK)
        return "" if unknown or holds_run(path) else f"{path}: not a run folder, it has no config.yaml"
    what = "this link leads to none" if os.path.islink(path) else "it is a file"
    return f"{path}: not a run folder, {what}"


def experiment_of(folder: Path) -> str:
    """Return the name of the experiment that a run folder's name begins with."""
    return folder.name.rpartition("-")[0]


def holds_run(path: Path) -> bool:
    """Return whether a folder is a run: it has a configuration, or has lost it but still has checksums and a log."""
    return any(all(os.path.lexists(path / name) for name in names) for names in ((CONFIG,), (CHECKSUMS, LOG)))
