"""A run on the screen: a bar in a terminal, one line in a notebook, plain lines in a log."""

import io
import sys
import time
from collections.abc import Callable
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from rich.text import Text

from bnexp import screen
from bnexp.config.yaml import parse, to_yaml
from bnexp.engines.messages import Event
from bnexp.runner.prepare import Plan, prepare
from bnexp.runner.run import run
from bnexp.screen import Pace, RunDisplay, Tally, clock
from tests.helpers import experiment


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, list[Event]]:
    """A run of two arms and the events of its training."""
    config = experiment(
        data={"name": "digits", "train_size": 64, "val_size": 32, "test_size": 32},
        model={"depth": 2, "width": 8},
        arms=["none", "before"],
        train={"epochs": 3, "batch_size": 32},
    )
    events: list[Event] = []
    plan = prepare(config, tmp_path_factory.mktemp("runs"), "cpu")
    run(plan, events.append)
    return plan, events


def test_lines_are_broken_between_words_in_a_terminal_and_stay_whole_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = "  data: digits, 10 classes, 1294 training, 143 validation\nbnexp: exp.yaml: lr: expected a number\nshort"
    assert screen.fitted(text, io.StringIO()) == text
    assert screen.fitted(text, Terminal()).split("\n") == [
        "  data: digits, 10 classes, 1294",
        "    training, 143 validation",
        "bnexp: exp.yaml: lr: expected a number",
        "short",
    ]
    path = f"runs/{'a' * 50}/trials.csv"
    assert screen.fitted(f"{path} is there", Terminal()) == f"{path}\n  is there"


def test_a_long_text_in_yaml_stays_the_same_text_where_the_terminal_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    value = {"model": {"source": "words " * 20 + "end"}}
    shown = screen.fitted(to_yaml(value, width=inf), Terminal())
    assert max(map(len, shown.splitlines())) <= 40
    assert parse(shown, "shown") == value


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_terminal_has_a_bar_that_names_what_it_shows_and_leaves_nothing(
    watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, events = watched
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    for name, value in {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    with RunDisplay(plan, silent=False) as display:
        for event in events:
            display.see(event)
        wait_for(lambda: "2/2 trials" in terminal.getvalue())
        rows = [row.plain for row in Text.from_ansi(terminal.getvalue().replace("\r", "")).split()]
        place = max(place for place, row in enumerate(rows) if "2/2 trials" in row)
        assert rows[place].startswith("━" * screen.BAR + " 0:00 left  2/2 trials  epoch 3, step 6")
        assert rows[place + 1].startswith("validation accuracy: none 0.")
        assert "before 0." in rows[place + 1]
        assert max(map(len, rows)) <= 80
        assert "\x1b[?25h" in terminal.getvalue(), "the cursor is not shown again"
    assert terminal.getvalue().endswith("\x1b[2K"), "the bar is still there"


def test_a_notebook_has_one_line_that_changes(watched, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, events = watched
    shown: list[str] = []

    def display(data: dict[str, str], **options: Any) -> SimpleNamespace:
        assert options == {"raw": True, "display_id": True}
        shown.append(data["text/plain"])
        return SimpleNamespace(update=lambda data, raw: shown.append(data["text/plain"]))

    monkeypatch.setattr(screen, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(screen, "IN_NOTEBOOK", 0)
    with RunDisplay(plan, silent=False) as line:
        for event in events:
            line.see(event)
    assert len(shown) == len(events) + 1
    assert "epoch 1, step 2" in "\n".join(shown)
    assert shown[-1].startswith("100%  2/2 trials  validation accuracy: none 0.")


def test_a_log_has_a_line_where_trials_end_and_a_life_sign_in_between(
    watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, events = watched
    printed: list[str] = []
    monkeypatch.setattr(screen, "LIFE_SIGN", 0.05)
    with RunDisplay(plan, silent=False) as display:
        for event in events[:3]:
            display.see(event)

        def has_a_life_sign() -> bool:
            printed.append(capsys.readouterr().out)
            return "0/2 trials" in "".join(printed)

        wait_for(has_a_life_sign)
        for event in events[3:]:
            display.see(event)
    assert "validation accuracy: " in "".join(printed), "the life sign names no accuracies"
    rest = capsys.readouterr().out
    assert "  2/2 trials  epoch 3  validation accuracy: none 0." in rest
    assert "\x1b" not in "".join(printed) + rest


def test_between_two_records_the_step_is_shown_and_the_share_grows(
    watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, events = watched
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    tally = Tally(plan)
    tally.see(next(event for event in events if event.progress))
    now, share = 110.0, tally.share()
    tally.see(Event(events[0].job, step=1))
    assert "0/2 trials  step 1" in tally.line()
    assert tally.share() > share
    assert tally.status().startswith("1:50 left"), "12 updates, one in 10 s"
    with RunDisplay(plan, silent=False) as display:
        display.see(Event(events[0].job, step=1))
    assert capsys.readouterr().out == "", "it has a line of its own"


def test_a_silent_run_shows_nothing(watched, capsys: pytest.CaptureFixture[str]) -> None:
    plan, events = watched
    with RunDisplay(plan, silent=True) as display:
        for event in events:
            display.see(event)
    assert capsys.readouterr() == ("", "")


def test_the_time_left_counts_down_between_two_records(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = Pace()
    assert pace.seconds_to(100) is None
    pace.reach(0)
    now = 110.0
    pace.reach(20)
    assert pace.seconds_to(100) == 40
    now = 115.0
    pace.reach(30)
    left = []
    for now in (115.0, 117.0, 119.0, 140.0):  # noqa: B007
        left.append(pace.seconds_to(100))
    assert left == [35, 33, 31, 30], "it goes on to where the next record is due, and waits there"
    pace.reach(100)
    now = 150.0
    assert pace.seconds_to(100) == 0, "time is left after the end"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (45, "0:45"), (723, "12:03"), (3723, "1:02:03")])
def test_a_duration_is_short(seconds: float, text: str) -> None:
    assert clock(seconds) == text
