"""Choosing and then measuring: what is chosen, with which seeds, and what a second call still has to do."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from bnexp.analysis.choices import choices_at_edges, choices_text, choose
from bnexp.analysis.runs import ComparedRun, compare_run
from bnexp.config.experiment import ExperimentConfig, default_config, final_config, searches
from bnexp.config.tuning import Choice
from bnexp.engines.engine import EngineChoice
from bnexp.engines.local import Local
from bnexp.errors import BnexpError, InputError
from bnexp.plan import Options, run_name, trials
from bnexp.runner.dry_run import overview
from bnexp.runner.prepare import Plan, prepare
from bnexp.runner.run import run
from bnexp.runner.tuning import resolve_tuning, run_with_tuning
from bnexp.store.reader import RunRecord
from tests.helpers import experiment, leave_out_report

pytestmark = pytest.mark.usefixtures("without_report")
RATES = (1e-6, 0.5, 1e30)
"""The first learns nothing, the last diverges."""


def tuned(**raw: Any) -> ExperimentConfig:
    return experiment(
        **{
            "data": {"name": "digits", "train_size": 300, "val_size": 100, "test_size": 100},
            "model": {"depth": 1, "width": 16, "activation": "relu"},
            "arms": ["none", "before"],
            "train": {"epochs": 2, "batch_size": 30},
            "tune": {"grid": {"train.lr": list(RATES)}, "seeds": 2},
            "seeds": 2,
        }
        | raw
    )


class Training:
    """Trains plans and remembers what they were."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []

    def __call__(self, plan: Plan) -> ComparedRun:
        self.plans.append(plan)
        return run(plan)


