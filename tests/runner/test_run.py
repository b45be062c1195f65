"""From configuration to run folder: interrupted, broken and repeated runs give what an undisturbed one gives."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import load
from bnexp.engines import throttle as pace
from bnexp.engines.messages import Event
from bnexp.errors import BnexpError, ConfigError
from bnexp.nn.build import build
from bnexp.plan import Options
from bnexp.report import summary
from bnexp.report.summary import curves_png
from bnexp.runner import prepare as preparing
from bnexp.runner import run as runner
from bnexp.runner.prepare import prepare
from bnexp.runner.run import RunSession, run
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.finding import find_runs
from bnexp.store.reader import RunRecord
from bnexp.store.tables import RESULT_COLUMNS
from bnexp.training.group_state import GroupTrainState
from tests.helpers import TOGETHER_FLOAT64, assert_close, crossed, experiment, leave_out_report

pytestmark = pytest.mark.usefixtures("unhurried")
TEST_IMAGES = "test-images.safetensors"
SELDOM, OFTEN = 1e9, 1e-9
"""Seconds between checkpoints: none at all, or one at every record that can be continued."""


RECORDS = 8
"""Count in a whole run: two groups with a record before training and three epochs."""


def tiny(every: float = SELDOM, **train: Any) -> ExperimentConfig:
    """Two groups, none and before, of two trials each, of which the one with the absurd rate diverges.

    Probes are taken at every record, and one within the epochs.
    """
    return experiment(
        name="tiny",
        data={"name": "digits", "train_size": 160, "val_size": 40, "test_size": 40},
        model={"depth": 2, "width": 8, "activation": "relu", "dropout": 0.2},
        arms=["none", "before"],
        train={"epochs": 3, "batch_size": 32, "momentum": 0.9, "checkpoint_every": every} | train,
        grid={"train.lr": [0.1, 1e30]},
        probes=["drift", {"name": "update_ratio", "every": 2}],
    )


class Killed(BaseException):
    """Stops a run as SIGKILL does: nothing is saved on the way out."""


def recorded_step(event: Event) -> list[int]:
    """The step of an event's record, if it has one."""
    return [event.progress.record.step] if event.progress else []


def interrupted(
    config: ExperimentConfig, runs: Path, moment: int, how: type[BaseException] = Killed, **options: bool
) -> None:
    """Run until the given event, counted from 1, and stop there; what only says how far trials are doesn't count."""
    events: list[Event] = []

    def watch(event: Event) -> None:
        if event.step is None:
            events.append(event)
        if len(events) == moment:
            raise how

    with pytest.raises(how):
        run(prepare(config, runs, "cpu", options=Options(**options)), watch)


def table(record: RunRecord, file: str) -> list[dict[str, str]]:
    """A CSV file as text, without the seconds, which no two runs share."""
    with (record.path / file).open(newline="") as opened:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(opened)]


