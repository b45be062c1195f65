"""Inference times: of which batches, in turn, compiled where that works."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.deploy import timing
from bnexp.deploy.timing import Timing, timings


class Watched(nn.Module):
    """Notes its batches."""

    def __init__(self, name: str, log: list[tuple[str, Tensor]]):
        super().__init__()
        self.name, self.log = name, log

    def forward(self, x_BCHW: Tensor) -> Tensor:
        self.log.append((self.name, x_BCHW))
        return x_BCHW


def failing(network: nn.Module, **options: Any) -> Callable[[Tensor], Tensor]:
    def forward(x_BCHW: Tensor) -> Tensor:
        raise RuntimeError("no compiler\nand much more")

    return forward


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MOST_ROUNDS", 7)
    monkeypatch.setattr(torch, "compile", failing)


def watched(images: Tensor) -> tuple[list[Timing], list[tuple[str, Tensor]]]:
    log: list[tuple[str, Tensor]] = []
    return list(timings(Watched("a", log), Watched("b", log), images, 1)), log


def test_networks_take_turns_with_batches_of_one_and_256_once_both_are_warm() -> None:
    found, log = watched(torch.arange(3.0).view(3, 1, 1, 1))
    assert [(each.batch, each.compiled) for each in found] == [(1, False), (1, True), (256, False), (256, True)]
    names = [name for name, _ in log]
    assert names == 2 * (["a"] * timing.WARM_UP + ["b"] * timing.WARM_UP + ["a", "b", "b", "a"] * 3 + ["a", "b"])
    # Few images are repeated where a batch takes more.
    assert torch.equal(log[-1][1].flatten(), torch.arange(256) % 3)


def test_where_nothing_can_be_compiled_the_reason_is_one_line() -> None:
    found, _ = watched(torch.zeros(1, 1, 2, 2))
    assert found[1::2] == [Timing(batch, True, None, None, "RuntimeError: no compiler") for batch in (1, 256)]
    assert [each.ratio for each in found[1::2]] == [None, None]
    assert all(each.ratio for each in found[::2])


def test_slow_networks_are_repeated_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    _, log = watched(torch.zeros(1, 1, 2, 2))
    assert sum(name == "a" and len(x) == 1 for name, x in log) == timing.WARM_UP + timing.LEAST_ROUNDS


@pytest.mark.slow
def test_networks_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    for each in timings(network, network, torch.zeros(2, 1, 2, 2), 12):
        assert each.ratio, each.problem
