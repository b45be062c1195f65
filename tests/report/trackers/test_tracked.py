"""What is handed over is what the run folder says, and what was said once is never said otherwise."""

from dataclasses import replace
from math import sqrt
from pathlib import Path

import pytest

from bnexp.analysis.runs import compare_run
from bnexp.errors import InputError
from bnexp.report.trackers.tracked import TrackedRun, tracked_runs
from bnexp.store.files import ENVIRONMENT
from bnexp.store.reader import RunRecord
from tests.helpers import rewrite
from tests.report.trackers.made_run import STARTED, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return make_run(tmp_path_factory.mktemp("run") / "test-1")


def by_name(run: RunRecord) -> dict[str, TrackedRun]:
    found = list(tracked_runs(run))
    assert len({each.id for each in found}) == len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


@pytest.fixture(scope="module")
def found(run: RunRecord) -> dict[str, TrackedRun]:
    return by_name(run)


def series(tracked: TrackedRun, name: str) -> dict[int, float]:
    return {moment.step: moment.values[name] for moment in tracked.moments if name in moment.values}


def test_every_trial_and_every_arm_at_every_grid_point_is_a_run(found: dict[str, TrackedRun]) -> None:
    trials = [f"{arm}, lr {lr}, seed {seed}" for lr in (0.1, 1) for arm in ("none", "before") for seed in (0, 1)]
    means = [f"{arm}, lr {lr}, mean of 2 seeds" for lr in (0.1, 1) for arm in ("none", "before")]
    assert list(found) == [*(f"{name}, trial {number}" for number, name in enumerate(trials)), *means]
    assert {each.group for each in found.values()} == {"test-1"}


def test_a_trial_has_its_settings_its_curves_and_its_outcome(found: dict[str, TrackedRun]) -> None:
    trial = found["none, lr 0.1, seed 1, trial 1"]
    assert trial.params["arm"] == "none"
    assert (trial.params["seed"], trial.params["train.lr"], trial.params["model.norm.kind"]) == (1, 0.1, "none")
    assert series(trial, "test_accuracy") == pytest.approx({0: 0.12, 7: 0.22})
    assert series(trial, "epoch") == {0: 0, 7: 1}
    assert [moment.time - trial.started for moment in trial.moments] == pytest.approx([0, 0.25])
    assert trial.tags == {
        "run": "test-1",
        "kind": "trial",
        "question": "Why?",
        "bnexp_version": "1.2.3",
        "outcome": "diverged",
    }
    assert trial.finals["final/test_accuracy"] == pytest.approx(0.22)
    assert trial.finals["final/diverged_step"] == 9
    assert trial.state == "finished"


def test_a_failed_trial_says_why(found: dict[str, TrackedRun]) -> None:
    trial = found["before, lr 0.1, seed 0, trial 2"]
    assert (trial.state, trial.tags["outcome"], trial.tags["reason"]) == ("failed", "failed", "a cable")


def test_what_is_not_finite_or_was_not_measured_is_left_out(found: dict[str, TrackedRun]) -> None:
    trial = found["before, lr 0.1, seed 1, trial 3"]
    assert set(series(trial, "train_loss")) == {0, 14, 21}
    assert series(trial, "val_accuracy") == {}


def test_a_summary_has_means_with_intervals_over_the_seeds(found: dict[str, TrackedRun]) -> None:
    summary = found["none, lr 1, mean of 2 seeds"]  # trials 4 and 5
    assert series(summary, "test_accuracy/mean")[7] == pytest.approx(0.29)
    margin = 12.706204736174694 * (0.02 / sqrt(2)) / sqrt(2)
    assert series(summary, "test_accuracy/low")[7] == pytest.approx(0.29 - margin)
    assert series(summary, "test_accuracy/high")[7] == pytest.approx(0.29 + margin)
    assert series(summary, "seeds") == dict.fromkeys((0, 7, 14, 21), 2)
    assert (summary.params["arm"], summary.params["train.lr"]) == ("none", 1)


def test_a_summary_ends_with_what_the_table_says(run: RunRecord, found: dict[str, TrackedRun]) -> None:
    comparison = compare_run(run)
    for row in comparison.rows:
        summary = found[f"{row.arm}, lr {row.point['train.lr']:g}, mean of 2 seeds"]
        assert summary.finals["final/mean"] == row.mean
        assert summary.finals.get("final/difference") == row.difference
        assert (summary.tags["metric"], summary.tags["baseline"]) == (comparison.metric, "none")
    assert found["none, lr 0.1, mean of 2 seeds"].tags["outcome"] == "1 completed, 1 diverged"


def test_a_diverged_trial_keeps_its_last_value_in_the_mean_and_a_failed_one_has_none(
    found: dict[str, TrackedRun],
) -> None:
    diverged = found["none, lr 0.1, mean of 2 seeds"]
    assert series(diverged, "test_accuracy/mean")[21] == pytest.approx((0.4 + 0.22) / 2)
    failed = found["before, lr 0.1, mean of 2 seeds"]
    assert series(failed, "test_accuracy/mean")[21] == pytest.approx(0.46)
    assert series(failed, "seeds") == {0: 2, 7: 1, 14: 1, 21: 1}
    assert series(failed, "train_loss/mean").keys() == {0, 14, 21}


@pytest.mark.parametrize("until", [1, 2, 3])
def test_a_run_that_has_grown_says_all_that_it_said_before(
    found: dict[str, TrackedRun], tmp_path: Path, until: int
) -> None:
    before = by_name(make_run(tmp_path / "elsewhere", until))
    assert before.keys() == found.keys()
    for name, early in before.items():
        late = found[name]
        assert (early.id, early.params, early.started) == (late.id, late.params, late.started)
        assert list(early.moments) == list(late.moments)[: len(early.moments)]
        assert bool(early.finals) == (early.state != "running") or early.kind == "summary"
        assert early.digest != late.digest or early.state != "running"


def test_a_mean_waits_for_the_last_of_its_trials(tmp_path: Path) -> None:
    summary = by_name(make_run(tmp_path / "run", 1))["before, lr 0.1, mean of 2 seeds"]
    assert [moment.step for moment in summary.moments] == [0]
    assert (summary.state, summary.finals) == ("running", {})


def test_of_a_run_that_has_not_begun_there_is_nothing(tmp_path: Path) -> None:
    assert list(tracked_runs(make_run(tmp_path / "run", 0))) == []


def test_an_experiment_that_is_trained_again_is_another(run: RunRecord, tmp_path: Path) -> None:
    again = make_run(tmp_path / "test-1", started=STARTED.replace("678", "679"))
    assert {each.id for each in tracked_runs(run)}.isdisjoint(each.id for each in tracked_runs(again))


def test_the_digest_changes_with_anything(run: RunRecord) -> None:
    one = next(tracked_runs(run))
    assert replace(one, name="other").digest != one.digest
    assert replace(one, moments=one.moments[:-1]).digest != one.digest
    assert replace(one).digest == one.digest


def test_without_its_beginning_a_run_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    rewrite(run.path / ENVIRONMENT, "{}")
    with pytest.raises(InputError, match="doesn't say when the run began"):
        next(tracked_runs(RunRecord(run.path)))


def test_a_single_seed_is_named_in_the_singular(tmp_path: Path) -> None:
    assert "before, lr 1, mean of 1 seed" in by_name(make_run(tmp_path / "run", 1, seeds=1))
