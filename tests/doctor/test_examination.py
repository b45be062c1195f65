"""A sound device passes, and whatever it computes wrongly is named."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bnexp.doctor import operations
from bnexp.doctor.examination import CHECKS, Finding, examine, faults, outcome, refuse_faulty
from bnexp.doctor.rounding import PRECISIONS
from bnexp.errors import InputError
from bnexp.training.group_state import GroupTrainState
from tests.gpu.pretended_cuda import Recording
from tests.gpu.stand_in import cpu_in_place

CPU = torch.device("cpu")
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    faults.cache_clear()
    yield
    faults.cache_clear()


def finding(name: str, precision: str = "fp32") -> Finding:
    """Return what comes of a check on the CPU."""
    return outcome(next(check for check in CHECKS if check.name == name), CPU, precision)


def test_a_sound_device_passes_every_check_in_every_precision() -> None:
    found = list(examine(CPU))
    assert [(each.precision, each.check) for each in found] == [(p, check.name) for p in PRECISIONS for check in CHECKS]
    assert [each.wrong for each in found if each.wrong] == []
    assert [each for each in found if each.share is None] == [
        Finding("cpu", precision, "graph and eager", None) for precision in PRECISIONS
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_sound_device_fails_by_chance(seed: int, monkeypatch: Patch) -> None:
    real = operations.numbers
    monkeypatch.setattr(operations, "numbers", lambda number, *shape, **more: real(number + 10 * seed, *shape, **more))
    for precision in ("fp32", "bf16"):
        assert [finding(check.name, precision).wrong for check in CHECKS[:6]] == [""] * 6


REAL: tuple[Any, ...] = (F.batch_norm, F.layer_norm, F.group_norm, F.conv2d, torch.baddbmm)
batch_norm, layer_norm, group_norm, conv2d, baddbmm = REAL


def biased(x: Tensor, mean: Tensor, var: Tensor, *rest: Any) -> Tensor:
    """Batch norm that remembers the biased variance."""
    mean_after, unbiased, kept = mean.clone(), var.clone(), (1 - rest[3]) * var
    y = batch_norm(x, mean_after, unbiased, *rest)
    share = len(mean) / x.numel()
    mean.copy_(mean_after)
    var.copy_(unbiased - share * (unbiased - kept))
    return y


def constant_statistics(x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, *rest: Any) -> Tensor:
    """Batch norm whose gradient takes mean and variance for constants."""
    y = batch_norm(x.detach(), mean, var, gamma, *rest)
    axes = [axis for axis in range(x.ndim) if axis != 1]
    inverse = (x.detach().var(axes, correction=0, keepdim=True) + rest[-1]).rsqrt()
    return y + gamma.view([-1] + [1] * (x.ndim - 2)) * inverse * (x - x.detach())


def in_tf32(x: Tensor) -> Tensor:
    """Cut numbers to the digits of tf32."""
    return (x.detach().float().view(torch.int32) & ~0x1FFF).view(torch.float32).to(x.dtype) + x - x.detach()


PLANTED: dict[str, tuple[str, object, str, Callable[..., Tensor], str]] = {
    "an ε outside of the root": ("batch norm", F, "batch_norm", lambda *a: batch_norm(*a[:-1], 1.1 * a[-1]), "y of"),
    "constants in backward": ("batch norm", F, "batch_norm", constant_statistics, "dx of"),
    "a biased variance": ("running statistics", F, "batch_norm", biased, "running_var of"),
    "momentum the other way round": (
        *("running statistics", F, "batch_norm"),
        lambda *a: batch_norm(*a[:6], 1 - a[6], a[7]),
        "running_",
    ),
    "a smaller ε": ("layer norm", F, "layer_norm", lambda *a, eps: layer_norm(*a, eps=0.9 * eps), "of features is off"),
    "other groups": ("group norm", F, "group_norm", lambda x, groups, *a: group_norm(x, 2, *a), "of images is off"),
    "a silent tf32": ("convolution", F, "conv2d", lambda x, w, *a, **k: conv2d(x, in_tf32(w), *a, **k), "is off by"),
    "a silent tf32 in products": (
        *("product", torch, "baddbmm"),
        lambda b, w, x: baddbmm(b, in_tf32(w), in_tf32(x)),
        "is off by",
    ),
    "no number": ("product", torch, "baddbmm", lambda b, w, x: baddbmm(b, w, x) * float("nan"), "is off by nan"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_kernel_is_named(name: str, monkeypatch: Patch) -> None:
    check, module, function, planted, said = PLANTED[name]
    monkeypatch.setattr(module, function, planted)
    wrong = finding(check).wrong
    assert wrong.startswith(f"cpu, fp32, {check}: ")
    assert said in wrong


def test_products_of_fewer_digits_are_right_where_they_were_asked_for(monkeypatch: Patch) -> None:
    monkeypatch.setattr(torch, "baddbmm", lambda b, w, x: baddbmm(b, in_tf32(w), in_tf32(x)))
    assert finding("product", "tf32").wrong == ""


def test_what_a_device_refuses_is_named_with_its_reason(monkeypatch: Patch) -> None:
    def refuse(*args: object, **more: object) -> Tensor:
        raise NotImplementedError("no such kernel\nsee the manual")

    monkeypatch.setattr(F, "conv2d", refuse)
    assert finding("convolution", "bf16").wrong == "cpu, bf16, convolution: can't be computed: no such kernel"


def test_updates_that_don_t_repeat_are_named(monkeypatch: Patch) -> None:
    number, update = count(), GroupTrainState.update

    def drifting(self: GroupTrainState, *args: Any) -> None:
        update(self, *args)
        next(self.network.parameters()).data.add_(1e-7 * next(number))

    monkeypatch.setattr(GroupTrainState, "update", drifting)
    found = finding("two equal steps")
    assert found.wrong.startswith("cpu, fp32, two equal steps: ")
    assert found.wrong.endswith("rounding explains 0.0e+00")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_gpu_computes_what_it_should(precision: str, gpu: torch.device) -> None:
    found = list(examine(gpu, [precision]))
    assert [each.wrong for each in found if each.wrong] == []
    assert None not in [each.share for each in found]


def test_a_graph_that_does_something_else_is_named(monkeypatch: Patch) -> None:
    repeat, made = Recording.repeat, count()
    monkeypatch.setattr(Recording, "repeat", lambda self: repeat(self) if next(made) != 1 else None)
    with cpu_in_place():
        assert finding("graph and eager").wrong.startswith("cpu, fp32, graph and eager: ")


def test_a_device_is_refused_with_everything_that_is_wrong(monkeypatch: Patch) -> None:
    refuse_faulty(CPU, ["fp32"])
    faults.cache_clear()
    monkeypatch.setattr(F, "conv2d", lambda *a, **k: 2 * conv2d(*a, **k))
    with pytest.raises(InputError) as refused:
        refuse_faulty(CPU, ["bf16", "fp32"])
    first, *named = str(refused.value).splitlines()
    assert first == "--device cpu: it doesn't compute what it should; use --device cpu"
    assert [line.partition(": ")[0] for line in named] == ["cpu, bf16, convolution", "cpu, fp32, convolution"]


def test_a_device_is_tried_once_in_a_process(monkeypatch: Patch) -> None:
    refuse_faulty(CPU, ["fp32"])
    monkeypatch.setattr(F, "conv2d", None)
    refuse_faulty(CPU, ["fp32"])
