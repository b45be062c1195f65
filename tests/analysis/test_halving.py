"""Which trials of a search are behind: compared within an arm at a grid point, and the same after an interruption."""

from typing import Any

import pandas as pd
import pytest

from bnexp.analysis.halving import behind
from bnexp.config.experiment import ExperimentConfig
from tests.helpers import experiment

LR = "train.lr"
RATES = [0.4, 0.3, 0.2, 0.1]
PLAN = {"at": [1, 2], "keep": [2, 1], "among": [LR]}


def search(arms: list[str], **raw: Any) -> ExperimentConfig:
    return experiment(**{"arms": arms, "zip": {LR: RATES}, "seeds": [1000, 1001], "halving": PLAN} | raw)


def tables(
    config: ExperimentConfig, curves: list[list[float]], outcomes: dict[int, str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of trials whose validation accuracies after each epoch that they trained are given."""
    places = enumerate(config.places())
    trials = pd.DataFrame([{"trial": n, "arm": arm, "seed": seed} for n, (arm, _, seed) in places])
    trials["outcome"] = trials["trial"].map(outcomes or {})
    records = [
        {"trial": trial, "epoch": epoch, "val_accuracy": accuracy}
        for trial, accuracies in enumerate(curves)
        for epoch, accuracy in enumerate([0.1, *accuracies])
    ]
    return trials, pd.DataFrame(records)


def test_the_best_means_over_the_seeds_of_each_arm_go_on() -> None:
    config = search(["none", "before"])
    none, before = [[0.9, 0.1], [0.6, 0.6], [0.4, 0.4], [0.5, 0.6]], [[0.1, 0.1], [0.2, 0.2], [0.2, 0.1], [0.3, 0.3]]
    flat = [[each] for pair in zip(none, before, strict=True) for arm in pair for each in arm]
    # Numbered rate by rate, arm by arm, seed by seed: the mean of the first rate is 0.5 in the arm none.
    assert sorted(behind(config, 0, *tables(config, flat))) == [0, 1, 2, 3, 8, 9, 10, 11]


def test_every_grid_point_keeps_its_own() -> None:
    config = search(["none"], grid={"model.depth": [1, 2]}, seeds=[7])
    accuracies = [0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6]  # depth varies fastest
    assert sorted(behind(config, 0, *tables(config, [[each] for each in accuracies]))) == [0, 2, 5, 7]


def test_of_equal_values_the_smaller_go_on() -> None:
    config = search(["none"], seeds=[7])
    assert sorted(behind(config, 0, *tables(config, [[0.5]] * 4))) == [0, 1]


@pytest.mark.parametrize(
    ("outcomes", "stopped"),
    [
        ({}, [2, 3]),
        ({0: "diverged"}, [2, 3]),  # with what it ended with
        ({0: "failed"}, [3]),  # it has ended, and takes nobody's place
    ],
)
def test_what_failed_comes_last_and_what_ended_is_not_stopped(outcomes: dict[int, str], stopped: list[int]) -> None:
    config = search(["none"], seeds=[7])
    assert sorted(behind(config, 0, *tables(config, [[0.9], [0.8], [0.7], [0.6]], outcomes))) == stopped


def test_the_answer_stays_the_same_after_some_or_all_were_stopped_and_others_went_on() -> None:
    config = search(["none"], seeds=[7])
    begun = tables(config, [[0.9], [0.8], [0.7], [0.6]], {2: "stopped"})
    assert sorted(behind(config, 0, *begun)) == [2, 3]
    later = tables(config, [[0.9, 0.1], [0.8, 0.9], [0.7], [0.6]], {2: "stopped", 3: "stopped"})
    assert sorted(behind(config, 0, *later)) == [2, 3]
    assert behind(config, 1, *later) == [0]  # those that were stopped before aren't compared any more
