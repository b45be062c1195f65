"""The files of a run folder: their names and format, and writing them so that a crash loses nothing.

A reader never sees half of a file that is replaced: the old content stays until the new one is on the disk.
"""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from errno import ENOENT
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.source import code_files, sources_in
from bnexp.errors import BnexpError, InputError

SOURCES = "networks"
"""Folder with the user's code, if the experiment uses any."""
CONFIG, ENVIRONMENT, LOG = "config.yaml", "environment.json", "log.txt"
TRIALS, CURVES, CHECKSUMS = "trials.csv", "curves.csv", "checksums.txt"
PROBES, LATE_PROBES = "probes.csv", "late_probes.csv"
"""The first exists only if the configuration has probes, the second if some were taken afterwards."""
SUMMARIES = ("summary.md", "summary.csv")
"""Written when a run finishes; no command reads them, people do."""
PICTURE = "curves.png"
"""Written at the end, too, and again by every report."""

FORMAT_VERSION = 4
"""The format in which run folders are written; environment.json names the format of a folder."""
OVERRIDES = "overrides"
"""Entry of environment.json: the overrides of the configuration in the command that began the run."""
CONTINUED = (3, FORMAT_VERSION)
"""The formats of folders that are continued. In format 3 checksums were over bytes; they are no longer read."""
READ_ONLY = 2
"""The oldest format that is read; it isn't continued, since `diverged` meant something else in it."""


def read_environment(run: Path) -> dict[str, Any]:
    """Return environment.json of a run folder; empty where it can't be read."""
    try:
        found = json.loads(read(run / ENVIRONMENT))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def check_format(run: Path) -> int | None:
    """Return the format of a run folder; None where environment.json doesn't say.

    Raises:
        InputError: this version doesn't read the format.
    """
    found = read_environment(run).get("format")
    if type(found) is not int:
        return None
    if found > FORMAT_VERSION:
        raise InputError(f"{run}: written by a newer bnexp (format {found}, this one reads {FORMAT_VERSION}); upgrade")
    if found not in (READ_ONLY, *CONTINUED):
        raise InputError(
            f"{run}: written by an earlier bnexp (format {found}, this one reads {READ_ONLY} to {FORMAT_VERSION}); "
            "train it again with bnexp run --rerun"
        )
    return found


def cannot_continue(run: Path) -> InputError:
    """Return the error for a run folder of a format that is only read."""
    return InputError(
        f"{run}: written by an earlier bnexp (format {READ_ONLY}), which this one can show but not continue; "
        "train it again with bnexp run --rerun"
    )


def groups_of(environment: Mapping[str, Any]) -> list[list[int]]:
    """Return the groups in environment.json, a text each to keep the file short: the trials that train together."""
    return [[int(number) for number in group.split()] for group in environment.get("groups", ())]


# Writing

SYNC_EVERY = 1.0
"""Seconds after which appended lines are flushed to the disk; a power failure can lose as much."""
WINDOWS = os.name == "nt"
"""True if an open file can't be replaced, and a folder that contains one can't be renamed."""
READERS_PATIENCE = 2.0
"""Seconds to wait then until commands that read have closed their files."""


