"""Inference times: of which batches, in turn, compiled where that works."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.deploy import timing
from bnexp.deploy.timing import Timing, timings


class Watched(nn.Module):
    """Notes the sizes of its batches, and takes its time."""

    def __init__(self, name: str, log: list[tuple[str, int]], seconds: float = 0.0):
        super().__init__()
        self.name, self.log, self.seconds = name, log, seconds

    def forward(self, x_BCHW: Tensor) -> Tensor:
        self.log.append((self.name, len(x_BCHW)))
        time.sleep(self.seconds)
        return x_BCHW


def fail(network: nn.Module, **options: Any) -> Callable[[Tensor], Tensor]:
    def forward(x_BCHW: Tensor) -> Tensor:
        raise RuntimeError("no compiler\nand much more")

    return forward


def uncompiled(network: nn.Module, **options: Any) -> nn.Module:
    return network


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MOST_ROUNDS", 7)


def test_batches_of_one_and_256_are_timed_as_they_are_and_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", uncompiled)
    log: list[tuple[str, int]] = []
    found = list(timings(Watched("slow", log, 0.004), Watched("fast", log), torch.zeros(3, 1, 2, 2), 1))
    assert [(each.batch, each.compiled, each.problem) for each in found] == [
        (1, False, ""),
        (1, True, ""),
        (256, False, ""),
        (256, True, ""),
    ]
    assert {size for _, size in log} == {1, 256}
    for each in found:
        assert each.before
        assert each.before >= 0.004
        assert each.ratio
        assert each.ratio > 2


def test_few_images_are_repeated_where_a_batch_takes_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", fail)
    seen: list[Tensor] = []
    network = nn.Identity()
    network.register_forward_hook(lambda _module, given, _output: seen.append(given[0]))
    list(timings(network, network, torch.arange(3.0).view(3, 1, 1, 1), 1))
    assert torch.equal(seen[-1].flatten(), torch.arange(256) % 3)


def test_networks_take_turns_once_both_are_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", fail)
    log: list[tuple[str, int]] = []
    list(timings(Watched("a", log), Watched("b", log), torch.zeros(1, 1, 2, 2), 1))
    names = [name for name, _ in log]
    assert names == 2 * (["a"] * timing.WARM_UP + ["b"] * timing.WARM_UP + ["a", "b", "b", "a"] * 3 + ["a", "b"])


def test_where_nothing_can_be_compiled_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", fail)
    log: list[tuple[str, int]] = []
    found = list(timings(Watched("a", log), Watched("b", log), torch.zeros(1, 1, 2, 2), 1))
    assert [each for each in found if each.compiled] == [
        Timing(batch, True, None, None, "RuntimeError: no compiler") for batch in (1, 256)
    ]
    assert [each.ratio for each in found if each.compiled] == [None, None]
    assert all(each.ratio for each in found if not each.compiled)


def test_slow_networks_are_repeated_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", fail)
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    log: list[tuple[str, int]] = []
    list(timings(Watched("a", log), Watched("b", log), torch.zeros(1, 1, 2, 2), 1))
    assert log.count(("a", 1)) == timing.WARM_UP + timing.LEAST_ROUNDS


@pytest.mark.slow
def test_networks_are_compiled() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    for each in timings(network, network, torch.zeros(2, 1, 2, 2), 12):
        assert each.ratio, each.problem
