"""Every tracker has what it was given, once, however often and in however many steps it was handed over."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bnexp.config.yaml import flow
from bnexp.errors import InputError
from bnexp.report.trackers.registry import TRACKERS
from bnexp.report.trackers.tracked import TrackedRun, tracked_runs
from tests.report.trackers.conftest import ReadBack, Tracker
from tests.report.trackers.made_run import STARTED, make_run

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the trackers' packages


def expected(tracked: TrackedRun) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    for moment in tracked.moments:
        for name, value in moment.values.items():
            series.setdefault(name, []).append((moment.step, value))
    return series


def whole(runs: list[ReadBack]) -> list[tuple[str, dict[str, list[tuple[int, float]]], str]]:
    """All that a tracker has, without what it adds itself."""
    kept = {"outcome", "reason", "arm", "seed", "final/test_accuracy", "final/mean", "state"}
    return sorted(
        (run.name, run.series, json.dumps({key: run.about[key] for key in sorted(kept & run.about.keys())}))
        for run in runs
    )


def test_a_run_arrives_whole(tracker: Tracker, tmp_path: Path) -> None:
    runs = list(tracked_runs(make_run(tmp_path / "run")))
    assert "12 runs" in tracker.hand_over(runs)
    found = {run.name: run for run in tracker.read()}
    assert found.keys() == {run.name for run in runs}
    for run in runs:
        there = found[run.name]
        series, about = there.series, there.about
        if not run.finals:  # Trackio's last row then has the seconds once more
            series = {name: sorted(set(values)) for name, values in series.items()}
        assert series == expected(run)
        assert {name: about[name] for name in run.finals} == run.finals
        assert {name: about[name] for name in run.tags} == run.tags
        for name, value in run.params.items():
            text = value if isinstance(value, str) else flow(value)
            assert about[name] in (value, text)


def test_what_is_handed_over_again_is_there_once(tracker: Tracker, tmp_path: Path) -> None:
    runs = list(tracked_runs(make_run(tmp_path / "run")))
    tracker.hand_over(runs)
    once = tracker.read()
    said = tracker.hand_over(runs)
    assert whole(tracker.read()) == whole(once)
    assert ", 0 of them new or changed" in said or said.startswith("W&B")


def test_a_run_that_has_grown_is_what_it_would_be_if_it_came_at_once(tracker: Tracker, tmp_path: Path) -> None:
    for until in (1, 2, 3):
        tracker.hand_over(list(tracked_runs(make_run(tmp_path / str(until) / "run", until))))
    grown = list(tracked_runs(make_run(tmp_path / "run")))
    tracker.hand_over(grown)
    found = {run.name: run for run in tracker.read()}
    assert len(tracker.read()) == len(grown)
    for run in grown:
        assert found[run.name].series.keys() == expected(run).keys()
        for name, values in expected(run).items():
            assert found[run.name].series[name] == values
        assert found[run.name].about["outcome"] == run.tags["outcome"]
        assert {name: found[run.name].about[name] for name in run.finals} == run.finals


def test_an_experiment_trained_again_stands_beside_the_first(tracker: Tracker, tmp_path: Path) -> None:
    for started in (STARTED, STARTED.replace("678", "679")):
        tracker.hand_over(list(tracked_runs(make_run(tmp_path / started[-12:-6] / "run", started=started))))
    assert len(tracker.read()) == 24


@pytest.mark.parametrize("tracker", ["mlflow stand-in", "mlflow"], indirect=True)
def test_mlflow_says_how_a_trial_ended(tracker: Tracker, tmp_path: Path) -> None:
    tracker.hand_over(list(tracked_runs(make_run(tmp_path / "run", 2))))
    states = [run.about["state"] for run in sorted(tracker.read(), key=lambda run: run.name)]
    assert {state: states.count(state) for state in states} == {"running": 10, "finished": 1, "failed": 1}


@pytest.mark.parametrize("tracker", ["mlflow stand-in", "mlflow"], indirect=True)
def test_a_store_that_mlflow_does_not_know_is_refused(tracker: Tracker) -> None:
    with pytest.raises(InputError, match=r"--mlflow [\w:]+"):
        TRACKERS["mlflow"]([], "project", "nowhere:" if tracker.real else "nowhere")


@pytest.mark.parametrize("uri", ["", "sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_store_that_keeps_nothing_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match=f'^--mlflow "{uri}": expected where runs are kept, such as sqlite:///mlflow'):
        TRACKERS["mlflow"]([], "project", uri)


@pytest.mark.parametrize("tracker", ["mlflow stand-in"], indirect=True)
def test_a_deleted_experiment_of_mlflow_is_refused_with_the_remedy(tracker: Tracker) -> None:
    TRACKERS["mlflow"]([], "deleted", "sqlite:///a.db")
    with pytest.raises(InputError, match=r"a\.db: experiment deleted is deleted there; restore it, or add --project N"):
        TRACKERS["mlflow"]([], "deleted", "sqlite:///a.db")


def test_nothing_is_printed_on_the_way(tracker: Tracker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracker.hand_over(list(tracked_runs(make_run(tmp_path / "run"))))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("tracker", ["wandb online stand-in"], indirect=True)
def test_a_project_that_wandb_does_not_take_is_refused_with_the_remedy(tracker: Tracker, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--wandb: Invalid project name .* \(add --project NAME\)$"):
        TRACKERS["wandb"](tracked_runs(make_run(tmp_path / "run", 1)), "a/b", "")


@pytest.mark.parametrize("tracker", ["wandb online stand-in"], indirect=True)
def test_without_an_account_wandb_is_refused_with_the_remedy(tracker: Tracker, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--wandb: No API key configured\. \(wandb login, or WANDB_MODE=offline"):
        TRACKERS["wandb"](tracked_runs(make_run(tmp_path / "run", 1)), "no account", "")


@pytest.mark.parametrize("tracker", ["wandb stand-in", "wandb"], indirect=True)
def test_wandb_shows_kind_and_outcome_as_tags(tracker: Tracker, tmp_path: Path) -> None:
    tracker.hand_over(list(tracked_runs(make_run(tmp_path / "run", 2))))
    tags = {run.name: run.about["tags"] for run in tracker.read()}
    assert tags["before, lr 0.1, seed 0, trial 2"] == ["trial", "failed"]
    assert tags["none, lr 0.1, mean of 2 seeds"] == ["summary"]


@pytest.mark.parametrize("tracker", ["trackio stand-in", "trackio"], indirect=True)
def test_trackio_writes_to_this_machine_only(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/mine")
    with pytest.raises(InputError, match="unset TRACKIO_SPACE_ID"):
        tracker.hand_over([])


@pytest.mark.parametrize("tracker", ["trackio stand-in"], indirect=True)
def test_a_trackio_run_that_was_broken_off_is_written_again(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trackio

    runs, first = list(tracked_runs(make_run(tmp_path / "run"))), trackio.init
    begun: list[SimpleNamespace] = []

    def init(*words: object, **about: object) -> object:
        begun.append(SimpleNamespace())
        if len(begun) == 2:  # before the last row
            raise KeyboardInterrupt
        return first(*words, **about)

    monkeypatch.setattr(trackio, "init", init)
    with pytest.raises(KeyboardInterrupt):
        tracker.hand_over(runs)
    tracker.hand_over(runs)
    assert len(tracker.read()) == len(runs)


@pytest.mark.parametrize("tracker", ["wandb stand-in", "wandb"], indirect=True)
def test_another_project_replaces_the_offline_runs_of_the_first(tracker: Tracker, tmp_path: Path) -> None:
    runs = list(tracked_runs(make_run(tmp_path / "run", 1)))
    tracker.hand_over(runs)
    assert f"{len(runs)} of them new" in TRACKERS["wandb"](runs, "another", "")
    assert tracker.read() == []
