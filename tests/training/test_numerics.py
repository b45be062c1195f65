"""The library's switches: set while a group trains, and as they were afterwards, whatever happens."""

import platform
import resource
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch

from bnexp.config.train import TrainSettings
from bnexp.plan import TrialGroup
from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import train
from bnexp.training.numerics import autocast, dtype_of, numerics, threads
from tests.helpers import finished, made_up_data, small_group

CPU = torch.device("cpu")


def flushes() -> bool:
    """Whether denormal numbers become zero."""
    return bool((torch.tensor([1e-310], dtype=torch.float64) * 0.5 == 0).all())


@pytest.fixture(autouse=True)
def switches_as_found() -> Iterator[None]:
    """Keep the tests here from changing the arithmetic of others."""
    products, flushed = torch.get_float32_matmul_precision(), flushes()
    yield
    torch.set_float32_matmul_precision(products)
    torch.set_flush_denormal(flushed)


def switches() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), flushes()


def group(precision: str = "fp32") -> TrialGroup:
    return small_group(model={"depth": 1, "width": 4, "norm": "none"}, precision=precision)


@pytest.mark.parametrize(
    ("precision", "products"), [("fp32", "highest"), ("tf32", "high"), ("bf16", "highest"), ("fp64", "highest")]
)
def test_switches_while_a_group_trains(precision: str, products: str) -> None:
    with numerics(TrainSettings.model_validate({"precision": precision}), CPU):
        assert switches() == (products, True)


def test_switches_are_put_back_after_a_training_that_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    before = switches()

    def broken(self: GroupTrainState, *args: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(GroupTrainState, "update", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        finished(group("tf32"))
    assert switches() == before


def test_switches_are_put_back_when_the_caller_stops_listening() -> None:
    before, some = switches(), group("tf32")
    running = train(some, made_up_data(some))
    next(running)
    assert switches() == ("high", True)
    running.close()  # type: ignore[attr-defined]
    assert switches() == before


def test_parameters_are_kept_in_single_precision_but_for_checks() -> None:
    kept = {name: dtype_of(name) for name in ("fp32", "tf32", "bf16", "fp64")}
    assert kept == {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_short_under_bf16_only(precision: str, dtype: torch.dtype) -> None:
    x = torch.ones(2, 2)
    with autocast(TrainSettings.model_validate({"precision": precision}), CPU):
        assert (x @ x).dtype == dtype


@pytest.mark.parametrize(("numbers", "expected"), [(1, 1), (10**12, 2)], ids=["small", "large"])
def test_small_updates_take_one_thread_and_the_count_is_put_back(numbers: int, expected: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with suppress(ZeroDivisionError), threads(numbers, torch.device("cpu")):
            assert torch.get_num_threads() == expected
            raise ZeroDivisionError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep freed memory")
def test_memory_that_tensors_freed_serves_the_next_ones() -> None:
    def use() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.ones(6 * 2**20) for _ in range(4)]  # 24 MiB each
        del tensors
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with numerics(TrainSettings(), CPU):
        pages = 4 * 24 * 2**20 // resource.getpagesize()
        assert min(use() for _ in range(6)) < pages / 10
