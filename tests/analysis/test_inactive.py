"""A setting that has no effect on an arm is no axis, no edge and no candidate of that arm.

The rule that says which trainings are the same (`bnexp.config.trial`) decides this, trial by trial.
"""

from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.runs import compare_run, compare_study, study_of
from bnexp.report.views import tables
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.store.reader import RunRecord
from tests.helpers import experiment

LR, MOMENTUM = "train.lr", "model.norm.momentum"
FACTOR, SCHEDULE = "train.schedule_options.factor", "train.schedule"
THREE = [0.01, 0.1, 0.5]


def axes(comparison: Comparison) -> dict[str, list[str]]:
    """Return the axes, each with the arms that lie along it."""
    found: dict[str, list[str]] = {}
    for row in comparison.robustness:
        found.setdefault(row.axis, []).append(row.arm)
    return found


def edges(comparison: Comparison) -> dict[str, tuple[str, ...]]:
    """Return the keys in which each arm's best is at the edge."""
    return {row.arm: row.edges for row in comparison.best}


def rising(trial: Any) -> float:
    """Return an accuracy that rises with every value."""
    numbers = [value for value in trial.point.values() if isinstance(value, int | float)]
    return 0.3 + 0.1 * sum(numbers) / len(numbers)


@pytest.fixture
def swept(make_folder) -> RunRecord:
    return make_folder(grid={LR: THREE, MOMENTUM: THREE}, accuracy=rising, seeds=2)


def test_an_arm_has_axes_and_edges_only_of_what_has_an_effect_on_it(swept: RunRecord) -> None:
    comparison = compare_run(swept)
    assert axes(comparison) == {LR: ["none", "before"], MOMENTUM: ["before"]}
    assert edges(comparison) == {"none": (LR,), "before": (LR, MOMENTUM)}
    said = [line for line in comparison.warnings if line.startswith("at the edge")]
    assert [line.split(" is ")[0] for line in said] == [
        "at the edge: the best train.lr of none",
        "at the edge: the best train.lr of before",
        "at the edge: the best model.norm.momentum of before",
    ]


def test_points_at_which_an_arm_trains_the_same_are_one_candidate(swept: RunRecord) -> None:
    none, before = compare_run(swept).best
    assert (none.candidates, before.candidates) == (3, 9)
    assert (none.inactive, before.inactive) == ((MOMENTUM,), ())
    assert (none.active_point, before.active_point) == ({LR: 0.5}, {LR: 0.5, MOMENTUM: 0.5})
    assert (none.epochs, before.epochs) == (3 * 2 * 2, 9 * 2 * 2)
    assert none.n == none.seeds == 2


def test_what_has_no_effect_is_said_once_and_where(swept: RunRecord, make_folder) -> None:
    (table,) = tables(compare_run(swept), "best")
    assert "No effect: norm.momentum on none." in table.notes
    some = make_folder(name="some", grid={SCHEDULE: ["constant", "step"], FACTOR: THREE}, accuracy=rising)
    (table,) = tables(compare_run(some), "best")
    said = (
        "No effect: schedule_options.factor on none at some points; schedule_options.factor on before at some points."
    )
    assert said in table.notes


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"grid": {"model.norm.groups": [1, 2, 4]}}, {}),
        ({"grid": {FACTOR: THREE}}, {}),
        ({"grid": {FACTOR: THREE}, "train": {"schedule": "step"}}, {FACTOR: ["none", "before"]}),
        ({"grid": {LR: THREE}, "arms": {"own": {LR: 1.0}, "swept": {}}}, {LR: ["swept"]}),
        ({"grid": {FACTOR: THREE}, "arms": {"own": {SCHEDULE: "step"}, "steady": {}}}, {FACTOR: ["own"]}),
    ],
)
def test_a_setting_is_an_axis_of_the_arms_that_it_has_an_effect_on(make_folder, raw, expected) -> None:
    comparison = compare_run(make_folder(accuracy=rising, **raw))
    assert axes(comparison) == expected
    assert {arm: keys for arm, keys in edges(comparison).items() if keys} == {
        arm: (key,) for key, arms in expected.items() for arm in arms
    }


def test_where_another_swept_setting_decides_the_axis_is_where_it_has_an_effect(make_folder) -> None:
    run = make_folder(grid={SCHEDULE: ["constant", "step"], FACTOR: THREE}, arms=["none"], accuracy=rising)
    comparison = compare_run(run)
    assert [(row.axis, row.values) for row in comparison.robustness] == [(FACTOR, 3)]
    (best,) = comparison.best
    assert best.candidates == 1 + 3
    assert best.partly_inactive == (FACTOR,)


def test_values_that_come_to_the_same_for_an_arm_are_one_candidate(make_folder) -> None:
    run = make_folder(grid={"model.bias": ["auto", True, False]}, accuracy=lambda trial: 0.5, seeds=2)
    comparison = compare_run(run)
    assert [(row.candidates, row.epochs, row.inactive) for row in comparison.best] == [(2, 2 * 2 * 2, ())] * 2
    (table,) = tables(comparison, "best")
    assert "Points at which an arm trains the same way count as one." in table.notes


def test_joined_runs_follow_the_same_rule(make_folder) -> None:
    runs = [make_folder(name=arm, arms=[arm], grid={MOMENTUM: THREE}, accuracy=rising) for arm in ("none", "before")]
    fixed = make_folder(name="fixed", arms=["none"], accuracy=lambda trial: 0.5)
    for plain in (runs[0], fixed):
        comparison = compare_study(study_of([plain, runs[1]]))
        assert axes(comparison) == {MOMENTUM: ["before"]}
        assert edges(comparison) == {"none": (), "before": (MOMENTUM,)}
        assert [row.candidates for row in comparison.best] == [1, 3]


@pytest.mark.usefixtures("without_report")
def test_really_trained_repetitions_are_equal_and_count_once(tmp_path: Path) -> None:
    config = experiment(
        data={"name": "digits", "train_size": 64, "val_size": 32, "test_size": 32},
        model={"depth": 2, "width": 4},
        train={"epochs": 1, "batch_size": 32},
        arms=["none", "before"],
        grid={MOMENTUM: THREE},
        seeds=2,
    )
    record = run(prepare(config, tmp_path, "cpu"))
    measures = ["final_train_loss", "final_val_accuracy", "final_test_accuracy"]
    distinct = {arm: trials[measures].drop_duplicates().shape[0] for arm, trials in record.trials.groupby("arm")}
    assert distinct == {"none": 2, "before": 6}
    comparison = compare_run(record)
    assert [row.candidates for row in comparison.best] == [1, 3]
    assert comparison.best[0].edges == ()
    assert axes(comparison) == {MOMENTUM: ["before"]}
