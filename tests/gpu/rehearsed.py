"""The CUDA path over fake CUDA tensors. test_rehearsal.py runs this file in a process with a made-up driver.

What holds here: nothing that a graph repeats reads the device, makes a tensor on the CPU, mixes devices or replaces a
tensor of the state. Whether the numbers are right, the same tests on the CPU say.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes

from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import Normalization
from bnexp.plan import TrialGroup
from bnexp.training.estimate import footprint
from bnexp.training.graphs import Act, GraphedUpdate
from bnexp.training.group_state import GroupTrainState
from tests.gpu.audit import Alive, Audit, replaced
from tests.gpu.fake_cuda import CUDA, blank_data, fake_cuda, update_inputs
from tests.helpers import made_up_data, rates_group
from tests.training.test_graphs import CASES, RESNET, VGG, group

RNN: dict[str, Any] = {"family": "rnn", "depth": 1, "width": 8, "activation": "tanh"}
MLP: dict[str, Any] = {"depth": 2, "width": 8, "activation": "tanh"}


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every family with every norm kind, and every optimiser with decay and clipping, by name."""
    yield from CASES.items()
    options = {"group": {"groups": 2}}
    for family, model in {"mlp": MLP, "vgg": VGG, "resnet": RESNET, "rnn": RNN}.items():
        kinds = ("none", "batch", "layer", "group", "noisy_batch")
        for kind in kinds[:3] if family == "rnn" else kinds:
            norm = {"kind": kind} | options.get(kind, {})
            yield f"{family} {kind}", {"model": model | {"norm": norm}, "precision": "bf16"}
    clip = {"value": 1.0, "norm_per_tensor": 1.0, "norm_global": 1.0}
    for optimizer in ("sgd", "adam", "adamw", "nadam", "rmsprop"):
        rule = {"optimizer": optimizer, "weight_decay": 0.01, "decay_all": True, "clip": clip}
        yield f"{optimizer} with everything", rule
    for place in ("each", "last", "before_norm", "after_norm"):
        yield f"dropout {place}", {"model": {"dropout": 0.3, "dropout_at": place}}


GROUPS = dict(cases())


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    with fake_cuda():
        yield


def on_cuda(some: TrialGroup) -> Dataset:
    """Made-up images of a group on the fake device."""
    family = some.settings.model.family
    with _disable_current_modes():
        side, channels = 4 if family == "mlp" else 8, 3 if family in ("vgg", "resnet") else 1
        real = made_up_data(some, val=32, side=side, channels=channels)

    def there(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=CUDA)

    scaling = Normalization(there(real.normalization.shift_P), there(real.normalization.spread_P), None)
    splits = [Split(there(each.images_NP), there(each.labels_N)) for each in (real.train, real.val, real.test)]
    return Dataset(real.shape, *splits, normalization=scaling)  # type: ignore[misc]


@pytest.mark.parametrize("name", GROUPS)
def test_an_update_and_an_evaluation_are_work_for_the_device_alone(name: str) -> None:
    some = group(**GROUPS[name])
    train_state, given = GroupTrainState(some, on_cuda(some)), update_inputs(some)
    with Audit() as audit:
        assert replaced(lambda: train_state.update(*given), train_state.state_dict) == []
        assert train_state.evaluate(1).device.type == "cuda"
    assert audit.faults == []
    assert {tensor.device.type for tensor in train_state.state_dict().values()} == {"cuda"}


def twice(act: Act, generators: object) -> Act:
    """Stand in for a capture: do once what is to be repeated, and return it."""
    act()
    return act


@pytest.mark.parametrize("name", ["plain", "vgg", "fixup", "rnn", "nadam", "bf16"])
def test_a_capture_and_a_resumed_state_are_on_the_device(name: str) -> None:
    some = group(**CASES[name])
    train_state = GroupTrainState(some, on_cuda(some))
    GraphedUpdate(train_state, twice)(*update_inputs(some))
    state = {name: tensor.cpu() for name, tensor in train_state.state_dict().items()}
    train_state.load_state_dict(state)
    assert {tensor.device.type for tensor in train_state.state_dict().values()} == {"cuda"}


SGD: dict[str, Any] = {"momentum": 0.9}
PLANNED: dict[str, tuple[tuple[int, ...], dict[str, Any], dict[str, Any]]] = {
    "narrow": ((1, 28, 28), {"depth": 5, "width": 100}, {"batch_size": 100}),
    "smaller last batch": ((1, 28, 28), {"depth": 5, "width": 100}, SGD | {"batch_size": 100, "drop_last": False}),
    "wide nadam": ((3, 32, 32), {"depth": 3, "width": 1000}, {"batch_size": 32, "optimizer": "nadam"}),
    "wide rmsprop": ((3, 32, 32), {"depth": 3, "width": 1000}, SGD | {"batch_size": 32, "optimizer": "rmsprop"}),
    "vgg": ((3, 32, 32), {"family": "vgg", "depth": 11, "width": 64}, SGD | {"batch_size": 128}),
}
"""Image, model and training."""


@pytest.mark.parametrize("name", PLANNED)
def test_a_group_with_its_graph_takes_what_is_planned(name: str) -> None:
    image, model, train = PLANNED[name]
    some = rates_group(4 if name == "vgg" else 64, model, **train)
    shape = DataShape(image, 10, 6_050, 0, 0)
    train_state = GroupTrainState(some, blank_data(shape))
    batch_SB, rate_K1, step = update_inputs(some)

    def most(act: Callable[[], object]) -> int:
        with Alive(train_state.state_dict().values()) as alive:
            act()
        return alive.most

    state = sum(tensor.nbytes for tensor in train_state.state_dict().values())
    capture = most(lambda: GraphedUpdate(train_state, twice))
    capture += most(lambda: train_state.evaluate(1))  # has a graph of its own
    smaller = 0 if some.settings.train.drop_last else most(lambda: train_state.update(batch_SB[:, 1:], rate_K1, step))
    planned = footprint(some, shape, CUDA).of(len(some.trials))
    assert 0.5 * planned < state + capture + smaller < planned


def plant(kind: str, train_state: GroupTrainState) -> None:
    """Do at every update what a GPU minds."""
    real = train_state.update

    def update(batch_SB: torch.Tensor, rate_K1: torch.Tensor, step: torch.Tensor) -> None:
        real(batch_SB, rate_K1, step)
        theta = next(train_state.network.parameters())
        if kind == "reads":
            theta[theta > 0]
        elif kind == "makes":
            torch.zeros(3)
        elif kind == "copies":
            theta.cpu()
        elif kind == "replaces":
            theta.data = theta.data + 1

    train_state.update = update  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("reads", "the host reads the device: "),
        ("makes", "a tensor is made on the CPU: "),
        ("copies", "a tensor is made on the CPU: _to_copy"),
        ("replaces", "network."),
    ],
)
def test_a_planted_fault_is_found(kind: str, message: str) -> None:
    some = group()
    train_state, given = GroupTrainState(some, on_cuda(some)), update_inputs(some)
    plant(kind, train_state)
    with Audit() as audit:
        found = []
        try:
            found = replaced(lambda: train_state.update(*given), train_state.state_dict)
        except RuntimeError as refused:  # fake tensors refuse some reads themselves
            found = [f"the host reads the device: {refused}"] if kind == "reads" else []
    assert any(each.startswith(message) for each in [*audit.faults, *found])