def results(record: RunRecord) -> dict[str, Any]:
    """All that two runs of one experiment should share; of the images it kept, which predictions decide, nothing."""
    found = sorted(set((record.path / "checkpoints").iterdir()) - {record.path / "checkpoints" / TEST_IMAGES})
    weights = {path.name: load_file(path) for path in found}
    return {
        "trials": table(record, "trials.csv"),
        "curves": table(record, "curves.csv"),
        "probes": table(record, "probes.csv"),
        "weights": {name: {key: array.tobytes() for key, array in arrays.items()} for name, arrays in weights.items()},
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """One whole run that nothing interrupted, with its report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "curves_png", curves_png)
        return run(prepare(tiny(), tmp_path_factory.mktemp("finished"), "cpu"))


def copied(finished: RunRecord, runs: Path) -> RunRecord:
    """The same run in another folder, to be changed there."""
    return RunRecord(Path(shutil.copytree(finished.path, runs / finished.path.name)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, finished: RunRecord) -> Callable[..., RunRecord]:
    """A function from what differs to a run that nothing interrupts."""

    @cache
    def made(every: float, **train: Any) -> RunRecord:
        if every == SELDOM and not train:
            return finished
        with pytest.MonkeyPatch.context() as patch:
            leave_out_report(patch)
            return run(prepare(tiny(every, **train), tmp_path_factory.mktemp("whole"), "cpu"))

    return made


@pytest.fixture(scope="module")
def undisturbed(whole: Callable[..., RunRecord]) -> Callable[[float], dict[str, Any]]:
    """The results of a run that nothing interrupts."""
    return cache(lambda every: results(whole(every)))


def test_tables_and_picture_follow_a_run_while_others_of_its_trials_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "DRAWN_EVERY", 0.0)
    monkeypatch.setattr(runner, "DRAWN_SHARE", float("inf"))
    seen: list[tuple[int, str]] = []

    def look(event: Event) -> None:
        if event.ended:
            path = next(tmp_path.glob("tiny-*"))
            assert (path / "curves.png").exists()
            seen.append((len(RunRecord(path).trials["outcome"].dropna()), (path / "summary.md").read_text()))

    done = run(prepare(tiny(), tmp_path, "cpu"), look)
    (few, first), (all_, _) = seen
    assert (few, all_) == (2, 4)
    assert "2 of 4 trials" in first
    assert "2 of 4 trials" not in (done.path / "summary.md").read_text()


def test_the_undisturbed_run_has_what_the_other_tests_rely_on(undisturbed: Callable[[float], dict[str, Any]]) -> None:
    found = undisturbed(SELDOM)
    assert len(found["curves"]) == 2 * RECORDS
    assert {row["step"] for row in found["probes"]} == {str(step) for step in (0, 2, 4, 5, 6, 8, 10, 12, 14, 15)}
    assert {row["trial"] for row in found["probes"]} == {"0", "1", "2", "3"}
    assert [row["outcome"] for row in found["trials"]] == ["completed", "completed", "diverged", "diverged"]
    kept = [f"{kind}-{group}-15" for kind in ("predictions", "weights") for group in ("000", "001")]
    assert list(found["weights"]) == [f"{name}.safetensors" for name in sorted(kept)]
    assert undisturbed(OFTEN) == found


# Interruptions


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(
    ("moments", "every"), crossed([[1], [2], [3], [4], [5], [6], [7], [8], [3, 1], [2, 2, 4]], [SELDOM, OFTEN], fast=5)
)
def test_a_continued_run_equals_an_undisturbed_one(
    tmp_path: Path, undisturbed: Callable[[float], dict[str, Any]], moments: list[int], every: float
) -> None:
    for moment in moments:
        interrupted(tiny(every), tmp_path, moment)
    found = results(run(prepare(tiny(every), tmp_path, "cpu")))
    for part, expected in undisturbed(every).items():
        assert found[part] == expected


@pytest.mark.usefixtures("without_report")
def test_what_a_checkpoint_holds_is_not_trained_again(tmp_path: Path) -> None:
    interrupted(tiny(OFTEN), tmp_path, 3)
    assert [path.name for path in tmp_path.glob("*/checkpoints/*")] == ["group-001.safetensors"]
    steps: list[int] = []
    run(prepare(tiny(OFTEN), tmp_path, "cpu"), lambda event: steps.extend(recorded_step(event)))
    assert steps == [15, 0, 5, 10, 15]


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(("moment", "every"), crossed([2, 3], [OFTEN, SELDOM], fast=3))
def test_trials_that_were_stopped_stay_stopped_when_the_others_are_continued(
    tmp_path: Path, whole: Callable[..., RunRecord], moment: int, every: float
) -> None:
    # The second record is the last of the stopped trials, and the checkpoint then still holds them.
    config, expected = tiny(every, stop_diverged=True), whole(every, stop_diverged=True)
    interrupted(config, tmp_path, moment)
    parts = run(prepare(config, tmp_path, "cpu"))
    assert expected.curves.groupby("trial")["step"].max().tolist() == [15, 15, 5, 5]
    # To the bit, since a group is trained again in the company that it had.
    assert results(parts) == results(expected)


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("moment", crossed(range(1, RECORDS), fast=4))
def test_an_interruption_saves_all_that_was_recorded(
    tmp_path: Path, undisturbed: Callable[[float], dict[str, Any]], moment: int
) -> None:
    config, steps = tiny(SELDOM), list[int]()
    interrupted(config, tmp_path, moment, KeyboardInterrupt)
    record = run(prepare(config, tmp_path, "cpu"), lambda event: steps.extend(recorded_step(event)))
    assert steps == [0, 5, 10, 15, 0, 5, 10, 15][moment:]
    assert results(record) == undisturbed(SELDOM)


def test_an_interruption_after_the_last_record_still_leads_to_a_whole_folder(tmp_path: Path) -> None:
    interrupted(tiny(), tmp_path, RECORDS)
    record = run(prepare(tiny(), tmp_path, "cpu"))
    assert {"summary.csv", "summary.md", "curves.png"} <= {path.name for path in record.path.iterdir()}
    assert record.environment["ended"] is not None


@pytest.mark.usefixtures("without_report")
def test_an_interrupted_run_puts_the_librarys_switches_back_and_closes_its_files(tmp_path: Path) -> None:
    torch.set_float32_matmul_precision("high")
    try:
        interrupted(tiny(), tmp_path, 2)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert not [link for link in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(link)]


def test_a_finished_run_is_shown_as_it_is(tmp_path: Path, finished: RunRecord) -> None:
    first = copied(finished, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    events: list[Event] = []
    assert run(prepare(tiny(), tmp_path, "cpu"), events.append).path == first.path
    assert events == []
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == before


def test_preparing_writes_nothing(tmp_path: Path) -> None:
    plan = prepare(tiny(), tmp_path / "runs", "cpu")
    assert plan.path.parent == tmp_path / "runs"
    assert list(tmp_path.iterdir()) == []


# Failures


Break = Callable[[Callable[[GroupTrainState], bool]], None]


@pytest.fixture
def break_updates(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Make the updates of some groups raise from step 6 on, the first of the second epoch."""
    update = GroupTrainState.update

    def make(affected: Callable[[GroupTrainState], bool]) -> None:
        def breaking(self: GroupTrainState, batch_SB: torch.Tensor, rate_K1: torch.Tensor, step: int) -> None:
            if affected(self) and step == 6:
                raise RuntimeError("the device is gone")
            update(self, batch_SB, rate_K1, step)

        monkeypatch.setattr(GroupTrainState, "update", breaking)

    return make


def without_norm(train_state: GroupTrainState) -> bool:
    return train_state.group.settings.model.norm.kind == "none"


def test_a_group_that_breaks_is_an_outcome_and_the_others_finish(
    tmp_path: Path, break_updates: Break, undisturbed: Callable[[float], dict[str, Any]]
) -> None:
    break_updates(without_norm)
    record = run(prepare(tiny(), tmp_path, "cpu"))
    failed = [row for row in table(record, "trials.csv") if row["arm"] == "none"]
    assert [(row["outcome"], row["reason"]) for row in failed] == [("failed", "RuntimeError: the device is gone")] * 2
    expected = undisturbed(SELDOM)
    assert table(record, "trials.csv")[1::2] == expected["trials"][1::2]
    log = (record.path / "log.txt").read_text()
    assert "trials 0, 2 failed" in log
    assert "Traceback (most recent call last)" in log
    assert "in breaking" in log
    # What was measured before stays.
    (first,) = (row for row in expected["curves"] if (row["trial"], row["step"]) == ("0", "5"))
    assert failed[0]["final_train_accuracy"] == first["train_accuracy"]
    assert [row["step"] for row in table(record, "curves.csv") if row["trial"] == "0"] == ["0", "5"]


@pytest.mark.usefixtures("without_report")
def test_a_group_that_broke_leaves_nothing_to_continue(tmp_path: Path, break_updates: Break) -> None:
    break_updates(without_norm)
    record = run(prepare(tiny(OFTEN), tmp_path, "cpu"))
    names = sorted(path.stem for path in (record.path / "checkpoints").iterdir())
    assert names == ["predictions-001-15", "weights-001-15"]


@pytest.mark.usefixtures("without_report")
def test_trials_that_had_ended_before_their_group_broke_keep_their_outcome(
    tmp_path: Path, break_updates: Break
) -> None:
    break_updates(without_norm)
    record = run(prepare(tiny(stop_diverged=True), tmp_path, "cpu"))
    assert record.trials["outcome"].tolist() == ["failed", "completed", "diverged", "diverged"]
    assert record.trials["final_train_accuracy"].notna().all()


@pytest.mark.parametrize("kinds", [{"none"}, {"none", "batch"}], ids=["one", "all"])
def test_groups_that_break_before_their_first_record_fail_without_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: set[str]
) -> None:
    def breaking(models: Any, *args: Any) -> tuple[nn.Module, Any]:
        if models[0].norm.kind in kinds:
            raise RuntimeError("no room for the weights")
        return build(models, *args)

    monkeypatch.setattr("bnexp.training.group_state.build", breaking)
    record = run(prepare(tiny(), tmp_path, "cpu"))
    failed = record.trials[record.trials["outcome"] == "failed"]
    assert set(failed["arm"]) == {"none"} if len(kinds) == 1 else {"none", "before"}
    assert set(failed["reason"]) == {"RuntimeError: no room for the weights"}
    assert failed["final_train_loss"].isna().all()
    assert record.complete