def staged(config: ExperimentConfig, runs: Path, **options: bool) -> tuple[RunRecord, Training]:
    train = Training()
    (found,) = run_with_tuning([("exp.yaml", config)], runs, EngineChoice("cpu"), Options(**options), train)
    return found, train


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished search of `tuned()`, to be read."""
    with pytest.MonkeyPatch.context() as patch:
        leave_out_report(patch)
        return run(prepare(searches(tuned())[0], tmp_path_factory.mktemp("searched"), "cpu")).path


def test_every_arm_is_measured_with_what_it_chose_on_other_seeds(tmp_path: Path) -> None:
    found, train = staged(tuned(), tmp_path)
    first, second = train.plans
    assert first.config == searches(tuned())[0]
    assert {trial.seed for trial in first.trials} == {1000, 1001}
    assert {(trial.seed, trial.settings.train.lr) for trial in second.trials} == {(0, 0.5), (1, 0.5)}
    assert found.config == final_config(tuned(), second.config.tuned)
    assert found.path.name == run_name(found.config) != run_name(default_config(tuned()))
    assert choices_text(found.config) == "none train.lr 0.5; before train.lr 0.5"


def test_the_choice_is_the_highest_mean_validation_accuracy(tmp_path: Path) -> None:
    config = tuned(grid={"model.width": [8, 16]})
    record = run(prepare(searches(config)[0], tmp_path, "cpu"))
    trials = record.trials
    for choice in choose(config, record):
        mine = trials[(trials["arm"] == choice.arm) & (trials["model.width"] == choice.point["model.width"])]
        means = mine.groupby("train.lr")["final_val_accuracy"].mean()
        assert choice.values == {"train.lr": means.idxmax()}
    assert len(choose(config, record)) == 4


def test_the_test_images_choose_nothing(searched: Path) -> None:
    record = RunRecord(searched)
    before = choose(tuned(), record)
    rng = np.random.default_rng(0)
    record.__dict__["trials"] = record.trials.assign(final_test_accuracy=rng.random(len(record.trials)))
    assert choose(tuned(), record) == before


def test_the_choice_by_steps_is_the_earliest_at_the_threshold_and_who_never_gets_there_or_diverges_comes_last(
    searched: Path,
) -> None:
    config = tuned(tune={"grid": {"train.lr": list(RATES)}, "seeds": 2, "by": "steps", "threshold": 0.8})
    record = RunRecord(searched)
    reached = {
        ("none", 1e-6): (None, None),
        ("none", 0.5): (10, 10),
        ("before", 1e-6): (10, 10),
        ("before", 0.5): (20, 10),
    }
    reached |= {(arm, 1e30): (0, 0) for arm in ("none", "before")}  # but diverged
    curves = record.curves.copy()
    for row in record.trials.itertuples():
        rate = record.trials.loc[row.Index, "train.lr"]
        at = reached[row.arm, rate][row.seed - 1000]  # type: ignore[operator]
        mine = curves["trial"] == row.trial
        curves.loc[mine, "val_accuracy"] = np.where(
            curves.loc[mine, "step"] >= (np.inf if at is None else at), 0.8, 0.79
        )
    record.__dict__["curves"] = curves
    assert {choice.arm: choice.values["train.lr"] for choice in choose(config, record)} == {"none": 0.5, "before": 1e-6}
    late = config.model_copy(update={"tune": config.tune.model_copy(update={"threshold": 0.81})})
    assert {choice.values["train.lr"] for choice in choose(late, record)} == {1e-6}  # none gets there: the first


def test_a_choice_at_the_end_of_what_was_tried_is_said(tmp_path: Path) -> None:
    config = tuned(tune={"grid": {"train.lr": [1e-6, 0.1, 0.5]}, "seeds": 1})
    found, _ = staged(config, tmp_path)
    assert {(choice.arm, key) for choice, key in choices_at_edges(found.config)} == {
        ("none", "train.lr"),
        ("before", "train.lr"),
    }
    assert choices_text(found.config) == "none train.lr 0.5 (edge); before train.lr 0.5 (edge)"
    line = "at the edge: the tuned train.lr of none is 0.5, the smallest or largest tried; better may lie beyond"
    assert line in compare_run(found).warnings


def test_what_is_chosen_is_not_chosen_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = staged(tuned(), tmp_path)
    assert resolve_tuning(tuned(), tmp_path) is None  # without the tables of the report it has not finished
    monkeypatch.undo()
    again, train = staged(tuned(), tmp_path)
    assert [plan.config.name for plan in train.plans] == ["test.tuning", "test"]
    assert resolve_tuning(tuned(), tmp_path) == again.config == found.config
    _, train = staged(tuned(), tmp_path)
    assert train.plans == []
    _, train = staged(tuned(), tmp_path, rerun=True)
    assert [plan.config.name for plan in train.plans] == ["test.tuning", "test"]


def test_where_nothing_finished_there_is_nothing_to_choose_from(searched: Path) -> None:
    record = RunRecord(searched)
    failed = record.trials["outcome"].mask(record.trials["arm"] == "before", "failed")
    record.__dict__["trials"] = record.trials.assign(outcome=failed)
    with pytest.raises(BnexpError, match="no trial of before has finished, so there is nothing to choose from"):
        choose(tuned(), record)


UNCHOSEN = (
    "test: none has not chosen yet (tune); bnexp.run chooses and then measures, "
    "and bnexp.config.experiment.default_config gives the experiment without tuning"
)


@pytest.mark.parametrize(
    "use",
    [
        lambda config, runs: config.settings("none", {}),
        lambda config, runs: trials(config),
        lambda config, runs: prepare(config, runs, "cpu"),
        lambda config, runs: prepare(config, runs, "cpu", options=Options(rerun=True)),
        lambda config, runs: prepare(replace(config, tuned=choices(config, "before")), runs, "cpu"),
    ],
)
def test_what_has_not_been_chosen_cannot_be_trained(tmp_path: Path, use: Callable[..., object]) -> None:
    with pytest.raises(InputError) as caught:
        use(tuned(), tmp_path)
    assert str(caught.value) == UNCHOSEN
    assert list(tmp_path.iterdir()) == []


def test_only_a_choice_of_every_arm_can_be_measured() -> None:
    with pytest.raises(ValidationError, match="expected one entry for each arm at each grid point"):
        final_config(tuned(), choices(tuned(), "before"))


def test_a_run_that_was_trained_before_anything_was_chosen_is_no_run_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = prepare(default_config(tuned(seeds=1)), tmp_path, "cpu")
    plan_of_version_0_2 = dataclasses.replace(plan, config=tuned(seeds=1))
    monkeypatch.undo()  # the report is made as ever
    with pytest.raises(InputError, match="trained before anything was chosen"):
        run(plan_of_version_0_2)  # trains, and then compares, which reads the folder
    with pytest.raises(InputError, match=r"trained before anything was chosen \(tune\)"):
        RunRecord(plan_of_version_0_2.path).check()


def interrupted(config: ExperimentConfig, runs: Path, at: int) -> None:
    """Interrupt an experiment when it comes to its run of that number, counted from 1."""
    numbers = iter(range(1, at + 1))

    def train(plan: Plan) -> ComparedRun:
        if next(numbers) == at:
            raise KeyboardInterrupt
        return run(plan)

    run_with_tuning([("exp.yaml", config)], runs, EngineChoice("cpu"), Options(), train)


def test_draws_of_every_study_are_tried_in_a_run_of_its_own(tmp_path: Path) -> None:
    sample = {"sample": {"train.lr": {"loguniform": [1e-6, 1]}}, "trials": 3, "seeds": 1, "studies": 3}
    config, finish = tuned(arms=["before"], tune=sample, seeds=3), run
    with pytest.raises(KeyboardInterrupt):
        interrupted(config, tmp_path, at=2)
    found, train = staged(config, tmp_path)
    assert [plan.config.name for plan in train.plans] == ["test.tuning1", "test.tuning2", "test.tuning3", "test"]
    assert [plan.state for plan in train.plans] == ["begun", "new", "new", "new"]  # without its report
    for study, search in enumerate(train.plans[:-1]):
        tried = [each["train.lr"] for each in config.tune.candidates(study)]
        assert [(trial.seed, trial.settings.train.lr) for trial in search.trials] == [(1000 + study, x) for x in tried]
        (choice,) = [each for each in found.config.tuned if each.study == study]
        trials = finish(search).trials
        assert choice.values["train.lr"] == trials.loc[trials["final_val_accuracy"].idxmax(), "train.lr"]
    assert {trial.seed: trial.settings.train.lr for trial in train.plans[-1].trials} == {
        each.study: each.values["train.lr"] for each in found.config.tuned
    }


def test_an_overview_says_which_settings_its_figures_are_for() -> None:
    summary = overview(tuned(), Local.on("cpu")).summary()
    assert summary.splitlines()[1].startswith("4 trials in ")
    assert (
        "  Before them 12 trials choose from tune.grid. Time and memory above are without these, and for\n"
        "  the settings as they are written.\n"
    ) in summary


def replace(config: ExperimentConfig, **fields: object) -> ExperimentConfig:
    """Another configuration, unchecked, as a script can make it."""
    return config.model_copy(update=fields)


def choices(config: ExperimentConfig, *arms: str) -> tuple[Choice, ...]:
    return tuple(Choice(arm=arm, point=point, values={"train.lr": 0.5}) for point in config.points() for arm in arms)


def test_an_experiment_without_tuning_has_one_stage(tmp_path: Path) -> None:
    found, train = staged(default_config(tuned()), tmp_path)
    assert [plan.config for plan in train.plans] == [default_config(tuned())] == [found.config]
