"""Augmentation in training: the same pictures for all arms of a seed, new ones at every step, none in evaluation."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bnexp.data.dataset import Dataset
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training import group_state
from bnexp.training import work as trial_axis
from tests.helpers import crossed, experiment, finished, made_up_data, only_group

AUGMENTS = ["flip_crop", "flip_crop_cutout"]
SIDE = 8
"""Crops move pictures of 8 pixels by one."""


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The inputs of every update, a row a seed."""
    seen: list[Tensor] = []

    def recording(*args: Any) -> Tensor:
        seen.append(made(*args))
        return seen[-1]

    made = group_state.training_inputs
    monkeypatch.setattr(group_state, "training_inputs", recording)
    return seen


def planned(family: str = "vgg", arms: Any = ("none", "before", "after"), **raw: Any) -> tuple[TrialGroup, ...]:
    config = experiment(
        model={"family": family, "depth": {"mlp": 2, "vgg": 5, "resnet": 8}[family], "width": 4, "dropout": 0.2}
        | raw.pop("model", {}),
        arms=arms if isinstance(arms, dict) else list(arms),
        train={"epochs": 2, "batch_size": 12, "augment": "flip_crop_cutout"} | raw.pop("train", {}),
        **raw,
    )
    return groups(trials(config))


def pictures(group: TrialGroup, fed: list[Tensor]) -> list[Tensor]:
    fed.clear()
    finished(group, made_up_data(group, train_images=36, test=4, side=SIDE))
    return list(fed)


def test_all_arms_and_families_of_a_seed_train_on_the_same_pictures(fed: list[Tensor]) -> None:
    found = [pictures(group, fed) for group in planned(grid={"train.lr": [0.1, 0.01]}, seeds=[3, 8])]
    for family in ("mlp", "resnet"):
        found += [pictures(group, fed) for group in planned(family, ["after"], seeds=[3, 8])]
    assert len(found) == 3 + 2
    assert [len(steps) for steps in found] == [6] * len(found)
    first = torch.stack(found[0])
    assert all(torch.equal(torch.stack(steps), first) for steps in found)
    assert first.shape == (6, 2, 12, SIDE**2)


@pytest.mark.parametrize("at_once", [1, 2, pytest.param(None, marks=pytest.mark.slow)])
def test_a_seeds_pictures_do_not_depend_on_its_company(
    at_once: int | None, fed: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_axis, "trials_at_once", lambda *_: at_once)
    (group,) = planned(arms=["before"], grid={"train.lr": [0.1, 0.01]}, seeds=[3, 8])
    both = torch.stack(pictures(group, fed))
    for number, row in ((0, 0), (1, 1)):  # seeds 3 and 8
        alone = torch.stack(pictures(group.only([number]), fed))
        assert torch.equal(alone[:, 0], both[:, row])
    uneven = torch.stack(pictures(group.only(group.numbers[1:]), fed))
    assert torch.equal(uneven, both[:, [0, 1, 1]])


@pytest.mark.parametrize("augment", AUGMENTS)
def test_every_step_and_seed_has_pictures_of_its_own_and_repeats_them_when_asked_again(
    augment: str, fed: list[Tensor]
) -> None:
    train = {"augment": augment, "batch_size": 36, "lr": 0}
    (group,) = planned(arms=["none"], seeds=2, train=train)
    data = made_up_data(group, train_images=36, test=4, side=SIDE)
    epochs = pictures(group, fed)
    assert all(torch.equal(one, other) for one, other in zip(pictures(group, fed), epochs, strict=True))
    # One batch is all images: put in the order of the file, epochs and seeds differ by what augmentation did.
    (plainly,) = planned(arms=["none"], seeds=2, train=train | {"augment": "none"})
    unchanged = pictures(plainly, fed)
    places = [[in_file(row, data) for row in rows] for rows in unchanged]
    rows = [rows[seed][places[epoch][seed]] for epoch, rows in enumerate(epochs) for seed in (0, 1)]
    assert len({row.numpy().tobytes() for row in rows}) == 4


def in_file(rows_BP: Tensor, data: Dataset) -> Tensor:
    """For every training image the row that it is in."""
    images_NP = data.inputs(data.train.images_NP)
    return (images_NP[:, None] == rows_BP[None]).all(2).nonzero()[:, 1]


@pytest.mark.parametrize(("augment", "kind"), crossed(AUGMENTS, ["none", "batch", "noisy_batch", "whiten"], fast=2))
def test_pictures_are_measured_as_they_are_and_so_are_population_statistics(augment: str, kind: str) -> None:
    # At a learning rate of 0 only statistics could tell what was trained on.
    norm = {"kind": kind, "statistics": "population", "group_size": 2}
    plain, augmented = (
        only_group(
            experiment(
                model={"family": "vgg", "depth": 5, "width": 4, "activation": "relu", "dropout": 0.2, "norm": norm},
                arms={"only": {}},
                train={"epochs": 1, "batch_size": 12, "lr": 0, "augment": each},
            )
        )
        for each in ("none", augment)
    )
    data = made_up_data(plain, train_images=36, side=SIDE)
    expected, found = ([each.record.measures for each in finished(group, data)] for group in (plain, augmented))
    assert found == expected
    assert found[0]["train_loss"] == found[1]["train_loss"]


def test_the_images_of_the_set_stay_as_they_are() -> None:
    (group,) = planned(arms=["before"])
    data = made_up_data(group, train_images=36, side=SIDE)
    before = data.train.images_NP.clone()
    finished(group, data)
    assert torch.equal(data.train.images_NP, before)