@pytest.mark.usefixtures("without_report")
def test_failed_trials_are_trained_again_when_asked_to(
    tmp_path: Path, break_updates: Break, undisturbed: Callable[[float], dict[str, Any]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        update = GroupTrainState.update
        break_updates(without_norm)
        run(prepare(tiny(), tmp_path, "cpu"))
        patch.setattr(GroupTrainState, "update", update)
        # Without being asked to, a failure is an outcome.
        assert (run(prepare(tiny(), tmp_path, "cpu")).trials["outcome"] == "failed").sum() == 2
        seen: list[Event] = []
        again = run(prepare(tiny(), tmp_path, "cpu", options=Options(retry_failed=True)), seen.append)
    assert {event.job.group.arms for event in seen} == {("none",)}
    assert results(again) == undisturbed(SELDOM)


@pytest.mark.usefixtures("without_report")
def test_the_first_failure_stops_the_run_when_asked_to(
    tmp_path: Path, break_updates: Break, undisturbed: Callable[[float], dict[str, Any]]
) -> None:
    update, broken = GroupTrainState.update, tiny()
    break_updates(lambda train_state: not without_norm(train_state))
    with pytest.raises(BnexpError) as error:
        run(prepare(broken, tmp_path, "cpu", options=Options(fail_fast=True)))
    (path,) = tmp_path.iterdir()
    assert str(error.value) == (
        f"{path}: RuntimeError: the device is gone; stopped at this first failure (--fail-fast). The same command "
        "trains the trials that are left; --retry-failed trains those that failed, too"
    )
    assert error.value.exit_code == 1
    assert RunRecord(path).trials["outcome"].fillna("").tolist() == ["", "failed", "", "failed"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroupTrainState, "update", update)
        record = run(prepare(broken, tmp_path, "cpu", options=Options(retry_failed=True)))
    assert results(record) == undisturbed(SELDOM)


# The same experiment with more in it, or again


@pytest.mark.usefixtures("without_report")
def test_what_an_earlier_run_has_is_taken_over(tmp_path: Path, finished: RunRecord) -> None:
    first = copied(finished, tmp_path)
    larger = tiny().model_copy(update={"seeds": (0, 1), "grid": {"train.lr": (1e30, 0.05, 0.1)}})
    opened: list[RunSession] = []
    trained: set[int] = set()
    record = run(prepare(larger, tmp_path, "cpu"), lambda event: trained.update(event.job.group.numbers), opened.append)
    assert opened[0].news == (f"4 trials taken over from {first.path.name}, 8 to go",)
    key = ["arm", "seed", "train.lr"]
    rows = record.trials.set_index(key)
    assert trained == set(rows.loc[[(a, s, r) for a, s, r in rows.index if s == 1 or r == 0.05], "trial"])
    old = first.trials.set_index(key)
    pd.testing.assert_frame_equal(rows.loc[old.index].drop(columns="trial"), old.drop(columns="trial"))
    for place, number in old["trial"].items():
        mine = record.curves.query(f"trial == {rows.loc[place, 'trial']}").drop(columns="trial")
        theirs = first.curves.query(f"trial == {number}").drop(columns="trial")
        pd.testing.assert_frame_equal(mine.reset_index(drop=True), theirs.reset_index(drop=True))
        assert weights_of(record, rows.loc[place, "trial"]) == weights_of(first, number)
    assert record.complete
    assert results(first) == results(RunRecord(first.path))


def weights_of(record: RunRecord, trial: int) -> dict[str, bytes]:
    """The final weights of a trial."""
    (found,) = (each.only([trial]) for each in Checkpoints(record.path).kept() if trial in each.trials)
    return {name: array.tobytes() for name, array in found.arrays.items()}


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(
    "why", ["other name", "other version", "other setting", "failed", "no weights", "damaged", "rerun"]
)
def test_what_is_no_result_of_the_same_trial_is_not_taken_over(
    tmp_path: Path, finished: RunRecord, monkeypatch: pytest.MonkeyPatch, break_updates: Break, why: str
) -> None:
    if why == "failed":
        break_updates(without_norm)
        first = run(prepare(tiny(), tmp_path, "cpu"))
    else:
        first = copied(finished, tmp_path)
    larger: dict[str, Any] = {"seeds": (0, 1)}
    if why == "other name":
        larger["name"] = "other"
    if why == "other setting":
        larger["model"] = first.config.model.model_copy(update={"width": 9})
    if why == "no weights":
        (first.path / "checkpoints" / "weights-000-15.safetensors").unlink()
    if why == "damaged":
        with (first.path / "trials.csv").open("a") as file:
            file.write("nonsense")
            file.write("\n")
    if why == "other version":
        monkeypatch.setattr(preparing, "__version__", "0.0.1")
    plan = prepare(tiny().model_copy(update=larger), tmp_path, "cpu", options=Options(rerun=why == "rerun"))
    taken = [number for each in plan.reusable for number in each.numbers.values()]
    assert taken == ([1, 3] if why in ("failed", "no weights") else [])


@pytest.mark.usefixtures("without_report")
def test_settings_without_an_influence_do_not_keep_trials_from_being_taken_over(
    tmp_path: Path, finished: RunRecord
) -> None:
    copied(finished, tmp_path)
    plan = prepare(tiny(OFTEN), tmp_path, "cpu")
    assert [len(each.numbers) for each in plan.reusable] == [4]
    assert plan.groups == ()
    assert run(plan).complete


@pytest.mark.usefixtures("without_report")
def test_a_patience_is_measured_in_trials_that_are_there(tmp_path: Path, finished: RunRecord) -> None:
    copied(finished, tmp_path)
    patient = tiny().model_copy(update={"train": tiny().train.model_copy(update={"patience": 1})})
    record = run(prepare(patient, tmp_path, "cpu"), lambda event: pytest.fail("trained again"))
    stops = record.trials.set_index("trial")["early_stop_step"]
    for trial, curve in record.curves.groupby("trial"):
        better = curve["val_accuracy"] > curve["val_accuracy"].cummax().shift(fill_value=-1)
        assert stops[trial] == [*curve["step"][~better], curve["step"].max()][0]
    assert finished.trials["early_stop_step"].isna().all()


def test_a_patience_that_nothing_could_exhaust_is_refused_where_all_trials_are_there(
    tmp_path: Path, finished: RunRecord
) -> None:
    copied(finished, tmp_path)
    with pytest.raises(ConfigError, match=r"^exp.yaml: train.patience: 3: a trial has 3 records after its start"):
        prepare(tiny(patience=3), tmp_path, "cpu", "exp.yaml")


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("moment", crossed([3, 1, 5], fast=3))
def test_a_run_that_took_trials_over_is_continued_like_any_other(
    tmp_path: Path, finished: RunRecord, moment: int
) -> None:
    larger = tiny().model_copy(update={"seeds": (0, 1)})
    for runs in (tmp_path / "whole", tmp_path / "parts"):
        copied(finished, runs)
    whole = run(prepare(larger, tmp_path / "whole", "cpu"))
    interrupted(larger, tmp_path / "parts", moment)
    assert prepare(larger, tmp_path / "parts", "cpu").reusable == ()
    parts = run(prepare(larger, tmp_path / "parts", "cpu"))
    assert results(parts) == results(whole)


@pytest.mark.usefixtures("without_report")
def test_a_run_that_lost_its_configuration_is_restored_and_takes_nothing_over(
    tmp_path: Path, whole: Callable[..., RunRecord], undisturbed: Callable[[float], dict[str, Any]]
) -> None:
    interrupted(tiny(), tmp_path, 3)
    (begun,) = tmp_path.iterdir()
    copied(whole(OFTEN), tmp_path)  # which has the same trials
    (begun / "config.yaml").unlink()
    plan = prepare(tiny(), tmp_path, "cpu")
    assert plan.reusable == ()
    assert results(run(plan)) == undisturbed(SELDOM)


@pytest.mark.usefixtures("without_report")
def test_a_run_made_anew_keeps_the_old_one_under_a_number(
    tmp_path: Path, finished: RunRecord, undisturbed: Callable[[float], dict[str, Any]]
) -> None:
    first = copied(finished, tmp_path)
    kept = {path.relative_to(first.path): path.read_bytes() for path in first.path.rglob("*") if path.is_file()}
    for number in (1, 2):
        events: list[Event] = []
        again = run(prepare(tiny(), tmp_path, "cpu", options=Options(rerun=True)), events.append)
        assert sum(bool(event.progress) for event in events) == RECORDS
        assert results(again) == undisturbed(SELDOM)
        assert RunRecord(tmp_path / f"{first.path.name}.{number}").complete
    old = tmp_path / f"{first.path.name}.1"
    assert {name: (old / name).read_bytes() for name in kept if name.name[0] != "."} == {
        name: content for name, content in kept.items() if name.name[0] != "."
    }
    assert [each.path.name for each in find_runs(tmp_path)] == [old.name, f"{first.path.name}.2", first.path.name]


# Running out of memory


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(("from_step", "every"), crossed([6, 1, 11], [OFTEN, SELDOM], fast=4))
def test_a_run_that_runs_out_of_memory_has_every_record_once_and_the_numbers_of_an_undisturbed_one(
    tmp_path: Path, whole: Callable[..., RunRecord], monkeypatch: pytest.MonkeyPatch, from_step: int, every: float
) -> None:
    config, expected = tiny(every, precision="fp64"), whole(OFTEN, precision="fp64")
    update = GroupTrainState.update
    if every == SELDOM:
        monkeypatch.setattr(pace.Throttle, "due", lambda self, others=0: False)  # nothing to go on from

    def limited(self: GroupTrainState, batch_SB: torch.Tensor, rate_K1: torch.Tensor, step: torch.Tensor) -> None:
        if len(self.group.trials) > 1 and step >= from_step:
            raise torch.OutOfMemoryError("CUDA out of memory")
        update(self, batch_SB, rate_K1, step)

    monkeypatch.setattr(GroupTrainState, "update", limited)
    cut = run(prepare(config, tmp_path / "cut", "cpu"))
    places = [[(row["trial"], row["step"]) for row in table(record, "curves.csv")] for record in (expected, cut)]
    assert sorted(places[0]) == sorted(places[1])
    assert list(cut.trials["outcome"]) == list(expected.trials["outcome"])
    learned = [record.curves.query("trial < 2").sort_values(["trial", "step"]) for record in (cut, expected)]
    for name in ("train_loss", "test_accuracy"):
        assert_close(learned[0][name], learned[1][name], TOGETHER_FLOAT64)
    place = "the start" if every == SELDOM or from_step == 1 else f"step {from_step - 1}"
    assert f"2 trials ran out of memory together; going on with 1, 1 from {place}" in (cut.path / "log.txt").read_text()
    names = sorted(path.stem.rpartition("-")[0] for path in (cut.path / "checkpoints").iterdir())
    assert names == [*(f"predictions-{n:03}" for n in range(4)), *(f"weights-{n:03}" for n in range(4))]


@pytest.mark.usefixtures("without_report")
def test_an_interruption_after_a_cut_continues_the_parts(
    tmp_path: Path, whole: Callable[..., RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, expected = tiny(OFTEN, precision="fp64"), whole(OFTEN, precision="fp64")
    update = GroupTrainState.update

    def limited(self: GroupTrainState, *args: torch.Tensor) -> None:
        if len(self.group.trials) > 1 and args[2] >= 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        update(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(GroupTrainState, "update", limited)
        # Two records of the group, the cut, and a record of the first part.
        interrupted(config, tmp_path, 4)
    saved = sorted(path.name for path in tmp_path.glob("tiny-*/checkpoints/group*"))
    assert saved == ["group-001.safetensors", "group-003.safetensors"]
    parts = run(prepare(config, tmp_path, "cpu"))
    learned = [record.curves.query("trial < 2").sort_values(["trial", "step"]) for record in (parts, expected)]
    assert_close(learned[0]["train_loss"], learned[1]["train_loss"], TOGETHER_FLOAT64)
    assert len(parts.curves) == len(expected.curves)


# What stands in the folder


def test_a_diverged_trial_is_a_result_with_its_step_and_its_accuracies(finished: RunRecord) -> None:
    diverged = finished.trials[finished.trials["outcome"] == "diverged"]
    assert list(diverged["train.lr"]) == [1e30, 1e30]
    assert diverged["diverged_step"].between(1, 2).all()
    accuracies = [name for name in RESULT_COLUMNS if "accuracy" in name]
    assert len(accuracies) == 5
    assert diverged[accuracies].apply(lambda column: column.between(0, 1)).all(axis=None)
    assert finished.trials.loc[finished.trials["outcome"] == "completed", "diverged_step"].isna().all()


def test_the_folder_has_what_the_contract_lists(finished: RunRecord) -> None:
    names = {"config.yaml", "environment.json", "trials.csv", "curves.csv", "summary.csv", "summary.md", "curves.png"}
    shown = {path.name for path in finished.path.iterdir() if path.name[0] != "."}
    assert shown == names | {"probes.csv", "checkpoints", "checksums.txt", "log.txt"}
    about = json.loads((finished.path / "environment.json").read_text())
    assert about["started"] < about["ended"]
    assert {"format", "torch", "device", "threads", "engine", "commit", "command"} <= about.keys()


def test_final_weights_are_kept_for_every_trial_under_the_networks_own_names(finished: RunRecord) -> None:
    plan = prepare(tiny(), finished.path.parent, "cpu")
    for group in plan.groups:
        trained = load_file(finished.path / "checkpoints" / f"weights-{group.numbers[0]:03}-15.safetensors")
        network = GroupTrainState(group, next(iter(plan.datasets.values()))).network
        assert {name: array.shape for name, array in trained.items()} == {
            name: tuple(tensor.shape) for name, tensor in network.state_dict().items()
        }


SCRIPT = """
import sys
from pathlib import Path
from bnexp.config.load import load
from bnexp.runner import run as runner
from bnexp.runner.prepare import prepare
runner.write_report_files = lambda record: None
print(runner.run(prepare(load(Path(sys.argv[1])), Path(sys.argv[2]), "cpu")).path)
"""


def test_a_fresh_process_gives_the_same_results_to_the_bit(tmp_path: Path, finished: RunRecord) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(finished.path / "config.yaml"), str(tmp_path)],
        env=os.environ | {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    found = RunRecord(Path(answer.stdout.strip()))
    assert results(found) == results(finished)
    images = [(record.path / "checkpoints" / TEST_IMAGES).read_bytes() for record in (found, finished)]
    assert images[0] == images[1]


# On MNIST


@pytest.fixture
def mnist() -> None:
    data = os.environ.get("BNEXP_DATA")
    if not data or not (Path(data) / "MNIST" / "raw").is_dir():
        pytest.skip(f"no MNIST/raw in BNEXP_DATA={data}: it names the folder of data sets")


@pytest.mark.slow
@pytest.mark.usefixtures("without_report", "mnist")
def test_a_network_that_overshoots_once_and_then_learns_has_not_diverged(tmp_path: Path) -> None:
    config = experiment(
        data={"name": "mnist", "train_size": 3000, "val_size": 500, "test_size": 1000, "normalize": "unit"},
        model={"depth": 3, "width": 512, "activation": "relu", "init": "he"},
        arms=["none"],
        train={"epochs": 5, "batch_size": 128, "optimizer": "rmsprop", "lr": 0.01, "stop_diverged": True},
    )
    (trial,) = run(prepare(config, tmp_path, "cpu")).trials.to_dict("records")
    assert (trial["outcome"], trial["highest_batch_loss_step"]) == ("completed", 2)
    assert trial["highest_batch_loss"] > 10_000
    assert np.isnan(trial["diverged_step"])
    assert trial["final_test_accuracy"] > 0.75


@pytest.mark.slow
@pytest.mark.usefixtures("without_report", "mnist")
def test_the_scale_of_the_initial_weights_matters_less_with_batch_norm_but_not_everywhere(tmp_path: Path) -> None:
    config = load(
        Path(__file__).parents[2] / "configs" / "init_scale.yaml", ["grid.model.init.scale=[0.2929, 0.007356]"]
    )
    record = run(prepare(config, tmp_path, "cpu"))
    curves = record.curves.merge(record.trials[["trial", "arm", "model.init.scale"]])
    large, small = (
        {arm: curve["train_accuracy"] for arm, curve in at.groupby("arm")}
        for _, at in sorted(curves.groupby("model.init.scale"), reverse=True)
    )
    assert small["before"].max() >= 0.99
    assert small["none"].max() < 0.2
    assert large["before"].iloc[-1] < large["none"].iloc[-1] - 0.1
