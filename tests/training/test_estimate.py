"""The seconds that a group will take, measured on a few steps."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch

from bnexp.data.catalog import DataShape
from bnexp.errors import ConfigError
from bnexp.training import estimate
from bnexp.training import work as trial_axis
from bnexp.training.estimate import TIMED_TRIALS, estimated_seconds, timed_part
from bnexp.training.group_state import GroupTrainState
from tests.helpers import made_up_data, rates_group

VGG: dict[str, Any] = {"family": "vgg", "depth": 5, "width": 4}
SHAPE, CPU = DataShape(image=(1, 4, 4), classes=3, train=96, val=16, test=32), torch.device("cpu")


@pytest.mark.parametrize("train", [{}, {"optimizer": "nadam"}, {"drop_last": False}, {"sampling": "replacement"}])
def test_seconds_are_positive(train: dict[str, Any]) -> None:
    assert estimated_seconds(rates_group(2, **train), SHAPE, CPU) > 0


def test_only_a_few_trials_are_timed_and_the_rest_taken_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bnexp.training.estimate._time", lambda act, device: 1.0)
    few, many = (estimated_seconds(rates_group(times * TIMED_TRIALS), SHAPE, CPU) for times in (1, 4))
    assert many == pytest.approx(4 * few)


def test_a_gpu_takes_the_whole_group_where_all_compute_at_once() -> None:
    whole = rates_group(4 * TIMED_TRIALS)
    assert timed_part(whole, SHAPE, torch.device("cuda")) == whole
    assert len(timed_part(rates_group(4, VGG), SHAPE, torch.device("cuda")).trials) == 1


def test_twice_the_epochs_take_twice_the_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    # An act takes a second: 6 updates an epoch, and 1.5 images' worth of evaluation at each record.
    monkeypatch.setattr("bnexp.training.estimate._time", lambda act, device: 1.0)
    one, two = (estimated_seconds(rates_group(epochs=epochs), SHAPE, CPU) for epochs in (1, 2))
    evaluation = (96 + 16 + 32) / 256
    assert (one, two) == (pytest.approx(6 + 2 * evaluation), pytest.approx(12 + 3 * evaluation))


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_where_few_compute_at_once_so_many_are_timed(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bnexp.training.estimate._time", lambda act, device: 1.0)
    for module in (estimate, trial_axis):
        monkeypatch.setattr(module, "trials_at_once", lambda *_: at_once)
    timed, six = (estimated_seconds(rates_group(k, VGG), SHAPE, CPU) for k in (at_once, 6))
    assert six == pytest.approx(6 / at_once * timed)


@pytest.mark.parametrize("at_once", [1, 2, None])
def test_what_is_timed_takes_as_many_threads_as_the_training_will(
    at_once: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (estimate, trial_axis):
        monkeypatch.setattr(module, "trials_at_once", lambda *_: at_once)
    seen: list[int] = []

    def recorded(products: int, device: torch.device) -> AbstractContextManager[None]:
        seen.append(products)
        return nullcontext()

    monkeypatch.setattr(estimate, "threads", recorded)
    some = rates_group(2 * TIMED_TRIALS, VGG)
    estimated_seconds(some, SHAPE, CPU)
    assert seen == [GroupTrainState(some, made_up_data(some)).macs]


def test_batches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="200 is more than the 96 training images"):
        estimated_seconds(rates_group(batch_size=200), SHAPE, CPU)
