"""Seeds that are added until it is decided: the looks, what stays of them, and what a second call still has to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bnexp
from bnexp.analysis.runs import ComparedRun
from bnexp.config.experiment import ExperimentConfig
from bnexp.engines.engine import EngineChoice
from bnexp.errors import InputError
from bnexp.plan import Options
from bnexp.runner.prepare import Plan
from bnexp.runner.run import run
from bnexp.runner.tuning import run_with_tuning
from bnexp.store.reader import RunRecord
from tests.helpers import experiment


def adding(until: float | str, to: int = 6, **raw: Any) -> ExperimentConfig:
    """An experiment whose looks are at 3, 4, 5 and 6 seeds."""
    return experiment(
        **{
            "data": {"name": "digits", "train_size": 120, "val_size": 60, "test_size": 60},
            "model": {"depth": 1, "width": 8, "activation": "relu"},
            "arms": ["none", "before"],
            "train": {"epochs": 1, "batch_size": 30},
            "seeds": {"from": 3, "to": to, "until": until},
        }
        | raw
    )


def trained(config: ExperimentConfig, runs: Path, train: Callable[[Plan], ComparedRun] = run) -> RunRecord:
    (found,) = run_with_tuning([("exp.yaml", config)], runs, EngineChoice("cpu"), Options(), train)
    return found


class Looks:
    """Trains plans, remembers how many seeds they have and how many trials they train, and may stop at one of them."""

    def __init__(self, stop_at: int = 0) -> None:
        self.seen: list[tuple[int, int]] = []
        self._stop_at = stop_at

    def __call__(self, plan: Plan) -> ComparedRun:
        seeds = len(plan.config.seeds)
        self.seen.append((seeds, sum(len(group.trials) for group in plan.groups)))
        if seeds == self._stop_at:
            raise KeyboardInterrupt
        return run(plan)


@pytest.mark.usefixtures("without_report")
def test_each_look_trains_the_new_seeds_alone_and_one_run_is_left(tmp_path: Path) -> None:
    looks = Looks()
    found = trained(adding(1e-9), tmp_path, looks)
    assert looks.seen == [(3, 6), (4, 2), (5, 2), (6, 2)]
    assert [path.name for path in tmp_path.iterdir()] == [found.path.name]
    assert sorted(set(found.trials["seed"])) == [0, 1, 2, 3, 4, 5]
    assert ComparedRun(found.path).comparison.sequence[0].looks == 4


def test_no_seed_is_added_once_all_is_decided_and_a_second_call_trains_nothing(tmp_path: Path) -> None:
    config, looks, again = adding(0.9), Looks(), Looks()
    found = trained(config, tmp_path, looks)
    assert looks.seen == [(3, 6)]
    assert trained(config, tmp_path, again).path == found.path
    assert again.seen == []


@pytest.mark.parametrize("stop_at", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_interrupted_at_any_look_it_decides_as_if_it_had_not_been(tmp_path: Path, stop_at: int) -> None:
    config, runs = adding(1e-9, to=4), tmp_path / "runs"
    whole = trained(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(config, runs, Looks(stop_at))
    found, first = trained(config, runs), ["trial", "arm", "seed", "outcome", "final_test_accuracy"]
    assert found.path.name == whole.path.name
    pd.testing.assert_frame_equal(found.trials[first], whole.trials[first])
    assert ComparedRun(found.path).comparison.sequence == ComparedRun(whole.path).comparison.sequence
    assert len(list(runs.iterdir())) == 1


@pytest.mark.usefixtures("without_report")
def test_after_tuning_seeds_are_added_too(tmp_path: Path) -> None:
    looks = Looks()
    trained(adding(1e-9, to=4, tune={"grid": {"train.lr": [0.1, 1]}, "seeds": 1}), tmp_path, looks)
    assert looks.seen == [(1, 4), (3, 6), (4, 2)]


@pytest.mark.usefixtures("without_report")
def test_a_width_out_of_reach_is_warned_about_after_each_look_but_the_last_which_has_it_in_its_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = bnexp.run(adding(1e-9, to=4), runs=tmp_path, device="cpu")
    warned = capsys.readouterr().err.splitlines()
    start = "out of reach: with all 4 seeds the interval of before"
    assert [line.split(" ± ")[0] for line in warned] == [f"bnexp: {start} will be about"]
    assert [line.split(" ± ")[0] for line in found.compare().warnings if "reach" in line] == [f"{start} is"]


def test_what_has_finished_a_look_is_not_trained_anew(tmp_path: Path) -> None:
    config = adding(0.9)
    found = trained(config, tmp_path)
    with pytest.raises(
        InputError, match=f"--rerun: {found.path.name} would be continued; first remove it with bnexp rm"
    ):
        run_with_tuning([("exp.yaml", config)], tmp_path, EngineChoice("cpu"), Options(rerun=True), run)
