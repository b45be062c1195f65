"""Successive halving: after which epochs draws are compared, and how many go on."""

from typing import Any

import pytest

from bnexp.config.experiment import ExperimentConfig, searches
from bnexp.config.load import resolve

SAMPLE: dict[str, Any] = {"train.lr": {"loguniform": [0.001, 10]}}


def experiment(tried: int, epochs: int, factor: int, **raw: Any) -> ExperimentConfig:
    tune = {"sample": SAMPLE, "trials": tried, "halve": factor}
    return resolve({"name": "exp", "tune": tune, "train": {"epochs": epochs}} | raw, "exp.yaml")


@pytest.mark.parametrize(
    ("tried", "epochs", "factor", "at", "keep", "cost"),
    [
        (32, 27, 3, (3, 9), (10, 3), 32 * 3 + 10 * 6 + 3 * 18),
        (18, 9, 3, (1, 3), (6, 2), 18 * 1 + 6 * 2 + 2 * 6),
        (17, 9, 3, (3,), (5,), 17 * 3 + 5 * 6),  # a third of 5 is one
        (100, 10, 3, (1, 3), (33, 11), 100 * 1 + 33 * 2 + 11 * 7),  # a ninth of 3 epochs is none
        (16, 8, 2, (1, 2, 4), (8, 4, 2), 16 * 1 + 8 * 1 + 4 * 2 + 2 * 4),
    ],
)
def test_two_draws_at_least_train_to_the_end_and_one_epoch_at_least_compares(
    tried: int, epochs: int, factor: int, at: tuple[int, ...], keep: tuple[int, ...], cost: int
) -> None:
    (stage,) = searches(experiment(tried, epochs, factor))
    plan = stage.halving
    assert plan
    assert (plan.at, plan.keep, plan.among) == (at, keep, ("train.lr",))
    assert plan.epochs(tried, epochs) == cost
    assert resolve(stage.model_dump(mode="json"), "again") == stage


def test_what_is_measured_trains_to_the_end() -> None:
    assert experiment(32, 27, 3).halving is None
    assert all(stage.halving for stage in searches(experiment(32, 27, 3, seeds=3)))
