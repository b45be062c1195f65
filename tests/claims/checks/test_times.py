"""Times are taken in turn, of steps that train, and the arms aren't mixed up."""

import pytest
import torch

from bnexp.claims.checks import times
from bnexp.claims.checks.times import step_times
from bnexp.claims.results import Finding, Measured
from bnexp.deploy.timing import WARM_UP, in_turn
from bnexp.training.group_state import GroupTrainState


def test_every_other_round_is_in_the_opposite_order() -> None:
    log: list[str] = []
    found = in_turn([lambda: log.append("a"), lambda: log.append("b")], rounds=3, times=2)
    assert "".join(log) == "a" * WARM_UP + "b" * WARM_UP + "aabb" + "bbaa" + "aabb"
    assert [len(seconds) for seconds in found] == [3, 3]


def test_every_round_has_the_seconds_of_both_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        times, "in_turn", lambda acts, rounds, times: [[1.0, 2.0, 2.0], [2.0, 4.0, 4.0], [0.1, 0.5, 0.5]]
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
    make = times._step
    monkeypatch.setattr(times, "_step", lambda train_state: stepped.append(train_state) or make(train_state))  # type: ignore[func-returns-value]
    before = [
        float(parameter.detach().sum())
        for parameter in GroupTrainState(times._group("none"), times._made_up()).network.parameters()
    ]
    list(step_times(rounds=1, steps=1))
    assert [sum("norm" in name for name, _ in each.network.named_modules()) for each in stepped] == [0, 3]
    # What is timed trains.
    after = [float(parameter.detach().sum()) for parameter in stepped[0].network.parameters()]
    assert not torch.tensor(before).allclose(torch.tensor(after))
