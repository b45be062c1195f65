"""An update and an evaluation need no float64 where the device has none, as Apple's GPUs; the CPU stands in for one."""

from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from bnexp.training import divergence, group_state, optimizers
from bnexp.training.group_state import GroupTrainState
from bnexp.training.numerics import totals_dtype
from tests.helpers import made_up_data, small_group


class NoFloat64(TorchDispatchMode):
    """Refuses float64."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        tensors = [each for each in pytree.tree_leaves((args, made)) if isinstance(each, torch.Tensor)]
        if torch.float64 in [each.dtype for each in tensors]:
            raise TypeError(f"{func} takes or makes float64")
        return made


CASES: dict[str, dict[str, Any]] = {
    "nadam": {"optimizer": "nadam", "weight_decay": 0.01, "model": {"dropout": 0.3}},
    "adam": {"optimizer": "adam", "clip": {"norm_per_tensor": 0.2, "norm_global": 0.3}, "label_smoothing": 0.1},
    "bf16": {"precision": "bf16", "momentum": 0.9},
    "augmented vgg": {
        "model": {"family": "vgg", "depth": 5, "width": 4, "activation": "relu"},
        "augment": "flip_crop_cutout",
    },
}


def update_and_measure(name: str) -> None:
    some = small_group(**CASES[name])
    train_state = GroupTrainState(some, made_up_data(some, side=8, channels=3))
    batch_SB = torch.zeros(len(some.shared_seeds), some.settings.train.batch_size, dtype=torch.int64)
    rate_K1, step = torch.zeros(len(some.trials), 1), torch.ones((), dtype=torch.int64)
    with NoFloat64():
        train_state.update(batch_SB, rate_K1, step)
        train_state.evaluate(1)


@pytest.mark.parametrize("name", CASES)
def test_a_training_needs_no_float64_where_there_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (divergence, group_state, optimizers):
        monkeypatch.setattr(module, "totals_dtype", lambda device: torch.float32)
    update_and_measure(name)


@pytest.mark.parametrize("name", ["nadam", "bf16"])
def test_float64_is_found(name: str) -> None:
    with pytest.raises(TypeError, match="takes or makes float64"):
        update_and_measure(name)


def test_apples_gpus_alone_have_none() -> None:
    assert [totals_dtype(torch.device(kind)) for kind in ("cpu", "cuda", "mps")] == [torch.float64] * 2 + [
        torch.float32
    ]
