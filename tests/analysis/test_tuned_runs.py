"""The tuning curves of a run: read from the run in which its arms tried their settings."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from bnexp.analysis.choices import choose
from bnexp.analysis.comparison import Comparison
from bnexp.analysis.runs import compare_study, study_of
from bnexp.analysis.tuned_runs import why_no_tuning, with_tuning
from bnexp.config.experiment import final_config, searches
from bnexp.plan import Trial
from bnexp.store.files import PICTURE, SUMMARIES
from bnexp.store.reader import RunRecord
from tests.helpers import experiment

LR, MOMENTUM, DEPTH = "train.lr", "model.norm.momentum", "model.depth"
TUNE: dict[str, Any] = {"grid": {LR: [0.1, 0.3, 1.0]}, "seeds": 2}
ACCURACY = {"none": {0.1: 0.2, 0.3: 0.4, 1.0: 0.8}, "before": {0.1: 0.8, 0.3: 0.9, 1.0: 0.9}}


def accuracy(trial: Trial) -> float:
    return ACCURACY[trial.arm][trial.point[LR]] + 0.001 * (trial.seed % 2)


@pytest.fixture
def tuned(make_folder) -> Callable[..., tuple[RunRecord, RunRecord]]:
    """Return a function that makes the folder of a search and that of the measurement of what was chosen."""

    def make(measure: Callable[[Trial], float] = accuracy, **raw: Any) -> tuple[RunRecord, RunRecord]:
        config = experiment(**{"arms": ["none", "before"], "data": {"name": "digits"}, "tune": TUNE, "seeds": 6} | raw)
        ended = {"environment": {"ended": "2026-01-01"}}
        found = [make_folder(accuracy=measure, **ended, **stage.model_dump()) for stage in searches(config)]
        for search in found:
            for name in (*SUMMARIES, PICTURE):
                (search.path / name).touch()
        final = final_config(config, choose(config, *found))
        return found[0], make_folder(**ended, **final.model_dump())

    return make


def curves(*runs: RunRecord, **options: Any) -> Comparison:
    study = study_of(runs, condition=options.pop("condition", None))
    return with_tuning(compare_study(study, **options), study)


def test_a_run_has_the_curves_of_what_its_arms_tried(tuned) -> None:
    _, run = tuned()
    found = curves(run)
    assert [(row.tries, row.arm, row.settings, row.seeds, row.point) for row in found.tuning] == [
        (tries, arm, 3, 2, {}) for tries in (1, 2, 3) for arm in ("none", "before")
    ]
    means = {(row.tries, row.arm): row.validation - 0.0005 for row in found.tuning}
    assert means[1, "none"] == pytest.approx(1.4 / 3)
    assert means[2, "none"] == pytest.approx((0.4 + 0.8 + 0.8) / 3)
    assert means[3, "before"] == pytest.approx(0.9)
    (lead,) = found.tuning_leads
    assert (lead.arm, lead.tries, lead.other, lead.other_tries) == ("before", 1, "none", 3)


def test_settings_with_which_an_arm_trains_the_same_are_one_try(tuned) -> None:
    grid = {LR: [0.1, 0.3], MOMENTUM: [0.1, 0.2, 0.5]}
    _, run = tuned(tune={"grid": grid, "seeds": 2})
    assert {row.arm: row.settings for row in curves(run).tuning} == {"none": 2, "before": 6}


def test_every_study_of_a_tuning_counts(tuned) -> None:
    def luck(trial: Trial) -> float:
        return 0.1 * ((trial.seed - 1000) // 2) + ACCURACY["none"][trial.point[LR]]

    _, run = tuned(luck, arms=["none"], tune=TUNE | {"studies": 3})
    *_, last = curves(run).tuning
    assert (last.tries, last.seeds, last.validation) == (3, 6, pytest.approx(0.9))
    assert (last.validation_low, last.validation_high) == pytest.approx((0.8, 1.0))


def test_every_study_has_draws_of_its_own(tuned) -> None:
    tune = {"sample": {LR: {"uniform": [0.1, 0.9]}}, "trials": 4, "seeds": 2, "studies": 3}
    search, run = tuned(lambda trial: trial.point[LR], arms=["none"], tune=tune)
    draws = [experiment(data={"name": "digits"}, tune=tune, seeds=6).tune.candidates(study) for study in range(3)]
    *_, last = curves(run).tuning
    best = [max(draw[LR] for draw in study) for study in draws]
    assert (last.tries, last.validation) == (4, pytest.approx(sum(best) / 3))
    shutil.rmtree(search.path)
    assert curves(run).tuning == ()


def test_grid_points_have_curves_of_their_own_as_far_as_they_are_compared(tuned) -> None:
    _, run = tuned(grid={DEPTH: [2, 3]})
    rows = curves(run).tuning
    assert [row.point[DEPTH] for row in rows] == [2] * 6 + [3] * 6
    filtered = curves(run, condition="depth==3 and arm==before").tuning
    assert {(row.point[DEPTH], row.arm) for row in filtered} == {(3, "before")}


def test_runs_that_are_joined_have_their_own_curves(tuned) -> None:
    (_, one), (_, other) = tuned(), tuned(grid={DEPTH: [2, 3]}, name="other")
    rows = curves(one, other).tuning
    places: Mapping[tuple[str, Any], None] = dict.fromkeys((row.run, row.point[DEPTH]) for row in rows)
    assert list(places) == [(one.path.name, None), (other.path.name, 2), (other.path.name, 3)]


def test_without_a_tuning_or_its_search_there_is_no_curve(tuned, make_folder) -> None:
    search, run = tuned()
    untuned = make_folder(environment={})
    assert curves(untuned).tuning == ()
    assert why_no_tuning(study_of([untuned])) == (
        "nothing was tuned (with tune.grid or tune.sample every arm chooses settings of its own)"
    )
    (search.path / SUMMARIES[0]).unlink()
    assert curves(run).tuning == ()
    shutil.rmtree(search.path)
    found = curves(run)
    assert (found.tuning, found.tuning_leads) == ((), ())
    assert why_no_tuning(study_of([run])) == (
        f"{search.path}, where the arms tried their settings, isn't there or has changed; bnexp run restores it"
    )
    assert replace(found, warnings=()).tuned  # everything else is as it was
