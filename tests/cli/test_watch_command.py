"""`bnexp watch`: once, in a pipe and in a terminal; it ends with the run, and q gives the screen back."""

import json
import os
import re
import select
import sys
import time
from io import StringIO
from pathlib import Path

import pytest

from bnexp.cli.watch import watch
from bnexp.report.watching import look, screen
from bnexp.store.following import pulse
from tests.cli.command import Command, tree


@pytest.fixture
def run(runs: Path) -> Path:
    (path,) = runs.iterdir()
    return path


def stop(run: Path) -> None:
    """Make a run look as if it was killed before its end."""
    about = run / "environment.json"
    about.write_text(re.sub('"ended": "[^"]*"', '"ended": null', about.read_text()))


def test_once_shows_the_screen_and_leaves_the_run_alone(
    run: Path, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    before = tree(run)
    shown = cli("watch", "tiny", "--once")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0] == f"{run.name}: ended"
    assert lines[1].endswith("8 of 8 trials ended")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert tree(run) == before


def test_a_run_that_has_ended_takes_one_line_in_a_pipe(run: Path, cli: Command) -> None:
    shown = cli("watch", run)
    assert (shown.code, shown.err) == (0, "")
    assert re.fullmatch(rf"\d\d:\d\d:\d\d  {run.name}  ended  8 of 8 trials ended  .*\n", shown.out)


def test_one_that_was_stopped_says_so_and_ends_with_1(run: Path, cli: Command) -> None:
    stop(run)
    shown = cli("watch", "tiny")
    assert shown.code == 1
    assert "  stopped, written " in shown.out
    assert shown.out.count("\n") == 1


def test_as_json_it_is_an_object_a_line_once_or_until_the_end(run: Path, cli: Command) -> None:
    for words in (["--once"], []):
        shown = cli("watch", "tiny", "--json", *words)
        assert (shown.code, shown.err, shown.out.count("\n")) == (0, "", 1)
        seen = json.loads(shown.out)
        assert (seen["run"], seen["state"], seen["share"], seen["left"]) == (run.name, "ended", 1.0, None)
        assert [(arm["trials"], arm["ended"]) for arm in seen["arms"]] == [(4, 4), (4, 4)]
    stop(run)
    shown = cli("watch", "tiny", "--json")
    assert (shown.code, json.loads(shown.out)["state"]) == (1, "stopped")


def test_what_is_no_run_or_several_is_refused(run: Path, cli: Command) -> None:
    (run.parent / "tiny-copy").mkdir()
    (run.parent / "tiny-copy" / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    refused = cli("watch", "tiny-*")
    assert (refused.code, refused.err) == (2, "bnexp: tiny-*: means 2 runs; watch one of them\n")
    assert cli("watch", "other").code == 2


def test_once_in_a_terminal_prints_the_screen_as_it_is_drawn(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    watch(str(run), once=True, runs=run.parent)
    view = look(run)
    drawn = screen(view, pulse(run), run, None, (60, 24), colour=True)
    assert "\x1b[" in "".join(drawn)
    assert terminal.getvalue() == "\n".join(drawn) + "\n"


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "shown"), [(b"q", "stopped"), (b"\x03", "stopped"), (b"\x1a", "stopped"), (b"", "ended")]
)
def test_in_a_terminal_it_has_a_screen_of_its_own_and_gives_it_back(run: Path, key: bytes, shown: str) -> None:
    import pty

    if key:
        stop(run)
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
        os.execv(sys.executable, [sys.executable, "-m", "bnexp", "watch", str(run)])
    seen, begun, sent = b"", time.monotonic(), not key
    while time.monotonic() - begun < 60:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # its end
            break
        if not sent and b"epoch" in seen:
            os.write(terminal, b"\x1b[A")  # an arrow key, or the mouse's wheel
            time.sleep(0.5)
            os.write(terminal, key)
            sent = True
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert seen.count(b"\x1b[?1049h") == seen.count(b"\x1b[?1049l") == 1
    assert shown.encode() in (seen if key else seen.rpartition(b"\x1b[?1049l")[2])
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l")  # the cursor is there again
