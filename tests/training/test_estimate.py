"""What a group will take: memory counted, seconds measured."""

from typing import Any

import pytest
import torch

from bnexp.data.catalog import DataShape
from bnexp.errors import ConfigError
from bnexp.plan import TrialGroup
from bnexp.training.estimate import MATRICES, TIMED_TRIALS, estimate, memory
from bnexp.training.optimizers import OPTIMIZERS
from tests.helpers import experiment, only_group

SHAPE, CPU = DataShape(image=(1, 4, 4), classes=3, train=96, val=16, test=32), torch.device("cpu")


def group(trials: int = 1, model: dict[str, Any] | None = None, **train: Any) -> TrialGroup:
    return only_group(
        experiment(
            model={"depth": 2, "width": 8} | (model or {}),
            train={"batch_size": 16, "epochs": 2} | train,
            grid={"train.lr": [0.1 / (1 + i) for i in range(trials)]},
        )
    )


@pytest.mark.parametrize("trials", [2, 7, 100])
def test_memory_grows_in_proportion_to_the_trials(trials: int) -> None:
    assert memory(group(trials), SHAPE) == trials * memory(group(), SHAPE)


@pytest.mark.parametrize(
    ("larger", "train"),
    [({"width": 16}, {}), ({"depth": 4}, {}), ({}, {"batch_size": 32}), ({}, {"optimizer": "adam"})],
)
def test_memory_grows_with_what_takes_memory(larger: dict[str, Any], train: dict[str, Any]) -> None:
    assert memory(group(model=larger, **train), SHAPE) > memory(group(), SHAPE)


def test_double_precision_takes_twice_the_memory() -> None:
    assert memory(group(precision="fp64"), SHAPE) == 2 * memory(group(), SHAPE)


def test_every_optimizer_has_its_count_of_matrices() -> None:
    assert set(MATRICES) == set(OPTIMIZERS)


@pytest.mark.parametrize("train", [{}, {"optimizer": "nadam"}, {"drop_last": False}, {"sampling": "replacement"}])
def test_seconds_are_positive_and_memory_is_that_of_the_count(train: dict[str, Any]) -> None:
    found = estimate(group(2, **train), SHAPE, CPU)
    assert found.seconds > 0
    assert found.bytes == memory(group(2, **train), SHAPE)


def test_only_a_few_trials_are_timed_and_the_rest_taken_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bnexp.training.estimate._time", lambda act, device: 1.0)
    few, many = estimate(group(TIMED_TRIALS), SHAPE, CPU), estimate(group(4 * TIMED_TRIALS), SHAPE, CPU)
    assert many.seconds == pytest.approx(4 * few.seconds)


def test_twice_the_epochs_take_twice_the_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    # An act takes a second: 6 updates an epoch, and 1.5 images' worth of evaluation at each record.
    monkeypatch.setattr("bnexp.training.estimate._time", lambda act, device: 1.0)
    one, two = (estimate(group(epochs=epochs), SHAPE, CPU).seconds for epochs in (1, 2))
    evaluation = (96 + 16 + 32) / 256
    assert (one, two) == (pytest.approx(6 + 2 * evaluation), pytest.approx(12 + 3 * evaluation))


def test_batches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="200 is more than the 96 training images"):
        estimate(group(batch_size=200), SHAPE, CPU)
