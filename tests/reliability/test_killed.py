"""SIGKILL at any moment costs time, never a record: the same command leads to what an undisturbed run leads to."""

import random
import re
import shutil
import signal
import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bnexp.plan import Options
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.integrity import examine
from bnexp.store.reader import RunRecord
from tests.reliability.conftest import (
    SELDOM,
    InAWorker,
    Task,
    check_whole,
    rows,
    tiny,
)
from tests.reliability.faults import results

KILLS = 50
"""SIGKILLs at random moments, each followed by the same command."""

VARIANTS: dict[str, dict[str, Any]] = {
    "checkpoints": {},
    "no checkpoints": {"every": SELDOM},
    "stop diverged": {"every": SELDOM, "train": {"stop_diverged": True}},
    "records within epochs": {
        "train": {"record_at": [2, 5, 8, 10, 13], "stop_diverged": True},
        "probes": ["drift", {"name": "update_ratio", "every": 3}],
    },
    "halved": {
        "grid": {"train.lr": [0.05, 0.1, 0.2, 1e30]},
        "halving": {"at": [1, 2], "keep": [3, 2], "among": ["train.lr"]},
    },
    "taken over": {"grid": {"train.lr": [1e30, 0.05, 0.1]}},
    "rerun": {},
    "retry failed": {},
    "report": {},
}


GROWING = {"curves.csv", "probes.csv"}
"""Files of which a power failure may take what had not been flushed; that is said, and trained again."""


def first(variant: str, runs: Path) -> Task:
    """Return what the command of a variant does where it is given for the first time, after what went before."""
    earlier = Task(tiny(), runs, breaks=variant == "retry failed")
    if variant in ("taken over", "rerun", "retry failed"):
        with earlier.start() as child:
            assert child.code == 0, child.said
    options = Options(rerun=variant == "rerun", retry_failed=variant == "retry failed")
    return Task(tiny(**VARIANTS[variant]), runs, options, report=variant == "report")


def again(task: Task) -> Task:
    """Return what continues a task: the same command, but without --rerun where that has started over already."""
    restarted = RunRecord.exists(task.path) and task.path.with_name(f"{task.path.name}.1").exists()
    rerun = task.options.rerun and not restarted
    return replace(task, options=replace(task.options, rerun=rerun), stop=0)


def undisturbed(variant: str, folder: Path) -> tuple[Task, dict[str, Any]]:
    """Prepare a variant in folder/begun, and run it in a copy; return the task of the copy, and its results."""
    task = first(variant, folder / "begun")
    (folder / "begun").mkdir(exist_ok=True)
    shutil.copytree(folder / "begun", folder / "whole")
    whole, new = replace(task, runs=folder / "whole"), replace(task, runs=folder / "new")
    for each in (whole, new):
        with each.start() as child:
            assert child.code == 0, child.said
    if variant != "taken over":  # whose rows come in another order
        check_whole(whole.path, results(new.path), variant)
    return whole, results(whole.path)


def survive(task: Task, runs: Path, expected: dict[str, Any], hits: list[int], where: str) -> None:
    """Kill a task at one operation after the other, a process each; then let it finish, and check what is there."""
    shutil.copytree(task.runs.with_name("begun"), runs)
    task = replace(task, runs=runs)
    for stop in hits:
        with replace(task, stop=stop).start() as child:
            assert child.code in (-signal.SIGKILL, 0), f"{where}: {child.said}"
        if task.power:
            check_flushed(task, where)
        task = again(task)
    with task.start() as child:
        assert child.code == 0, f"{where}: {child.said}"
    check_whole(task.path, expected, where)
    damaged = {line.partition(":")[0] for line in task.answer.damage}
    assert damaged <= (GROWING if task.power else set()), f"{where}: {task.answer.damage}"
    shutil.rmtree(runs)


def check_done(task: Task) -> None:
    """Fail unless the same command has nothing to do any more."""
    files = {path: path.stat().st_mtime_ns for path in task.path.rglob("*")}
    with replace(task, options=replace(task.options, rerun=False)).start() as child:
        assert child.code == 0, child.said
    assert task.trained == set()
    assert {path: path.stat().st_mtime_ns for path in task.path.rglob("*")} == files


