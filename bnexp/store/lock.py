"""One process at a time in a run folder: a lock that the system lets go of when its owner dies, however it dies."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from bnexp.errors import InputError
from bnexp.store.files import read, refusal, replace

LOCK, OWNER = ".lock", ".owner.json"
PATIENCE = 0.5
"""Seconds in which a process that only looked whether the lock is free has let go of it again."""


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
