"""Counts of parameters hold, and fail where a layer has others, or γ is a batch's."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor, nn

from bnexp.claims.checks import counting
from bnexp.claims.checks.counting import four_parameters, per_feature
from bnexp.nn.norm import BatchNorm
from bnexp.nn.table import LayerRow
from tests.claims.checks.judging import failing


def test_both_hold() -> None:
    assert failing(four_parameters()) == []
    assert failing(per_feature()) == []


def changed(change: Callable[[LayerRow], LayerRow]) -> Callable[..., list[LayerRow]]:
    table = counting.layer_table
    return lambda *args: [change(row) if row.kind == "BatchNorm" else row for row in table(*args)]


SMALL = "a network of 5 and 7 units: "
IN_PASSES = f"{SMALL}forward passes of 2, 10, 64 images leave γ and β, and move the statistics"
IN_UPDATES = f"{SMALL}the update after each moves γ and β, one of each for all its images, and leaves the statistics"

WRONG: dict[str, tuple[Callable[[LayerRow], LayerRow], Sequence[int]]] = {
    "no running variance": (lambda row: replace(row, fixed=row.fixed // 2), [0, 2, 3, 4]),
    "no β": (lambda row: replace(row, trainable=row.trainable // 2), [0, 1, 3, 4]),
    "statistics learned": (lambda row: replace(row, trainable=row.parameters, fixed=0), [1, 2, 3]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_other_numbers_in_a_layer_are_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [finding.what for finding in four_parameters()]
    change, places = WRONG[kind]
    monkeypatch.setattr(counting, "layer_table", changed(change))
    assert failing(four_parameters()) == [every[place] for place in places]


def test_a_missing_layer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "NORM", {"placement": "after"})
    monkeypatch.setattr(counting, "HANDS_ON", counting.HANDS_ON | {"norm": {"placement": "after"}})
    assert len(failing(four_parameters())) == 3


def test_a_gamma_of_each_batch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    features = BatchNorm.features

    def of_the_batch(self: BatchNorm, x_KBC: Tensor) -> Tensor:
        self.gamma.data.copy_(x_KBC.std(1))
        return features(self, x_KBC)

    monkeypatch.setattr(BatchNorm, "features", of_the_batch)
    assert failing(per_feature()) == [IN_PASSES]


def test_statistics_that_stay_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchNorm, "features", lambda norm, x_KBC: norm.scale_and_shift(x_KBC))
    assert failing(per_feature()) == [IN_PASSES]


@pytest.mark.parametrize("affine", ["gamma", "beta", "none"])
def test_what_is_not_learned_is_found(affine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MLP", counting.MLP | {"norm": {"affine": affine}})
    assert failing(per_feature()) == [IN_UPDATES]


def test_statistics_that_an_update_moves_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    update = counting._update

    def wrong(network: nn.Module, logits_KBC: Tensor) -> None:
        update(network, logits_KBC)
        if hasattr(network, "hidden"):
            network.get_buffer("hidden.1.norm.running_var").mul_(1.01)

    monkeypatch.setattr(counting, "_update", wrong)
    assert failing(per_feature()) == [IN_UPDATES]


def test_a_gamma_of_each_place_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "layer_table", changed(lambda row: replace(row, trainable=2 * row.output)))
    assert failing(per_feature()) == ["γ and β of the VGG for images of 32 x 32 as for 8 x 8"]


def test_one_gamma_for_a_whole_layer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made = counting.untrained_network

    def shared(model: dict[str, Any]) -> nn.Module:
        network = made(model)
        for norm in (layer for layer in network.modules() if isinstance(layer, BatchNorm)):
            norm.gamma.data = norm.gamma.data[:, :1]
        return network

    monkeypatch.setattr(counting, "untrained_network", shared)
    monkeypatch.setattr(counting, "_any_batch", lambda name, network: iter(()))
    assert [what.rpartition(": ")[2] for what in failing(per_feature())] == 2 * ["γ of each BN layer"]
