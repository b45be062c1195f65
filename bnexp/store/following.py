"""Following a run by reading its folder: whether it has changed, which process writes it, what its log says."""

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bnexp.store.files import CONFIG, CURVES, ENVIRONMENT, LOCK, LOG, OWNER, TRIALS, read, read_environment

State = Literal["ended", "training", "elsewhere", "stopped"]
"""`elsewhere`: begun on another machine, so only its files tell whether it still trains."""
SILENT = 600.0
"""Seconds without a new record after which one that trains elsewhere may have been stopped."""
TAIL = 20_000
"""Bytes at the end of the log that are read."""


@dataclass(frozen=True)
class Pulse:
    """What a run's folder shows about the process that works in it."""

    state: State
    host: str
    """The machine on which it trains or trained; empty where that isn't known."""
    silent: float
    """Seconds since anything was written."""

    @property
    def may_have_stopped(self) -> bool:
        """True where nothing has been written for long."""
        return self.state == "elsewhere" and self.silent >= SILENT


def pulse(run: Path) -> Pulse:
    """Return whether a run has ended, trains or was stopped, without taking its lock."""
    owner = _owner(run)
    host = str(owner.get("host", ""))
    silent = max(0.0, time.time() - max((at for at, _ in stamp(run)), default=0) / 1e9)
    if read_environment(run).get("ended"):
        return Pulse("ended", host, silent)
    if host and host != socket.gethostname():
        return Pulse("elsewhere", host, silent)
    return Pulse("training" if _holds(owner.get("process"), run / LOCK) else "stopped", host, silent)


def stamp(run: Path) -> tuple[tuple[int, int], ...]:
    """Return when each of its files was last written, in nanoseconds, and its size; they differ after any change."""
    found = []
    for name in (CONFIG, TRIALS, CURVES, ENVIRONMENT, LOG):
        try:
            about = os.stat(run / name)
        except OSError:
            continue
        found.append((about.st_mtime_ns, about.st_size))
    return tuple(found)


SHARE = 0.2
"""Following a run takes at most this share of the time, however large the run is."""


def changes(runs: Sequence[Path], every: float) -> Iterator[bool]:
    """Yield at once, and again whenever some of the runs have changed, until none of them trains any more.

    Args:
        runs: their folders.
        every: seconds to wait at least before the next time; it is four times as long as the caller took, if that is
            more.

    Yields:
        True if none of them trains any more: this was the last time.
    """
    seen: list[object] | None = None
    while True:
        over = all(pulse(run).state in ("ended", "stopped") for run in runs)  # asked first: reading then sees all
        now: list[object] = [stamp(run) for run in runs]
        begun = time.monotonic()
        if over or now != seen:
            yield over
        if over:
            return
        seen, took = now, time.monotonic() - begun
        time.sleep(max(every, took * (1 / SHARE - 1)))


def newest_lines(run: Path, count: int) -> list[str]:
    """Return the last lines of log.txt, at most so many."""
    try:
        with (run / LOG).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL))
            return file.read().decode(errors="replace").splitlines()[-count:] if count else []
    except OSError:
        return []


def _owner(run: Path) -> dict[str, object]:
    """Return what the process that last took the lock said of itself; nothing where that can't be read."""
    try:
        found = json.loads(read(run / OWNER))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _holds(process: object, lock: Path) -> bool:
    """Return whether a process has a run's lock open; that of a folder that was copied isn't its copy's."""
    import psutil  # not where a run is only read

    if type(process) is not int:
        return False
    try:
        return any(os.path.samefile(file.path, lock) for file in psutil.Process(process).open_files())
    except psutil.AccessDenied:  # another user's
        return True
    except (psutil.Error, OSError):
        return False
