"""`bnexp watch`: a running experiment in a terminal, from its folder alone."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp.cli.options import DEFAULT_RUNS, Json, RunName, Runs
from bnexp.cli.output import as_written, print_json
from bnexp.errors import InputError
from bnexp.screen import Pace, print_line

if TYPE_CHECKING:
    from bnexp.report.watching import View
    from bnexp.store.following import Pulse

EVERY, EVERY_IN_A_PIPE = 2.0, 30.0
"""Seconds from one refresh to the next."""
LOOKS = 2.0
"""Seconds between two looks in a pipe whether the run has ended."""
SHARE = 0.2
"""Reading takes at most this share of the time, however large the run is."""
PARTS = 10**6
"""Parts in which the share of the work that is done is counted."""
QUIT = (b"q", b"Q", b"\x1b", b"\x1a", b"")
"""q, Esc, and Ctrl-Z, since a suspended program would leave its screen behind; nothing if the terminal was closed."""
KEY, REST = 64, 0.1
"""The most bytes of a key, and seconds within which the rest of one that begins like Esc arrives."""

Every = Annotated[
    float | None,
    typer.Option(
        "--every", min=0.1, help="Seconds between refreshes. Default: 2 in a terminal, 30 in a pipe and as JSON."
    ),
]
Once = Annotated[bool, typer.Option("--once", help="Print the screen once, as it is now.")]


def watch(
    name: RunName, every: Every = None, once: Once = False, runs: Runs = DEFAULT_RUNS, as_json: Json = False
) -> None:
    """Watch a run while it trains: curves so far, trials, time left, log. q quits; the training is never touched.

    In a pipe it is one line a refresh, and with --json an object. It ends when the run has ended; except on a screen it
    also ends when the run was stopped.
    """
    from bnexp.store.finding import find_folders

    path, *others = find_folders([name], runs)
    if others:
        raise InputError(f"{name}: means {1 + len(others)} runs; watch one of them")
    following = _Following(path)
    try:
        if once:
            following.update()
            if as_json:
                following.print_object()
            else:
                print("\n".join(following.screen(shutil.get_terminal_size())))  # as wide as the terminal, with colours
        elif sys.stdout.isatty() and not as_json:
            _in_terminal(following, every or EVERY)
        else:
            _in_lines(following, every or EVERY_IN_A_PIPE, following.print_object if as_json else following.print_line)
    except KeyboardInterrupt:
        pass  # the way to quit


class _Following:
    """A run that is read again whenever it has changed, but not all the time."""

    def __init__(self, path: Path):
        self._path, self._pace = path, Pace()
        self._view: View | None = None
        self._stamp: object = None
        self._rest = 0.0
        """When it may be read again."""

    def update(self) -> "Pulse":
        """Read what is new, and return whether the run still trains."""
        from bnexp.report.watching import look
        from bnexp.store.following import pulse, stamp

        now, stamped, begun = pulse(self._path), stamp(self._path), time.monotonic()
        # Once it has ended, all of it is read.
        if self._view is None or (stamped != self._stamp and (begun >= self._rest or now.state == "ended")):
            self._view, self._stamp = look(self._path), stamped
            self._pace.reach(round(PARTS * self._view.progress.share))
            ended = time.monotonic()
            self._rest = ended + (ended - begun) * (1 / SHARE - 1)
        self._now = now
        return now

    def screen(self, size: tuple[int, int]) -> list[str]:
        """Return the lines of a screen."""
        from bnexp.report.watching import screen

        return screen(self.view, self._now, self._path, self._left, size, colour=sys.stdout.isatty())

    def print_line(self) -> None:
        """Print all of it in one line, after the time."""
        from bnexp.report.watching import plain_line

        print_line(f"{time.strftime('%H:%M:%S')}  {plain_line(self.view, self._now, self._left)}")

    def print_object(self) -> None:
        """Print it as JSON on one line."""
        from bnexp.report.summary import without_nan
        from bnexp.report.watched import watched

        print_json(without_nan(asdict(watched(self.view, self._now, self._left))), indent=None)
        sys.stdout.flush()

    @property
    def view(self) -> "View":
        """What was read."""
        assert self._view, "update comes first"
        return self._view

    @property
    def _left(self) -> float | None:
        """Seconds until it ends: by the pace since watching began, or else by what its trials have taken so far."""
        return self._pace.seconds_to(PARTS) or self.view.progress.left


def _in_lines(following: _Following, every: float, print_one: Callable[[], None]) -> None:
    """Print one line a refresh, and one at the end.

    Raises:
        Exit: with 1 if the run was stopped.
    """
    printed = -every
    while True:
        state = following.update().state
        over = state in ("ended", "stopped")
        if over or time.monotonic() - printed >= every:
            printed = time.monotonic()
            print_one()
        if over:
            raise typer.Exit(state == "stopped")
        time.sleep(min(every, LOOKS))


def _in_terminal(following: _Following, every: float) -> None:
    """Show the run on a screen of its own until it has ended or somebody quits; then leave its last state."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    def drawn(spare: int = 0) -> Group:
        width, height = shutil.get_terminal_size()
        lines = [Text.from_ansi(as_written(line)) for line in following.screen((width, height - spare))]
        for line in lines:
            line.no_wrap, line.overflow = True, "crop"
        return Group(*lines)

    console = Console(highlight=False)
    with _keys() as key_within:
        state = following.update().state
        live = Live(drawn(), console=console, screen=True, auto_refresh=False)
        try:  # not `with`: Ctrl-C may come while it begins
            live.start(refresh=True)
            while state != "ended" and key_within(every) not in QUIT:
                state = following.update().state
                live.update(drawn(), refresh=True)
        finally:
            live.stop()
    if state == "ended":
        console.print(drawn(spare=2))  # what follows is a prompt


@contextmanager
def _keys() -> Iterator[Callable[[float], bytes | None]]:
    """Yield a function that waits so many seconds for a key and returns it; None where none was pressed.

    A terminal that is to be closed, or a SIGTERM, quits as a key does, so that the screen is always given back.
    """

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with _reading_keys() as key_within:
            yield key_within
    finally:
        signal.signal(signal.SIGTERM, before)


def _no_key(seconds: float) -> None:
    time.sleep(seconds)


@contextmanager
def _reading_keys() -> Iterator[Callable[[float], bytes | None]]:
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield _no_key
        return
    import termios
    import tty
    from select import select

    terminal = sys.stdin.fileno()

    def key_within(seconds: float) -> bytes | None:
        if not select([terminal], [], [], seconds)[0]:
            return None
        try:
            key = os.read(terminal, KEY)
            if key == b"\x1b" and select([terminal], [], [], REST)[0]:
                key += os.read(terminal, KEY)  # an arrow key or the mouse's wheel
        except OSError:
            return b""
        return key

    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    mode = termios.tcgetattr(terminal)
    mode[6][termios.VSUSP] = bytes([os.fpathconf(terminal, "PC_VDISABLE")])  # Ctrl-Z is a key like any other
    termios.tcsetattr(terminal, termios.TCSADRAIN, mode)
    try:
        yield key_within
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
