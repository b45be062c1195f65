"""The benchmarks of a GPU, as far as they can be looked at without one."""

import importlib
import sys
from types import SimpleNamespace

import pytest
from torch._C._autograd import DeviceType

from benchmarks import against_loops
from benchmarks.gpu import kernel_seconds


def test_kernels_count_once() -> None:
    launch = SimpleNamespace(device_type=DeviceType.CPU, self_device_time_total=2e6)
    kernel = SimpleNamespace(device_type=DeviceType.CUDA, self_device_time_total=2e6)
    assert kernel_seconds([launch, kernel]) == 2  # type: ignore[list-item]


def test_benchmarks_can_be_had_without_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.delitem(sys.modules, "benchmarks.rivals.lightning_trainer", raising=False)
    importlib.reload(against_loops)
