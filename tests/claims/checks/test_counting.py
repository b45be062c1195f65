"""Counts of parameters and bytes hold, and fail where a layer has others; times are of steps that train, in turn."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.claims.checks import counting
from bnexp.claims.checks.counting import BATCHES, NETWORKS, batch_memory, four_parameters, kept, per_feature, step_times
from bnexp.claims.checks.networks import noise, untrained_network
from bnexp.claims.runs import Finding, Measured
from bnexp.deploy.timing import WARM_UP, in_turn
from bnexp.nn.norm import BatchNorm
from bnexp.nn.table import LayerRow
from bnexp.training.group_state import GroupTrainState
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


def test_a_gamma_of_each_batch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    features = BatchNorm.features

    def of_the_batch(self: BatchNorm, x_KBC: Tensor) -> Tensor:
        self.gamma.data.copy_(x_KBC.std(1))
        return features(self, x_KBC)

    monkeypatch.setattr(BatchNorm, "features", of_the_batch)
    assert failing(per_feature()) == [IN_PASSES]


@pytest.mark.parametrize("affine", ["gamma", "none"])
def test_what_is_not_learned_is_found(affine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MLP", counting.MLP | {"norm": {"affine": affine}})
    assert failing(per_feature()) == [IN_UPDATES]


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


# Memory of a batch

WIDTH, DEPTH = 64, 3
FLOAT = 4
"""Bytes of a number."""


def test_it_holds_and_tells_how_much_more_batch_norm_keeps() -> None:
    findings = list(batch_memory())
    assert failing(findings) == []
    assert [finding.found for finding in findings if finding.error is None] == [
        "1.75 times as much with BN, 2.69 times as much with group norm as without BN",
        "1.58 times as much with BN, 1.62 times as much with group norm as without BN",
    ]
    # Of each of the 192 units two numbers, which in evaluation would not be kept.
    assert findings[1].found.endswith("1,792 for each image and 1,536 for any batch")


@pytest.mark.parametrize(("norm", "size"), [("none", 2), ("batch", 2), ("batch", 128)])
def test_a_perceptron_keeps_its_input_and_what_relu_and_batch_norm_need(norm: str, size: int) -> None:
    model = {"depth": DEPTH, "width": WIDTH, "activation": "relu", "norm": norm}
    network = untrained_network(model, dtype=torch.float32).train()
    # The input, and of every layer what ReLU hands on: the next product needs it, too.
    numbers = 64 * size + DEPTH * WIDTH * size
    if norm == "batch":
        # What comes in, and mean and deviation of every unit.
        numbers += DEPTH * WIDTH * (size + 2)
    assert kept(network, noise(1, size, 64).float()) == FLOAT * numbers


WRONG_GROWTH: dict[str, Callable[[int], float]] = {
    "the square of the batch": lambda size: size**2,
    "nothing": lambda size: 0,
    "no number": lambda size: float("nan") if size == BATCHES[-1] else size,
}


@pytest.mark.parametrize("kind", WRONG_GROWTH)
def test_what_grows_otherwise_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "kept", lambda network, x_SBC: WRONG_GROWTH[kind](x_SBC.shape[1]))
    if kind == "nothing":
        monkeypatch.setattr(counting, "NORMS", {"without BN": "none"})
    found = failing(batch_memory())
    assert len(found) == len(NETWORKS) * len(counting.NORMS)
    assert all("bytes kept of batches" in what for what in found)


# Times of steps


def test_every_other_round_is_in_the_opposite_order() -> None:
    log: list[str] = []
    found = in_turn([lambda: log.append("a"), lambda: log.append("b")], rounds=3, times=2)
    assert "".join(log) == "a" * WARM_UP + "b" * WARM_UP + "aabb" + "bbaa" + "aabb"
    assert [len(seconds) for seconds in found] == [3, 3]


def test_every_round_has_the_seconds_of_both_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        counting, "in_turn", lambda acts, rounds, times: [[1.0, 2.0, 2.0], [2.0, 4.0, 4.0], [0.1, 0.5, 0.5]]
    )
    pairs, cost, where = step_times()
    assert pairs == Measured((1.0, 2.0, 2.0), (2.0, 4.0, 4.0))
    assert isinstance(cost, Finding)
    assert isinstance(where, Finding)
    assert "2.00 times as long" in cost.found
    assert "2000.000 ms longer" in where.found
    assert "3 BN layers by themselves take 1500.000 ms" in where.found


def test_the_treated_arm_has_the_norm_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    stepped: list[GroupTrainState] = []
    make = counting._step
    monkeypatch.setattr(counting, "_step", lambda train_state: stepped.append(train_state) or make(train_state))  # type: ignore[func-returns-value]
    before = [
        float(parameter.detach().sum())
        for parameter in GroupTrainState(counting._group("none"), counting._made_up()).network.parameters()
    ]
    list(step_times(rounds=1, steps=1))
    assert [sum("norm" in name for name, _ in each.network.named_modules()) for each in stepped] == [0, 3]
    # What is timed trains.
    after = [float(parameter.detach().sum()) for parameter in stepped[0].network.parameters()]
    assert not torch.tensor(before).allclose(torch.tensor(after))
