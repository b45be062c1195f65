"""SIGKILL in an experiment of several runs, one that adds seeds or tunes first, changes no decision and no choice."""

import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.conftest import InAWorker, Task, tiny
from tests.reliability.faults import results

TUNE = {"grid": {"train.lr": [0.1, 1]}, "seeds": 1}
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "adds seeds": {"seeds": {"from": 3, "to": 5, "until": 1e-9}},
    "tunes in studies": {"tune": TUNE | {"studies": 3}, "seeds": 3},
    "tunes and adds seeds": {"tune": TUNE, "seeds": {"from": 3, "to": 4, "until": 1e-9}},
}
Moments = list[list[int | str]]
"""For each repetition of an experiment the operations on files at which it, and what continues it, are killed."""


def a_few(names: list[str]) -> Moments:
    """Return three moments in turn: in the first run, in the second, and while earlier runs are removed."""
    removal = [name for name in names if name.startswith("shutil.rmtree")][:1]
    return [[len(names) // 4, len(names) // 4, *removal]]


def many(names: list[str]) -> Moments:
    """Return moments spread over all operations, with one or two more in what continues, and every removal."""
    rng = random.Random(0)
    spread: Moments = [[at, rng.randrange(1, len(names))] for at in range(1, len(names), len(names) // 12)]
    return [*spread, *([name] for name in names if name.startswith("shutil.rmtree"))]


def left(runs: Path) -> dict[str, dict[str, Any]]:
    """Return the results of every run in a folder; the names depend on what was chosen, and on the seeds."""
    return {path.name: results(path) for path in runs.iterdir()}


def finish(task: Task) -> None:
    with task.start() as child:
        assert child.code == 0, child.said


def kill(task: Task, moments: Callable[[list[str]], Moments]) -> None:
    """Kill an experiment and what continues it, then let it finish, and compare with an undisturbed one."""
    finish(task)
    expected = left(task.runs)
    for number, hits in enumerate(moments(task.answer.operations)):
        again = replace(task, runs=task.runs.with_name(f"{number}"))
        for stop in hits:
            with replace(again, stop=stop).start() as child:
                assert child.code in (-signal.SIGKILL, 0), f"{hits}: {child.said}"
        finish(again)
        assert left(again.runs) == expected, hits
        finish(again)
        assert again.trained == set(), hits


@pytest.mark.parametrize(
    ("experiment", "moments"),
    [("adds seeds", a_few), *(pytest.param(each, many, marks=pytest.mark.slow) for each in EXPERIMENTS)],
)
def test_the_same_command_goes_on_to_the_same_runs(
    in_a_worker: InAWorker, tmp_path: Path, experiment: str, moments: Callable[[list[str]], Moments]
) -> None:
    task = Task(tiny(**EXPERIMENTS[experiment] | {"grid": {}}), tmp_path / "whole")
    in_a_worker(kill, task, moments)
