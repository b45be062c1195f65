"""Several tunings (tune.studies): each chooses with its own seeds, and comparisons are over their means."""

from typing import Any

import pytest

from bnexp.analysis.choices import choices_text, choose
from bnexp.analysis.runs import compare_study, study_of
from bnexp.analysis.standing import headline
from bnexp.analysis.stats import mean_interval
from bnexp.analysis.study import trial_settings
from bnexp.config.experiment import searches
from bnexp.plan import trials
from bnexp.store.reader import RunRecord
from tests.helpers import EXACT_FLOAT64, experiment

LR, STUDIES = "train.lr", 3
TUNE: dict[str, Any] = {"grid": {LR: [0.1, 1.0]}, "seeds": 2, "studies": STUDIES}
CHOSEN = {"none": (0.1, 1.0, 1.0), "before": (1.0, 0.1, 1.0)}
"""By arm what each study chose."""
DATA = {"name": "digits"}


def tuned(**raw: Any) -> dict[str, Any]:
    choices = [
        {"arm": arm, "study": study, "values": {LR: rate}}
        for arm, rates in CHOSEN.items()
        for study, rate in enumerate(rates)
    ]
    return {"data": DATA, "arms": list(CHOSEN), "tune": TUNE, "tuned": choices, "seeds": 2 * STUDIES} | raw


def test_each_study_chooses_with_seeds_of_its_own(make_folder) -> None:
    config = experiment(data=DATA, arms=["before"], tune=TUNE, seeds=STUDIES)
    stage = searches(config)[0]
    assert stage.seeds == (1000, 1001, 1002, 1003, 1004, 1005)
    assert [config.tune.seeds_of(study) for study in range(STUDIES)] == [(1000, 1001), (1002, 1003), (1004, 1005)]
    best = {1000: 0.1, 1001: 0.1, 1002: 1.0, 1003: 1.0, 1004: 0.1, 1005: 0.1}
    run = make_folder(
        arms=["before"],
        grid=stage.grid,
        seeds=list(stage.seeds),
        accuracy=lambda trial: 0.9 if trial.point[LR] == best[trial.seed] else 0.5,
    )
    found = choose(config, run)
    assert [(each.study, each.values[LR], each.seeds) for each in found] == [(0, 0.1, 2), (1, 1.0, 2), (2, 0.1, 2)]
    text = choices_text(config.model_copy(update={"tuned": found}))
    assert text == "before train.lr 0.1 (2 of 3 studies), train.lr 1.0 (1 of 3 studies)"


def test_seeds_far_apart_are_moved_on_until_none_is_used_twice() -> None:
    tune = experiment(data=DATA, arms=["none"], tune=TUNE | {"seeds": [100, 7, 30]}, seeds=STUDIES).tune
    assert tune.seeds_of(1) == (194, 101, 124)
    assert len(set(tune.all_seeds)) == 9


def test_every_measured_seed_takes_what_its_study_chose() -> None:
    for trial in trials(experiment(**tuned())):
        assert trial.settings.train.lr == CHOSEN[trial.arm][trial.seed % STUDIES]


def accuracy(trial: Any) -> float:
    """Seeds of a study differ by as much as studies."""
    return (
        (0.5 if trial.arm == "none" else 0.6)
        + 0.03 * (trial.seed % STUDIES) * (trial.arm == "before")
        + (0.01 * trial.seed)
    )


@pytest.fixture
def run(make_folder) -> RunRecord:
    record: RunRecord = make_folder(accuracy=accuracy, **tuned())
    return record


def test_intervals_are_over_the_means_of_the_studies(run: RunRecord) -> None:
    comparison = compare_study(study_of([run]))
    row, expected = comparison.rows[1], mean_interval([0.1, 0.13, 0.16])
    assert (row.pairs, row.n, row.trials, comparison.tunings) == (STUDIES, STUDIES, 2 * STUDIES, STUDIES)
    found = (row.difference, row.difference_low, row.difference_high)
    assert found == pytest.approx((expected.mean, expected.low, expected.high), rel=EXACT_FLOAT64)
    assert (comparison.overall[1].difference_low, comparison.overall[1].seeds) == (row.difference_low, STUDIES)
    assert headline(comparison).endswith(
        "n = 3 tunings: before is ahead (not settled) (the interval includes the tuning)"
    )
    assert comparison.warnings[0].startswith("few tunings: 3 pairs per row")
    assert not any(line.startswith("tuned") for line in comparison.warnings)


def test_more_seeds_of_another_run_join_the_studies_that_they_belong_to(run: RunRecord, make_folder) -> None:
    more = make_folder(accuracy=accuracy, **tuned(seeds=list(range(6, 12))))
    study = study_of([run, more])
    assert [settings.train.lr for settings in trial_settings(study, [LR])] == [
        CHOSEN[arm][seed % STUDIES] for arm, seed in zip(study.trials["arm"], study.trials["seed"], strict=True)
    ]
    row = compare_study(study).rows[1]
    assert (row.pairs, row.trials, row.difference) == (STUDIES, 12, pytest.approx(0.13, rel=EXACT_FLOAT64))


def test_a_failed_seed_leaves_the_mean_of_its_study_to_the_others(make_folder) -> None:
    record = make_folder(accuracy=accuracy, outcomes={0: "failed"}, **tuned())
    (_, row) = compare_study(study_of([record])).rows
    assert (row.pairs, row.n) == (STUDIES, STUDIES)
    assert row.difference == pytest.approx(0.13, rel=EXACT_FLOAT64)


def test_what_halving_stopped_is_said_of_each_tuning_and_the_interval_still_holds_their_luck(make_folder) -> None:
    sampled = {"sample": {LR: {"loguniform": [0.01, 10]}}, "trials": 8, "halve": 2, "seeds": 2, "studies": STUDIES}
    written = tuned(tune=sampled)
    choices = [each | {"stopped": 6, "epochs": 24 + each["study"]} for each in written["tuned"]]
    comparison = compare_study(study_of([make_folder(**written | {"tuned": choices}, accuracy=accuracy)]))
    assert (comparison.tuned, comparison.tunings) == (False, STUDIES)
    told = "in 24 to 26 epochs, 6 of 8 values were stopped early"
    early = "tuned: tune.halve stopped values of train.lr early in each of 3 tunings, and some might have caught up"
    assert f"{early} (none: {told}; before: {told})" in comparison.warnings
