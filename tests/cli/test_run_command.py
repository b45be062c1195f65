"""`bnexp run`: the same again, continuing, overriding, failing, and the exit codes."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.analysis.choices import choices_text
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import load
from bnexp.engines import local
from bnexp.engines.messages import Event
from bnexp.plan import TrialGroup, run_name, trials
from bnexp.store import checkpoints
from bnexp.store.reader import RunRecord
from bnexp.training.group_state import GroupTrainState
from tests.cli.command import Command, Trained, tree
from tests.helpers import crossed

SMALL = ("model.depth=1", "model.width=8", "train.epochs=1", "data.train_size=100", "seeds=1", "grid={}")


def only_run(runs: Path) -> RunRecord:
    (path,) = runs.iterdir()
    return RunRecord(path)


def test_the_same_command_again_trains_nothing_and_shows_the_result(runs: Path, cli: Command, trained: Trained) -> None:
    before = tree(runs)
    again = cli("run", "exp.yaml")
    assert (again.code, again.err) == (0, "")
    assert tree(runs) == before
    assert trained.result.out.endswith(again.out)
    assert "Does a tiny network learn" in again.out


def test_a_device_that_is_none_is_refused_though_nothing_is_left_to_train(runs: Path, cli: Command) -> None:
    refused = cli("run", "exp.yaml", "--device", "gpu")
    assert (refused.code, refused.err) == (2, "bnexp: --device gpu: expected auto, cpu, cuda, cuda:i or mps\n")


def test_the_question_says_what_was_overridden(experiment: Path, cli: Command) -> None:
    question = "Does a tiny network learn the digits?"
    overridden = f"{question} (model.activation=tanh, {', '.join(SMALL)})"
    assert f"{overridden}\n" in cli("run", "exp.yaml", "model.activation=tanh", *SMALL).out
    run = only_run(Path("runs"))
    assert f"\n{overridden}\n" in (run.path / "summary.md").read_text()
    assert run.question == overridden
    environment = json.loads((run.path / "environment.json").read_text())
    del environment["overrides"]  # as in older folders
    (run.path / "environment.json").write_text(json.dumps(environment))
    assert only_run(Path("runs")).question == question


def test_labels_given_later_are_taken_over_without_training(runs: Path, cli: Command, trained: Trained) -> None:
    before = (runs / trained.path.name / "curves.csv").read_bytes()
    shown = cli("run", "exp.yaml", "labels.before=with BN")
    assert "0 to go" in shown.out
    assert "with BN" in shown.out
    assert "with BN" in cli("compare", trained.path.name).out
    assert "with BN" in (runs / trained.path.name / "summary.md").read_text()
    assert (runs / trained.path.name / "curves.csv").read_bytes() == before
    assert "to go" not in cli("run", "exp.yaml", "labels.before=with BN").out


def test_quiet_prints_nothing(experiment: Path, cli: Command) -> None:
    for _ in range(2):
        done = cli("run", experiment, *SMALL, "--quiet")
        assert (done.code, done.out, done.err) == (0, "", "")


def test_json_prints_the_comparison_alone(experiment: Path, cli: Command) -> None:
    (run,) = cli("run", experiment, *SMALL, "--json").json()
    assert run["run"] == only_run(Path("runs")).path.name
    assert [row["arm"] for row in run["rows"]] == ["none", "before"]
    assert [row["low"] for row in run["rows"]] == [None, None]


def test_overrides_make_another_run_beside_the_first(runs: Path, cli: Command) -> None:
    before = tree(runs)
    assert cli("run", "exp.yaml", *SMALL, "train.lr=0.5", "--quiet").code == 0
    (path,) = (path for path in runs.iterdir() if path.name not in before)
    assert path.name == run_name(load(Path("exp.yaml"), [*SMALL, "train.lr=0.5"]))
    assert RunRecord(path).config.train.lr == 0.5
    assert {name: content for name, content in tree(runs).items() if name in before} == before


def test_runs_go_where_they_are_told(experiment: Path, cli: Command, here: Path) -> None:
    assert cli("run", experiment, *SMALL, "--runs", "some/where", "--quiet").code == 0
    assert only_run(Path("some/where")).complete
    assert not (here / "runs").exists()


def test_several_configurations_are_trained_in_turn(experiment: Path, cli: Command, here: Path) -> None:
    (here / "second.yaml").write_text(experiment.read_text().replace("tiny", "second"))
    done = cli("run", "exp.yaml", "second.yaml", *SMALL)
    assert done.code == 0
    assert done.out.index("\nruns/tiny-") < done.out.index("\nruns/second-")
    assert sorted(path.name.rpartition("-")[0] for path in Path("runs").iterdir()) == ["second", "tiny"]


def test_one_wrong_configuration_among_several_stops_all(experiment: Path, cli: Command, here: Path) -> None:
    (here / "wrong.yaml").write_text("data: {name: digits}\ntrain: {batch_size: 2000}")
    refused = cli("run", "exp.yaml", "wrong.yaml")
    assert refused.code == 2
    assert "wrong.yaml: train.batch_size: 2000: larger than" in refused.err
    assert not Path("runs").exists()


def test_an_override_may_be_longer_than_a_file_name(experiment: Path, cli: Command) -> None:
    rates = ", ".join("0." + "0" * 40 + str(number) for number in range(1, 7))
    assert cli("run", experiment, *SMALL[:-1], f"grid.train.lr=[{rates}]", "--quiet").code == 0
    assert len(rates) > 255
    assert len(only_run(Path("runs")).trials) == 12


@pytest.mark.parametrize("name", crossed(["08", "1e5", "2026", "no", "null.1"], fast=3))
def test_a_name_that_looks_like_something_else_is_kept(cli: Command, experiment: Path, here: Path, name: str) -> None:
    experiment.rename(here / f"{name}.yaml")
    (here / f"{name}.yaml").write_text((here / f"{name}.yaml").read_text().replace("name: tiny\n", ""))
    assert cli("run", f"{name}.yaml", *SMALL, "--quiet").code == 0
    assert only_run(Path("runs")).config.name == name


def test_columns_of_every_kind_can_be_swept_and_compared(experiment: Path, cli: Command) -> None:
    grid = "grid={model.width: [[8, 8], 4], model.bias: [auto, true]}"
    pairs = "zip={train.clip.value: [null, 1e-3], train.schedule: [constant, cosine]}"
    done = cli("run", experiment, *SMALL[1:-1], "model.depth=null", grid, pairs, "--json")
    (run,) = done.json()
    assert run["grid_keys"] == ["train.clip.value", "train.schedule", "model.width", "model.bias"]
    assert len(run["rows"]) == 2 * 2 * 2 * 2
    assert {row["pairs"] for row in run["rows"] if row["arm"] == "before"} == {1}


def test_without_validation_and_test_images_there_are_blanks_and_a_comparison(experiment: Path, cli: Command) -> None:
    (run,) = cli("run", experiment, *SMALL, "data.val_size=0", "data.test_size=0", "--json").json()
    assert run["metric"] == "final_train_accuracy"
    record = only_run(Path("runs"))
    assert record.trials[["final_val_accuracy", "final_test_accuracy", "best_val_accuracy"]].isna().all(axis=None)
    assert record.curves["train_accuracy"].between(0, 1).all()


def test_a_group_that_runs_out_of_memory_is_cut_and_that_is_said(
    experiment: Path, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = GroupTrainState.update

    def limited(self: GroupTrainState, batch_SB: torch.Tensor, rate_K1: torch.Tensor, step: torch.Tensor) -> None:
        if len(self.group.trials) > 2 and step > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        update(self, batch_SB, rate_K1, step)

    monkeypatch.setattr(GroupTrainState, "update", limited)
    done = cli("run", experiment)
    assert (done.code, done.err) == (0, "")
    said = [line.strip() for line in done.out.splitlines() if "memory" in line]
    assert said == [f"{done}/8 trials  4 trials ran out of memory together; going on with 2 and 2" for done in (0, 4)]


def test_who_is_at_work_stands_in_the_lines(cli: Command, experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = local.Local.execute

    def with_activity(*arguments: Any) -> Iterator[Any]:
        for number, event in enumerate(execute(*arguments)):
            yield replace(event, activity="2 groups on 2 nodes")
            if number == 0:
                yield Event(event.job, activity="no node is left that could train: waiting for one")

    monkeypatch.setattr(local.Local, "execute", with_activity)
    result = cli("run", experiment)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[2] == "  0/8 trials  no node is left that could train: waiting for one"
    assert all(re.search(r"\(4 trials took \d+\.\d s; 2 groups on 2 nodes\)$", line) for line in lines[3:5])


def test_a_folder_that_an_accident_left_empty_is_used(runs: Path, cli: Command, trained: Trained) -> None:
    """Between making the folder and its config.yaml there is a moment in which the power can go."""
    folder = runs / trained.path.name
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    assert cli("run", "exp.yaml").code == 0
    assert RunRecord(folder).complete


def break_groups_of(arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train = local.train

    def broken(group: TrialGroup, *arguments: Any, **options: Any) -> Iterator[Any]:
        if arm in group.arms:
            raise RuntimeError("kaboom")
        yield from train(group, *arguments, **options)

    monkeypatch.setattr(local, "train", broken)


def test_a_group_that_breaks_fails_its_trials_and_no_others(
    experiment: Path, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_groups_of("none", monkeypatch)
    done = cli("run", experiment)
    assert done.code == 1
    assert "Traceback" not in done.out + done.err
    assert "failed: RuntimeError: kaboom" in done.out
    log = (only_run(Path("runs")).path / "log.txt").read_text()
    assert "Traceback (most recent call last):" in log
    assert "kaboom" in log
    assert cli("list", "--json").json()[0]["state"] == "failed trials"


def test_where_every_group_breaks_there_is_still_an_answer(
    experiment: Path, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arm in ("none", "before"):
        break_groups_of(arm, monkeypatch)
    assert cli("run", experiment).code == 1
    assert cli("run", experiment, "--quiet").code == 1
    (compared,) = cli("compare", "--json").json()
    assert [row["n"] for row in compared["rows"]] == [0] * 4


def test_too_little_memory_to_save_ends_the_run_in_words(
    experiment: Path, cli: Command, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **more: object) -> bytes:
        raise MemoryError

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(checkpoints, "save", full)
        done = cli("run", experiment)
    assert done.code == 1
    assert (
        done.err
        == f"bnexp: runs/{trained.path.name}: too little memory to save it; the same command continues with more\n"
    )
    assert cli("run", experiment).code == 0
    assert only_run(Path("runs")).finished == 8


def test_a_configuration_that_tunes_is_shown_then_chooses_and_is_measured(
    here: Path, experiment: Path, cli: Command
) -> None:
    words = ("exp.yaml", *SMALL, "tune.grid.train.lr=[1e-9, 0.5]", "model.norm.momentum=0.99")
    shown = cli("show", *words)
    assert "  Before them 8 trials choose from tune.grid." in shown.out
    ended = cli("run", *words)
    assert (ended.code, "norm.momentum 0.99 gives" in ended.err) == (0, True)
    chosen = {choice.arm: choice.values["train.lr"] for choice in only_tuned(here).tuned}
    assert f"chosen on validation images: {choices_text(only_tuned(here))}\n" in ended.out
    assert {trial.arm: trial.settings.train.lr for trial in trials(only_tuned(here))} == chosen


def only_tuned(here: Path) -> ExperimentConfig:
    first, second = (RunRecord(path).config for path in sorted((here / "runs").glob("tiny*"), reverse=True))
    assert [first.name, second.name] == ["tiny.tuning", "tiny"]
    return second