def replace(path: Path, content: str | bytes) -> None:
    """Write a file beside its final place, flush it to disk, and move it there in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        _move(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _move(file: Path, to: Path) -> None:
    until = time.monotonic() + READERS_PATIENCE
    while True:
        try:
            os.replace(file, to)
            return
        except PermissionError:
            if not WINDOWS or time.monotonic() > until:
                raise
            time.sleep(0.01)


def refusal(run: Path, error: OSError) -> BnexpError:
    """Turn an OSError on a run folder into a one-line message; if a folder is in the way of a file, name it."""
    in_the_way = error.filename2 or error.filename if isinstance(error, IsADirectoryError) else None
    reason = f"{Path(in_the_way).name}: {error.strerror}" if in_the_way else error.strerror
    return BnexpError(f"{run}: {reason}; the same command continues once that is solved")


def refuse_link(run: Path) -> None:
    """Refuse a run folder that leads elsewhere.

    Raises:
        InputError: it is a link.
    """
    if run.is_symlink():
        raise InputError(f"{run}: is a link, but runs are written into folders; remove it, or choose another --runs")


def remove_run(run: Path) -> None:
    """Remove a run folder, if it is there, with all it holds.

    It is gone at once. If removing its files is interrupted, the next call continues.

    Raises:
        InputError: another process has it, or it is a link.
    """
    refuse_link(run)
    gone = run.with_name(f".{run.name}.removed")
    if gone.exists():
        shutil.rmtree(gone)
    if run.exists():
        set_aside(run, gone)
        shutil.rmtree(gone)


def set_aside(run: Path, to: Path) -> None:
    """Rename a run folder that no other process works in.

    On Windows the lock, a file in the folder, is released first. If another process takes it meanwhile, the file is
    open, so the folder can't be renamed.

    Raises:
        InputError: another process has it.
        OSError: it can't be renamed.
    """
    with locked(run):
        if not WINDOWS:
            _move(run, to)
            return
    _move(run, to)


def make_folder(path: Path) -> None:
    """Make a folder within a run folder, and that too.

    Raises:
        InputError: it can't be made, or the run folder leads elsewhere.
    """
    refuse_link(path.parent)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{path.parent}: can't be made a run folder ({error.strerror}); choose another with --runs"
        raise InputError(reason) from None


def remove_leftovers(run: Path) -> None:
    """Remove what a killed `replace` left beside its target, but not what a living process writes (a report)."""
    import psutil  # not where a run is only read

    for path in (*run.glob(".*.*"), *run.glob("checkpoints/.*.*")):
        process = path.suffix[1:]
        if process.isdecimal() and (int(process) == os.getpid() or not psutil.pid_exists(int(process))):
            path.unlink(missing_ok=True)


def quarantine(path: Path) -> Path:
    """Keep a copy of a damaged file under a new name, and return the name; anything but a file is moved there."""
    copies = (path.with_name(f"{path.name}.damaged-{number}") for number in range(1, 10**6))
    copy = next(copy for copy in copies if not os.path.lexists(copy))
    if path.is_file():
        shutil.copyfile(path, copy)
    else:
        path.rename(copy)
    return copy


def read(path: Path) -> bytes:
    """Return the content of a file; don't wait for a pipe that nobody writes into.

    Raises:
        FileNotFoundError: there is none, or something that is no file.
        OSError: it can't be read.
    """
    if os.path.lexists(path) and not path.is_file():
        raise FileNotFoundError(ENOENT, "Not a file", str(path))
    return path.read_bytes()


class AppendOnlyFile:
    """A file that only grows: every append reaches the system at once, and the disk at `sync`."""

    def __init__(self, path: Path):
        self._path = path
        # Without a buffer, so that closing doesn't retry what a full disk refused.
        self._file = path.open("ab", buffering=0)
        self._synced = time.monotonic()

    def append(self, content: bytes) -> None:
        """Add to the end.

        Raises:
            OSError: the disk is full, or the file has been removed.
        """
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]

    @property
    def due(self) -> bool:
        """True if the last `sync` was SYNC_EVERY ago."""
        return time.monotonic() - self._synced >= SYNC_EVERY

    def sync(self) -> None:
        """Wait until everything is on the disk.

        Raises:
            FileNotFoundError: the file is gone, although writing to it would still succeed.
        """
        os.fsync(self._file.fileno())
        if os.fstat(self._file.fileno()).st_nlink == 0:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(self._path))
        self._synced = time.monotonic()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


# The lock

LOCK, OWNER = ".lock", ".owner.json"
PATIENCE = 0.5
"""Seconds to wait for the lock, which `check_free` in another process may hold for a moment."""


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of a run folder, which exists.

    Raises:
        InputError: another process holds it; the message says which, where and since when.
    """
    with _taken(run):
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        replace(run / OWNER, json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since}) + "\n")
        yield


def check_free(run: Path) -> None:
    """Refuse a run folder that another process works in; changes nothing.

    Raises:
        InputError: as locked.
        BnexpError: the lock can't be read or written.
    """
    if (run / LOCK).exists():
        try:
            with _taken(run):
                pass
        except OSError as error:
            raise refusal(run, error) from error


@contextmanager
def _taken(run: Path) -> Iterator[None]:
    lock = FileLock(run / LOCK, timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"{run}: {_owner(run)} is running this experiment; wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def _owner(run: Path) -> str:
    try:
        about = json.loads(read(run / OWNER))
        return f"process {about['process']} on {about['host']}, since {about['since']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # between taking the lock and saying so


def copy_sources(config: ExperimentConfig, folder: Path) -> None:
    """Copy the files that make networks of the user's own, and those that they import, into a folder by digest."""
    for source in sources_in(config.model_dump()):
        for file in code_files(source.path) if source.path and source.path.is_file() else ():
            make_folder(folder)
            make_folder(folder / source.digest)
            replace(folder / source.digest / file.name, file.read_bytes())
