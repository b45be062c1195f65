"""Loss and accuracy: whole or in pieces, with or without NaN, and always the plain cross-entropy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bnexp.data.dataset import Dataset
from bnexp.training import group_state as module
from bnexp.training.group_state import GroupTrainState, losses, measure
from tests.helpers import EXACT_FLOAT64, assert_close, experiment, made_up_data, noise, only_group

WIDTH = 8


@pytest.fixture
def data() -> Dataset:
    group = only_group(experiment(train={"precision": "fp64", "batch_size": 16}))
    return made_up_data(group, train_images=53)


def linear(trials: int) -> Callable[[torch.Tensor], torch.Tensor]:
    weight_KPC = noise(trials, 16, 3)
    return lambda x_SBC: x_SBC @ weight_KPC


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_losses_are_those_of_every_trial_and_image(smoothing: float) -> None:
    logits_KBC, labels_SB = noise(4, 5, 3), torch.tensor([[0, 1, 2, 1, 0], [2, 2, 0, 1, 1]])
    found_KB = losses(logits_KBC, labels_SB, smoothing)
    for k in range(4):
        labels_B = labels_SB[k // 2]  # two neighbouring trials a seed
        expected = F.cross_entropy(logits_KBC[k], labels_B, reduction="none", label_smoothing=smoothing)
        assert_close(found_KB[k], expected, EXACT_FLOAT64)


def test_loss_and_accuracy_are_means_over_the_split(data: Dataset) -> None:
    forward = linear(2)
    found_2K = measure(forward, 2, WIDTH, data, data.train)
    logits_KBC = forward(data.inputs(data.train.images_NP)[None])
    for k in range(2):
        assert_close(found_2K[0, k], F.cross_entropy(logits_KBC[k], data.train.labels_N), EXACT_FLOAT64)
        assert found_2K[1, k] == (logits_KBC[k].argmax(-1) == data.train.labels_N).double().mean()


@pytest.mark.parametrize("images", [1, 7, 52, 53, 54])
def test_pieces_give_what_the_whole_gives(data: Dataset, images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(linear(2), 2, WIDTH, data, data.train)
    seen: list[int] = []

    def counting(x_SBC: torch.Tensor) -> torch.Tensor:
        seen.append(x_SBC.shape[1])
        return linear(2)(x_SBC)

    monkeypatch.setitem(module.CHUNK_NUMBERS, "cpu", images * 2 * WIDTH)
    assert_close(measure(counting, 2, WIDTH, data, data.train), whole, EXACT_FLOAT64)
    assert sum(seen) == 53
    assert max(seen) == min(images, 53)


@pytest.mark.parametrize(
    "row", [[math.nan] * 3, [1.0, math.nan, math.nan], [math.inf, 2.0, math.nan], [1.0, math.inf, 3.0]]
)
def test_accuracy_takes_the_first_nan_like_numpy(data: Dataset, row: list[float]) -> None:
    found_2K = measure(lambda x: torch.tensor(row).double().expand(1, x.shape[1], 3), 1, WIDTH, data, data.train)
    share = float((data.train.labels_N == int(np.argmax(row))).double().mean())
    assert 0 < share < 1
    assert found_2K[1, 0] == share


@pytest.mark.parametrize("images", [7, 53])
def test_the_classes_that_accuracy_counts_can_be_had(
    data: Dataset, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.CHUNK_NUMBERS, "cpu", images * 2 * WIDTH)
    predicted_KN = torch.full((2, 53), 9, dtype=torch.uint8)
    _, accuracy_K = measure(linear(2), 2, WIDTH, data, data.train, predicted_KN)
    assert torch.equal(predicted_KN, linear(2)(data.inputs(data.train.images_NP)[None]).argmax(-1).to(torch.uint8))
    assert torch.equal(accuracy_K, (predicted_KN == data.train.labels_N).double().mean(1))


def test_what_is_recorded_is_the_loss_without_label_smoothing() -> None:
    settings = {"model": {"depth": 1, "width": 8}, "train": {"batch_size": 16, "precision": "fp64"}}
    plain = only_group(experiment(**settings))
    smoothed = only_group(experiment(**settings | {"train": settings["train"] | {"label_smoothing": 0.5}}))  # type: ignore[operator]
    one, other = (GroupTrainState(group, made_up_data(group)).evaluate(0) for group in (plain, smoothed))
    assert torch.equal(one, other)


def test_no_gradient_is_kept(data: Dataset) -> None:
    weight = noise(1, 16, 3).requires_grad_()
    assert not measure(lambda x: x @ weight, 1, WIDTH, data, data.train).requires_grad
