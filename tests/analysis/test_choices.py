"""What every arm chooses on validation images, and the sentence about it: ties, the lead, and the seeds that chose."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bnexp.analysis.choices import choices_at_edges, choices_text, choose, tuning_caveat
from bnexp.config.experiment import ExperimentConfig, final_config
from bnexp.config.tuning import Choice
from tests.helpers import experiment

LR, MOMENTUM = "train.lr", "model.norm.momentum"
Accuracies = Mapping[float, Sequence[float | None]]
"""For each value, the validation accuracies of the tuning seeds; None where a trial failed."""


def config_of(tune: dict[str, Any], **raw: Any) -> ExperimentConfig:
    return experiment(**{"arms": ["before"], "data": {"name": "digits"}, "tune": tune, "seeds": 6} | raw)


def chosen(make_folder, accuracies: Accuracies) -> tuple[ExperimentConfig, Choice]:
    """Return the experiment that chose among values of the rate, and the choice of its only arm."""
    seeds = list(range(1000, 1000 + len(next(iter(accuracies.values())))))
    flat = [value for values in accuracies.values() for value in values]
    run = make_folder(
        arms=["before"],
        grid={LR: list(accuracies)},
        seeds=seeds,
        accuracy=lambda trial: flat[trial.number] or 0.0,
        outcomes={number: "failed" for number, value in enumerate(flat) if value is None},
    )
    config = config_of({"grid": {LR: list(accuracies)}, "seeds": seeds})
    (choice,) = choose(config, run)
    return final_config(config, [choice]), choice


def told(config: ExperimentConfig) -> str:
    return tuning_caveat(config, {arm: arm for arm in config.arms}).rpartition("(")[2].rstrip(")")


ONE_BY_ONE: list[tuple[Accuracies, float, dict[str, Any], str]] = [
    # Accuracies by value, then the value chosen and what is said of it. 0.3 is 0.01 behind 1.0, with differences of 0
    # and 0.02: one standard error is 0.01 as well. The lead is that of the best, over the best value that doesn't tie.
    (
        {0.1: [0.68, 0.72], 0.3: [0.78, 0.8], 1.0: [0.78, 0.82]},
        0.3,
        {"tried": 3, "ties": 2, "lead": pytest.approx(0.8 - 0.7)},
        "2 of 3 values tie for the best, the next is 0.100 behind",
    ),
    ({0.1: [0.61, 0.8], 0.3: [0.6, 0.82]}, 0.1, {"ties": 2, "lead": None}, "2 of 2 values tie for the best"),
    # Seeds that differ by 0.2 are no reason for a tie: the differences are 0.01 in both.
    (
        {0.1: [0.6, 0.8], 0.3: [0.61, 0.81]},
        0.3,
        {"ties": 1, "lead": pytest.approx(0.01)},
        "no tie among 2 values, the next is 0.010 behind",
    ),
    # The smallest value, wherever it stands in the list.
    ({1.0: [0.78, 0.82], 0.3: [0.77, 0.83], 0.1: [0.79, 0.8]}, 0.1, {"ties": 3}, "3 of 3 values tie for the best"),
    # With one seed the next is the next of all.
    (
        {0.1: [0.7], 0.3: [0.8], 1.0: [0.79]},
        0.3,
        {"ties": None, "lead": pytest.approx(0.01), "seeds": 1},
        "the next is 0.010 behind",
    ),
    # A single lucky seed at 1.0 would win over the seed that it shares with the others.
    (
        {0.1: [0.6, 0.7, 0.8], 0.3: [0.7, 0.8, 0.9], 1.0: [None, None, 0.99]},
        0.3,
        {"tried": 2, "left_out": 1, "seeds": 3},
        "chosen from 2 of 3 values because trials failed, no tie among 2 values, the next is 0.100 behind",
    ),
    (
        {0.1: [0.6, 0.6, None], 0.3: [0.8, 0.8, 0.8]},
        0.3,
        {"tried": 2, "left_out": 0, "seeds": 2},
        "chosen by 2 of 3 seeds because trials failed, no tie among 2 values, the next is 0.200 behind",
    ),
    (
        {0.1: [0.6, None], 0.3: [0.8, None]},
        0.3,
        {"seeds": 1},
        "chosen by 1 of 2 seeds because trials failed, the next is 0.200 behind",
    ),
]


@pytest.mark.parametrize(("accuracies", "value", "how", "text"), ONE_BY_ONE)
def test_what_is_chosen_and_how_close_it_was(make_folder, accuracies, value, how, text) -> None:
    config, choice = chosen(make_folder, accuracies)
    assert choice.values == {LR: value}
    assert {name: getattr(choice, name) for name in how} == how
    assert told(config) == f"before: {text}"


def test_of_several_settings_the_first_is_kept_smallest_and_words_keep_their_order(make_folder) -> None:
    grid = {LR: [1.0, 0.1], "train.optimizer": ["sgd", "adam"]}
    scores = {(0.1, "sgd"): (0.6, 0.6), (0.1, "adam"): (0.7, 0.9), (1.0, "sgd"): (0.8, 0.8), (1.0, "adam"): (0.9, 0.8)}
    run = make_folder(
        arms=["before"],
        grid=grid,
        seeds=[1000, 1001],
        accuracy=lambda trial: scores[trial.point[LR], trial.point["train.optimizer"]][trial.seed - 1000],
    )
    (choice,) = choose(config_of({"grid": grid, "seeds": 2}), run)
    assert (choice.values, choice.ties) == ({LR: 0.1, "train.optimizer": "adam"}, 3)
    scores[0.1, "sgd"] = (0.8, 0.8)
    run = make_folder(
        arms=["before"],
        grid=grid,
        seeds=[1000, 1001],
        among="others",
        accuracy=lambda trial: scores[trial.point[LR], trial.point["train.optimizer"]][trial.seed - 1000],
    )
    (choice,) = choose(config_of({"grid": grid, "seeds": 2}), run)
    assert choice.values == {LR: 0.1, "train.optimizer": "sgd"}


def test_a_value_with_more_diverged_trials_than_the_best_does_not_tie(make_folder) -> None:
    scores = {0.1: [0.82, 0.1], 0.3: [0.81, 0.81]}
    for outcomes, value in (({1: "diverged"}, 0.3), ({1: "diverged", 2: "diverged"}, 0.1), ({}, 0.1)):
        run = make_folder(
            arms=["before"],
            grid={LR: list(scores)},
            seeds=[1000, 1001],
            accuracy=lambda trial: scores[trial.point[LR]][trial.seed - 1000],
            outcomes=outcomes,
            among=f"{len(outcomes)} diverged",
        )
        (choice,) = choose(config_of({"grid": {LR: list(scores)}, "seeds": 2}), run)
        assert choice.values == {LR: value}


def test_what_has_no_effect_on_an_arm_is_no_choice_of_it(make_folder) -> None:
    grid = {LR: [0.1, 0.3, 1.0], MOMENTUM: [0.01, 0.1, 0.5]}
    run = make_folder(grid=grid, seeds=[1000, 1001], accuracy=lambda trial: 0.1 * sum(trial.point.values()))
    config = config_of({"grid": grid, "seeds": 2}, arms=["none", "before"])
    none, before = choose(config, run)
    assert (none.tried, none.ties, before.tried) == (3, 1, 9)
    assert (none.values[LR], before.values) == (1.0, {LR: 1.0, MOMENTUM: 0.5})
    config = final_config(config, [none, before])
    assert [(choice.arm, key) for choice, key in choices_at_edges(config)] == [
        ("none", LR),
        ("before", LR),
        ("before", MOMENTUM),
    ]
    assert choices_text(config).startswith("none train.lr 1.0 (edge); before")


@pytest.mark.parametrize(("key", "values"), [(MOMENTUM, [0.1, 0.5]), ("model.norm.groups", [2, 4])])
def test_an_arm_that_trains_the_same_with_every_value_has_nothing_to_choose(make_folder, key, values) -> None:
    arms, seeds = ["none", "before"], [1000, 1001]
    run = make_folder(arms=arms, grid={key: values}, seeds=seeds, accuracy=lambda trial: 0.5)
    config = config_of({"grid": {key: values}, "seeds": seeds}, arms=arms)
    config = final_config(config, choose(config, run))
    said = told(config)
    assert said.startswith("none: nothing to choose, as it trains the same with every value; before: ")
