"""SIGINT and SIGTERM drop the epoch that is being trained and nothing else, and say so in one line."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bnexp.engines.local import Local
from bnexp.engines.messages import Event
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.runner.signals import SIGNALS, Interrupts
from bnexp.store.reader import finished_run
from tests.helpers import crossed
from tests.reliability.conftest import (
    OFTEN,
    SELDOM,
    InAWorker,
    Task,
    check_whole,
    leftovers,
    places,
    rows,
    tiny,
    undisturbed,
    wait,
)
from tests.reliability.faults import PATIENCE, Child

AT_RANDOM = 20
"""Signals that come at random moments."""
AT_OPERATIONS = 20
"""Operations on files, evenly spread, that SIGINT comes before, and SIGTERM."""
PREPARED = 8
"""Operation on files by which a continued run holds its lock."""


def interrupted(task: Task) -> str:
    """Return all that an interrupted command says."""
    return f"bnexp: interrupted; {task.path} keeps what is done, the same command continues it\n"


def check_saved(task: Task) -> set[tuple[int, int]]:
    """Fail unless all files are whole; return trial and step of what is recorded, always of a whole group."""
    assert [name for name in leftovers(task.path) if name[0] == "."] == []
    curves = task.path / "curves.csv"
    assert not curves.exists() or curves.read_bytes().endswith(b"\n")
    saved = places(task.path)
    assert all(((trial + 2) % 4, step) in saved for trial, step in saved), saved
    return saved


def finished(task: Task, saved: set[tuple[int, int]], expected: dict[str, Any], where: str) -> None:
    """Fail unless the same command finishes a task without training what is recorded."""
    last = replace(task, command=False, stop=0, stuck="")
    with last.start() as child:
        assert child.code == 0, f"{where}: {child.said}"
    assert not last.trained & saved, f"{where}: trained again: {last.trained & saved}"
    check_whole(task.path, expected, where)


def at_operations(task: Task, stops: list[int]) -> None:
    """Interrupt a command at each of some operations; every third time in its first half what continues it, too."""
    rng = random.Random(0)
    expected, names = undisturbed(replace(task, runs=task.runs / "first"))
    for stop in stops:
        half = len(names) // 2  # so many operations are left after a stop before it
        further = [rng.randrange(PREPARED, half)] * (stop % 3 == 0 and stop < half)
        where, saved = f"{task.signal} at {stop} ({names[stop - 1]}), {further}", set[tuple[int, int]]()
        for number in (stop, *further):
            hit = replace(task, runs=task.runs / f"{stop}", stop=number)
            with hit.start() as child:
                assert (child.code, child.said) == (130, interrupted(hit)), f"{where}: {child.said}"
            assert not hit.trained & saved, f"{where}: trained again: {hit.trained & saved}"
            saved = check_saved(hit)
        finished(hit, saved, expected, where)


@pytest.mark.slow
@pytest.mark.parametrize("every", [SELDOM, OFTEN], ids=["no checkpoints", "checkpoints"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_any_operation_on_files_costs_no_record(
    in_a_worker: InAWorker, tmp_path: Path, number: signal.Signals, every: float
) -> None:
    task = Task(tiny(every), tmp_path, signal=number, command=True)
    total = len(in_a_worker(undisturbed, replace(task, runs=tmp_path / "counted"))[1])
    stops = [1 + i * (total - 1) // (AT_OPERATIONS // 2 - 1) for i in range(AT_OPERATIONS // 2)]
    in_a_worker(at_operations, task, stops)


def at_random(task: Task, signals: int) -> None:
    """Interrupt a command and what continues it so many times, at random moments."""
    expected, _ = undisturbed(replace(task, runs=task.runs / "first"))
    rng, left, number = random.Random(0), signals, 0
    while left:
        number += 1
        each, saved = replace(task, runs=task.runs / f"{number}"), set[tuple[int, int]]()
        while left and hit(each, rng):
            left -= 1
            assert not each.trained & saved
            saved = check_saved(each)
        finished(each, saved, expected, str(number))


def hit(task: Task, rng: random.Random) -> bool:
    """Interrupt a command some time after its first record, and return whether there was something left to do."""
    with task.start() as child:
        while child.running and not task.trained:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.15))
        child.send(rng.choice(SIGNALS))
        ended = child.code, child.said
    if finished_run(task.path):
        return False  # it came after the end, or just before
    assert ended == (130, interrupted(task))
    return True


@pytest.mark.parametrize("signals", [1, pytest.param(AT_RANDOM, marks=pytest.mark.slow)])
def test_signals_at_random_moments_cost_no_record(in_a_worker: InAWorker, tmp_path: Path, signals: int) -> None:
    task = Task(tiny(SELDOM), tmp_path, command=True, flush=True)
    in_a_worker(at_random, task, signals)


def stuck(task: Task) -> None:
    """Let a command get stuck while it writes, and send it two signals."""
    expected, _ = undisturbed(task)
    with task.start() as child:
        child.until(lambda: task.is_stuck)
        before = rows(task.path)
        child.send(task.signal)
        child.send(signal.SIGINT if task.signal == signal.SIGTERM else signal.SIGTERM)
        assert child.code == 130, child.said
    assert child.said == "bnexp: left at once; what is recorded is kept, the same command continues\n"
    assert rows(task.path) == before
    finished(task, set(), expected, task.stuck)


@pytest.mark.parametrize(
    ("operation", "number"),
    crossed(["fsync .weights-000-15.safetensors", "write the rest of curves.csv"], SIGNALS, fast=2),
)
def test_a_second_signal_ends_even_a_process_that_is_stuck(
    in_a_worker: InAWorker, tmp_path: Path, number: signal.Signals, operation: str
) -> None:
    task = Task(tiny(), tmp_path / "runs", signal=number, stuck=operation, command=True)
    in_a_worker(stuck, task)


def loading(task: Task) -> None:
    """Interrupt a command while it loads the data."""
    began = task.log.with_suffix(".loading")

    def load(*details: object) -> None:
        began.touch()
        wait()

    def work() -> None:
        Local.load = load  # type: ignore[method-assign]
        task._train()

    with Child(work, task.log) as child:
        child.until(began.exists)
        child.send(task.signal)
        assert child.code == 130, child.said
    assert re.fullmatch("bnexp: interrupted; .*\n", child.said)
    assert not task.runs.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_signal_before_training_leaves_nothing(
    in_a_worker: InAWorker, tmp_path: Path, number: signal.Signals
) -> None:
    in_a_worker(loading, Task(tiny(), tmp_path / "runs", signal=number, command=True))


def drawing(task: Task) -> None:
    """Interrupt a command while it writes the final tables."""
    expected, _ = undisturbed(task)
    with task.start() as child:
        child.until(lambda: task.is_stuck)
        child.send(task.signal)
        assert (child.code, child.said) == (130, interrupted(task))
    assert finished_run(task.path) is None
    finished(task, check_saved(task), expected, task.stuck)


@pytest.mark.parametrize(("operation", "number"), [("fsync .summary.md", signal.SIGINT)])
def test_a_signal_while_the_report_is_written_leaves_only_the_report_to_do(
    in_a_worker: InAWorker, tmp_path: Path, number: signal.Signals, operation: str
) -> None:
    task = Task(tiny(), tmp_path / "runs", signal=number, stuck=operation, command=True, report=True)
    in_a_worker(drawing, task)


@pytest.mark.slow
def test_the_command_itself_is_interrupted_and_continued(tmp_path: Path) -> None:
    tasks = [Task(tiny(train={"epochs": 10**6}), tmp_path / number.name, signal=number) for number in SIGNALS]
    least = [0] * len(tasks)
    for _ in range(2):  # the second time it is a continued run that is interrupted
        commands = [subprocess.Popen(command(task), stderr=subprocess.PIPE, env=ENVIRONMENT) for task in tasks]
        for i, (task, process) in enumerate(zip(tasks, commands, strict=True)):
            before = rows(task.path)
            until = time.monotonic() + PATIENCE
            while len(rows(task.path)) < least[i] + 40:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < until
                time.sleep(0.02)
            process.send_signal(task.signal)
            error = process.communicate(timeout=PATIENCE)[1].decode()
            assert (process.returncode, error) == (130, interrupted(task))
            assert before <= rows(task.path)
            least[i] = len(rows(task.path))
            assert check_saved(task)


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def command(task: Task) -> list[str]:
    """The command, as a shell starts it."""
    return [sys.executable, "-m", "bnexp", *task.words]


# Used from a script


@pytest.fixture
def own_handlers() -> Any:
    """Handlers of a script that uses the package."""
    before = {number: signal.signal(number, lambda *details: None) for number in SIGNALS}
    yield {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        signal.signal(number, handler)


class StoppedError(Exception):
    """Whatever may end a run."""


@pytest.mark.parametrize("how", [None, StoppedError])
def test_a_scripts_own_handlers_are_back_after_a_run(
    tmp_path: Path, own_handlers: dict[int, Any], how: type[BaseException] | None
) -> None:
    seen: list[Any] = []

    def watch(event: Event) -> None:
        seen.append(signal.getsignal(signal.SIGTERM))
        if how:
            raise how

    plan = prepare(tiny(SELDOM), tmp_path, "cpu")
    if how:
        with pytest.raises(how):
            run(plan, watch)
    else:
        run(plan, watch)
    assert seen[0] != own_handlers[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in SIGNALS} == own_handlers


def test_a_run_in_a_thread_leaves_signals_alone(tmp_path: Path, own_handlers: dict[int, Any]) -> None:
    seen: list[Any] = []
    plan = prepare(tiny(SELDOM), tmp_path, "cpu")
    thread = threading.Thread(target=run, args=(plan, lambda event: seen.append(signal.getsignal(signal.SIGTERM))))
    thread.start()
    thread.join(PATIENCE)
    assert set(seen) == {own_handlers[signal.SIGTERM]}
    assert finished_run(plan.path)


def test_a_signal_that_a_library_swallows_is_delivered_all_the_same() -> None:
    with Interrupts() as interrupts:
        with suppress(KeyboardInterrupt):  # as Python does in a destructor
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.deliver()
