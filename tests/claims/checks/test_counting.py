"""The bytes that a batch keeps are those worked out by hand; times are of steps that train, in turn."""

import pytest
import torch

from bnexp.claims.checks import counting
from bnexp.claims.checks.counting import kept, step_times
from bnexp.claims.checks.networks import noise, untrained_network
from bnexp.claims.runs import Finding, Measured
from bnexp.deploy.timing import WARM_UP, in_turn
from bnexp.training.group_state import GroupTrainState

WIDTH, DEPTH = 64, 3
FLOAT = 4
"""Bytes of a number."""


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


# Times of steps


def test_every_other_round_is_in_the_opposite_order() -> None:
    log: list[str] = []
    found = in_turn([lambda: log.append("a"), lambda: log.append("b")], rounds=3, times=2)
    assert "".join(log) == "a" * WARM_UP + "b" * WARM_UP + "aabb" + "bbaa" + "aabb"
    assert [len(seconds) for seconds in found] == [3, 3]


def test_every_round_has_the_median_step_of_both_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three rounds of five steps, one of which was interrupted.
    times = [[1.0] * 4 + [9.0] + [2.0] * 10, [2.0] * 5 + [4.0] * 10, [0.1] * 5 + [0.5] * 10]
    monkeypatch.setattr(counting, "in_turn", lambda acts, rounds, times_in_a_row=1: times)
    found = list(step_times())
    measured, told = found[::2], found[1::2]
    assert [each.where["network"] for each in measured if isinstance(each, Measured)] == list(counting.SHAPES)
    assert isinstance(told[0], Finding)
    assert measured[0] == Measured((1.0, 2.0, 2.0), (2.0, 4.0, 4.0), {"network": "3x100 ReLU, batch 128"})
    assert "2.00 times as long" in told[0].found
    assert "2000.000 ms more with it, 1500.000 ms of them within the BN layers" in told[0].found


def test_the_treated_arm_has_the_norm_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    stepped: list[GroupTrainState] = []
    make = counting._step
    monkeypatch.setattr(counting, "_step", lambda train_state: stepped.append(train_state) or make(train_state))  # type: ignore[func-returns-value]
    name, (model, batch) = next(iter(counting.SHAPES.items()))
    monkeypatch.setattr(counting, "SHAPES", {name: (model, batch)})
    untrained = GroupTrainState(counting._group("none", model, batch), counting._made_up()).network
    before = [float(parameter.detach().sum()) for parameter in untrained.parameters()]
    list(step_times(rounds=1))
    assert [sum("norm" in name for name, _ in each.network.named_modules()) for each in stepped] == [0, 3]
    # What is timed trains.
    after = [float(parameter.detach().sum()) for parameter in stepped[0].network.parameters()]
    assert not torch.tensor(before).allclose(torch.tensor(after))
