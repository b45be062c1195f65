"""How many trials of a group compute at once: as many as are asked for, without parting a seed where it fits."""

from collections.abc import Sequence

import pytest
import torch

from bnexp.plan import TrialGroup
from bnexp.training import work as trial_axis
from bnexp.training.group_state import GroupTrainState
from bnexp.training.work import shard_sizes, trials_at_once
from tests.helpers import experiment, made_up_data, only_group

CPU = torch.device("cpu")


def group(rates: int, seeds: int, family: str = "vgg") -> TrialGroup:
    depth = {"mlp": 2, "vgg": 5, "resnet": 8, "rnn": 2}[family]
    return only_group(
        experiment(
            model={"family": family, "depth": depth, "width": 8},
            train={"batch_size": 16},
            grid={"train.lr": [0.1 / (1 + i) for i in range(rates)]},
            seeds=seeds,
        )
    )


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("family", ["mlp", "vgg", "resnet", "rnn"])
def test_the_sizes_add_up_to_the_group_and_keep_to_the_most(family: str, device: str) -> None:
    some = group(3, 2, family)
    sizes, most = shard_sizes(some, torch.device(device)), trials_at_once(some.settings.model, torch.device(device))
    assert sum(sizes) == 6
    assert max(sizes) <= (most or 6)
    assert family in ("vgg", "resnet") or sizes == [6]


@pytest.mark.parametrize(
    ("at_once", "sizes"),
    [(1, [1] * 6), (2, [1, 2, 1, 2]), (3, [3, 3]), (4, [3, 3]), (6, [6]), (100, [6]), (None, [6])],
)
def test_whole_seeds_compute_at_once_or_some_trials_of_one(
    at_once: int | None, sizes: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_axis, "trials_at_once", lambda model, device: at_once)
    assert shard_sizes(group(3, 2), CPU) == sizes


def test_the_products_of_a_pass_are_those_of_the_largest_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    some = group(3, 1)
    found = []
    for at_once in (1, 2, None):
        monkeypatch.setattr(trial_axis, "trials_at_once", lambda model, device, most=at_once: most)
        found.append(GroupTrainState(some, made_up_data(some)).macs)
    # 3×3 weights at 4 × 4, 2 × 2, 1 and 1 places, the linear layer's, and a batch of 16
    each = 9 * (8 * 16 + 8 * 16 * 4 + 16 * 32 + 32 * 32) + 3 * 32
    assert found == [16 * each, 2 * 16 * each, 3 * 16 * each]
