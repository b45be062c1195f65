"""A run is followed by reading alone: whether it trains, was stopped or has ended, and when something has changed."""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from bnexp.store.files import locked
from bnexp.store.following import SILENT, changes, newest_lines, pulse
from tests.cli.command import tree
from tests.store.conftest import MadeRun, MakeRun


@pytest.fixture
def run(make_run: MakeRun) -> MadeRun:
    made = make_run()
    made.record(0)
    return made


def owned(run: Path, host: str, process: int) -> None:
    (run / ".owner.json").write_text(json.dumps({"process": process, "host": host, "since": "today"}))


def test_a_run_trains_while_a_process_holds_its_lock(run: MadeRun) -> None:
    assert pulse(run.path).state == "stopped"
    with locked(run.path):
        before = tree(run.path)
        assert pulse(run.path).state == "training"
        assert tree(run.path) == before
    assert pulse(run.path).state == "stopped"


def test_a_copy_of_a_run_that_trains_does_not_train(run: MadeRun, tmp_path: Path) -> None:
    with locked(run.path):
        shutil.copytree(run.path, tmp_path / "copy")
        assert pulse(tmp_path / "copy").state == "stopped"


@pytest.mark.parametrize("process", [os.getpid(), 2**30, "no number"], ids=["this one", "none", "no number"])
def test_a_process_without_the_lock_does_not_train(run: MadeRun, process: int) -> None:
    owned(run.path, socket.gethostname(), process)
    assert pulse(run.path).state == "stopped"


def test_on_another_machine_only_the_files_tell(run: MadeRun) -> None:
    owned(run.path, "a-node", 1)
    assert (pulse(run.path).state, pulse(run.path).host, pulse(run.path).may_have_stopped) == (
        "elsewhere",
        "a-node",
        False,
    )
    for path in run.path.iterdir():
        if path.is_file():
            os.utime(path, (path.stat().st_mtime - 2 * SILENT,) * 2)
    assert pulse(run.path).may_have_stopped


def test_a_run_has_ended_wherever_it_trained(run: MadeRun) -> None:
    owned(run.path, "a-node", 1)
    run.writer.finish()
    assert pulse(run.path).state == "ended"


def test_what_follows_a_run_comes_again_after_every_change_until_its_end(run: MadeRun) -> None:
    with locked(run.path):
        coming = changes([run.path], 0)
        assert next(coming) is False
        run.record(1)
        assert next(coming) is False
        run.end(*range(len(run.trials)))
        run.writer.finish()
        assert list(coming) == [True]


def test_of_a_run_that_was_stopped_there_is_one_look(run: MadeRun) -> None:
    assert list(changes([run.path], 0)) == [True]


def test_the_newest_lines_of_the_log_are_those_at_its_end(run: MadeRun) -> None:
    for number in range(5000):
        run.writer.log(f"line {number}")
    assert [line.split(" ", 1)[1] for line in newest_lines(run.path, 2)] == ["line 4998", "line 4999"]
    (run.path / "log.txt").unlink()
    assert newest_lines(run.path, 2) == []


def test_of_a_run_with_its_configuration_alone_that_was_written_last(run: MadeRun) -> None:
    for path in run.path.iterdir():
        if path.is_file() and path.name != "config.yaml":
            path.unlink()
    assert pulse(run.path).silent < SILENT
