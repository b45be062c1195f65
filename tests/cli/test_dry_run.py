"""`bnexp run --dry-run`: the trials of the run that comes next, one a line, without training."""

import json
from pathlib import Path
from typing import Any

from tests.cli.command import Command, Trained, tree


def lines(cli: Command, *words: object) -> list[dict[str, Any]]:
    result = cli("run", *words, "--dry-run")
    assert (result.code, result.err) == (0, "")
    return [json.loads(line) for line in result.out.splitlines()]


def test_each_trial_is_a_line_and_nothing_is_written(experiment: Path, cli: Command, here: Path) -> None:
    before = tree(here)
    found = lines(cli, experiment)
    assert tree(here) == before
    assert [each["trial"] for each in found] == list(range(8))
    assert found[2] == {
        "run": found[0]["run"],
        "path": f"runs/{found[0]['run']}",
        "stage": "measurement",
        "trial": 2,
        "arm": "before",
        "point": {"train.lr": 0.1},
        "seed": 0,
        "changes": {"model.norm.placement": "before"},
        "group": 1,
        "state": "waiting",
    }


def test_what_the_run_has_and_what_it_will_take_over_is_said(runs: Path, cli: Command, trained: Trained) -> None:
    assert {(each["run"], each["state"]) for each in lines(cli, "exp.yaml")} == {(trained.path.name, "ended")}
    more = {each["seed"]: each["state"] for each in lines(cli, "exp.yaml", "seeds=3")}
    assert more == {0: "reused", 1: "reused", 2: "waiting"}
    assert {each["state"] for each in lines(cli, "exp.yaml", "--rerun")} == {"waiting"}


def test_where_arms_choose_first_the_trials_of_the_choice_come_next(experiment: Path, cli: Command) -> None:
    found = lines(cli, experiment, "tune.grid.train.momentum=[0,0.9]", "grid={}")
    assert {(each["stage"], each["seed"], each["point"]["train.momentum"]) for each in found} == {
        ("tuning", seed, momentum) for seed in (1000, 1001) for momentum in (0, 0.9)
    }


def test_quiet_prints_no_line(experiment: Path, cli: Command) -> None:
    result = cli("run", experiment, "--dry-run", "--quiet")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_what_is_wrong_is_said_before_any_line(experiment: Path, cli: Command) -> None:
    result = cli("run", experiment, "train.lr=-1", "--dry-run")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("bnexp: command line: train.lr: -1: expected a number")
