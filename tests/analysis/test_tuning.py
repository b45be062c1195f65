"""What every arm chooses on validation images, and the sentence about it: ties, the lead, and the seeds that chose."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bnexp.analysis.choices import choices_at_edges, choices_text, choose, tuning_noise
from bnexp.config.experiment import Choice, ExperimentConfig, final_config
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
    return tuning_noise(config, {arm: arm for arm in config.arms}).partition("(")[2].rstrip(")")


def test_the_lead_is_to_the_best_value_that_does_not_tie(make_folder) -> None:
    # 0.3 is 0.01 behind 1.0, and one standard error of the difference is √2 · 0.02 / √2 = 0.02.
    config, choice = chosen(make_folder, {0.1: [0.68, 0.72], 0.3: [0.77, 0.81], 1.0: [0.78, 0.82]})
    assert (choice.values, choice.tried, choice.ties) == ({LR: 1.0}, 3, 2)
    assert choice.lead == pytest.approx(0.8 - 0.7)
    assert told(config) == "before: 2 of 3 values tie for the best, the next is 0.100 behind"


def test_where_all_values_tie_there_is_no_next(make_folder) -> None:
    config, choice = chosen(make_folder, {0.1: [0.6, 0.8], 0.3: [0.61, 0.81]})
    assert (choice.ties, choice.lead) == (2, None)
    assert told(config) == "before: 2 of 2 values tie for the best"


def test_with_one_seed_the_next_is_the_next_of_all(make_folder) -> None:
    config, choice = chosen(make_folder, {0.1: [0.7], 0.3: [0.8], 1.0: [0.79]})
    assert (choice.ties, choice.lead, choice.seeds) == (None, pytest.approx(0.01), 1)
    assert told(config) == "before: the next is 0.010 behind"


def test_two_seeds_in_common_are_wanted_and_what_is_left_out_is_told(make_folder) -> None:
    # A single lucky seed at 1.0 would win over the seed that it shares with the others.
    config, choice = chosen(make_folder, {0.1: [0.6, 0.7, 0.8], 0.3: [0.7, 0.8, 0.9], 1.0: [None, None, 0.99]})
    assert (choice.values, choice.tried, choice.left_out, choice.seeds) == ({LR: 0.3}, 2, 1, 3)
    assert told(config).startswith("before: chosen from 2 of 3 values because trials failed, no tie")


def test_seeds_that_did_not_choose_are_told(make_folder) -> None:
    config, choice = chosen(make_folder, {0.1: [0.6, 0.6, None], 0.3: [0.8, 0.8, 0.8]})
    assert (choice.tried, choice.left_out, choice.seeds) == (2, 0, 2)
    assert told(config).startswith("before: chosen by 2 of 3 seeds because trials failed, no tie among 2 values")


def test_without_two_common_seeds_anywhere_one_chooses(make_folder) -> None:
    config, choice = chosen(make_folder, {0.1: [0.6, None], 0.3: [0.8, None]})
    assert (choice.values, choice.seeds) == ({LR: 0.3}, 1)
    assert told(config).startswith("before: chosen by 1 of 2 seeds because trials failed")


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