def check_flushed(task: Task, where: str) -> None:
    """Fail unless all that outcomes and checkpoints rest on is on the disk with them."""
    tables = examine(task.path, task.config)
    kept = tables.intact()
    records = {(int(row[0]), int(row[2])) for row in kept.rows["curves.csv"]}
    faults = [fault for fault in tables.faults if fault.file not in GROWING] if RunRecord.exists(task.path) else []
    assert not faults, f"{where}: {faults}"
    if RunRecord.exists(task.path):
        assert RunRecord(task.path).environment, where  # read, which fails where it is damaged
        ended = [row for row in tables.trials.rows if row[4]]
        assert len(ended) == len(kept.outcomes), f"{where}: {tables}"
    checkpoints = Checkpoints(task.path)
    for snapshot in filter(None, map(checkpoints.load, checkpoints.numbers)):
        for trial in set(snapshot.trials) - kept.outcomes.keys():
            assert (trial, snapshot.step) in records, f"{where}: no record of step {snapshot.step} of trial {trial}"


def at_operations(task: Task, expected: dict[str, Any], chosen: list[int]) -> None:
    """Kill a task at each of some operations, and every fourth time what continues it, too."""
    rng, names = random.Random(0), task.answer.operations
    for stop in chosen:
        further = [rng.randrange(1, len(names) // 2)] * (stop % 4 == 0)
        where = f"killed at {stop} ({names[stop - 1]}), {further}"
        survive(task, task.runs.with_name(f"{stop}"), expected, [stop, *further], where)


def stops(names: list[str]) -> list[int]:
    """Return the first operation of each kind, on each kind of file, and in the opening those after each file."""
    kinds = [re.sub("[0-9]+", "", name) for name in names]
    opening = names.index("write curves.csv")
    after = [number for number in range(2, opening) if names[number - 2].startswith("os.rename")]
    return sorted({1 + kinds.index(kind) for kind in kinds} | {*after})


@pytest.mark.slow
@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_that_is_killed_at_an_operation_on_files_becomes_the_undisturbed_one(
    in_a_worker: InAWorker, tmp_path: Path, variant: str, power: bool
) -> None:
    """With a power failure what had been flushed to the disk survives, and the rest is trained again."""
    task, expected = in_a_worker(undisturbed, variant, tmp_path)
    chosen, task = stops(task.answer.operations), replace(task, power=power)
    in_a_worker(at_operations, task, expected, chosen)


@pytest.mark.parametrize("power", [False, True])
def test_kills_between_the_first_and_the_last_operation_lose_nothing(
    in_a_worker: InAWorker, tmp_path: Path, power: bool
) -> None:
    task, expected = in_a_worker(undisturbed, "checkpoints", tmp_path)
    chosen, task = stops(task.answer.operations)[4 * power :: 8], replace(task, power=power)
    in_a_worker(at_operations, task, expected, chosen)


def at_random(variant: str, folder: Path, kills: int, seed: int) -> None:
    """Kill a variant and what continues it so many times, at random moments; let it finish in between and after."""
    whole, expected = undisturbed(variant, folder)
    began = time.monotonic()
    with replace(whole, runs=folder / "timed", flush=True).start() as child:
        assert child.code == 0, child.said
    duration = time.monotonic() - began
    rng, left = random.Random(seed), kills
    for number in count():
        task = replace(whole, runs=folder / str(number), flush=True)
        shutil.copytree(folder / "begun", task.runs)
        while left and hit(task, rng.uniform(0, duration)):
            left -= 1
            task = again(task)
        with again(task).start() as child:
            assert child.code == 0, f"{number}: {child.said}"
        check_whole(task.path, expected, str(number))
        if not left:
            check_done(task)
            return


def hit(task: Task, seconds: float) -> bool:
    """Kill a task after some time, and return whether it was still there then; no record of before may be gone."""
    before = rows(task.path)
    with task.start() as child:
        time.sleep(seconds)
        child.send(signal.SIGKILL)
        assert child.code in (-signal.SIGKILL, 0), child.said
    assert before <= rows(task.path) or task.options.rerun
    return child.code != 0


@pytest.mark.parametrize("kills", [1, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_kills_at_random_moments_lose_nothing(in_a_worker: InAWorker, tmp_path: Path, kills: int) -> None:
    share = [kills // len(VARIANTS) + (i < kills % len(VARIANTS)) for i in range(len(VARIANTS))]
    assert sum(share) == kills
    for variant in VARIANTS:
        (tmp_path / variant).mkdir()
    for seed, (variant, times) in enumerate(zip(VARIANTS, share, strict=True)):
        if times:
            in_a_worker(at_random, variant, tmp_path / variant, times, seed)
