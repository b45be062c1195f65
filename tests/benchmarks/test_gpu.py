"""The benchmarks of a GPU, as far as they can be looked at without one."""

import importlib
import sys
from types import SimpleNamespace

import pytest
import torch
from torch._C._autograd import DeviceType

from benchmarks import against_loops
from benchmarks.gpu.sweep import kernel_seconds
from benchmarks.kernels import counted


def test_kernels_count_once() -> None:
    launch = SimpleNamespace(device_type=DeviceType.CPU, self_device_time_total=2e6)
    kernel = SimpleNamespace(device_type=DeviceType.CUDA, self_device_time_total=2e6)
    assert kernel_seconds([launch, kernel]) == 2  # type: ignore[list-item]


def test_launches_are_those_of_a_gpu() -> None:
    tensors, columns = ([torch.ones(4, size)] * 2 for size in (3, 1))
    assert counted(lambda: torch._foreach_mul(tensors, tensors)).total() == 1
    assert counted(lambda: torch._foreach_mul(tensors, columns)).total() == 2
    assert counted(lambda: torch.cat([torch.ones(1)] * 129))["cat"] == 2
    assert counted(lambda: torch.empty(3).view(3, 1)).total() == 0


def test_benchmarks_can_be_had_without_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.delitem(sys.modules, "benchmarks.rivals.lightning_trainer", raising=False)
    importlib.reload(against_loops)
