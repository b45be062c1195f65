"""SIGINT and SIGTERM: the first ends the training, but not while a file is written; a second one ends the process."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_CODE = 130


class Interrupts:
    """While it is entered, the first signal raises KeyboardInterrupt, as soon as nothing is being written.

    A second one ends the process immediately; the files in the run folder are whole even then. Only the main thread
    gets signals: elsewhere nothing is changed.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._seen = self._writing = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Hold signals off while files are written; see deliver."""
        self._writing = True
        try:
            yield
        finally:
            self._writing = False

    def deliver(self) -> None:
        """Raise KeyboardInterrupt if a signal came while it was held off, or was lost in a library's callback."""
        if self._seen:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._seen:
            _leave()
        self._seen = True
        if not self._writing:
            raise KeyboardInterrupt


def _leave() -> None:
    cursor = b"\x1b[?25h" if sys.stderr.isatty() else b""  # which a progress bar has hidden
    os.write(2, cursor + b"bnexp: left at once; what is recorded is kept, the same command continues\n")
    os._exit(EXIT_CODE)
