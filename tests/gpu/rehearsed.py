"""Updates and evaluations over fake CUDA tensors. test_rehearsal.py runs this file in a process with a made-up driver.

What holds here: nothing that a graph repeats reads the device, makes a tensor on the CPU, mixes devices or replaces a
tensor of the state. Whether the numbers are right, the same tests on the CPU say.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import pytest
import torch

from benchmarks.kernels import STUDIES, evaluation_launches, fused_kernels, groups_of, update_kernels
from bnexp.config.norm import NORMS
from bnexp.config.train import OPTIMIZERS
from bnexp.data import normalize
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset
from bnexp.plan import TrialGroup
from bnexp.training.estimate import footprint
from bnexp.training.graphs import graphed, updater
from bnexp.training.group_state import GroupTrainState
from tests.every_setting import COMPANY, CONTINUOUS, SHAPING
from tests.gpu.audit import KINDS, Alive, Audit, replaced
from tests.gpu.fake_cuda import CUDA, blank_data, on_cuda, update_inputs
from tests.helpers import crossed, experiment, only_group, rates_group
from tests.nn.own import user_networks
from tests.nn.plain import takes
from tests.training.test_graphs import CASES, RESNET, VGG, group

pytestmark = pytest.mark.usefixtures("fake_device")

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"depth": 2, "width": 8, "activation": "tanh"},
    "vgg": VGG,
    "resnet": RESNET,
    "rnn": {"family": "rnn", "depth": 1, "width": 8, "activation": "tanh"},
    "module": {"family": "module", "source": f"{user_networks.__file__}:Small"},
}
TURNS: dict[str, list[Any]] = {
    "model.norm.placement": ["before", "after"],
    "model.norm.affine": ["both", "gamma", "none"],
    "model.norm.statistics": ["ema", "ema", "ema", "population", "population"],
    "model.weights": ["plain", "standardized", "plain", "scaled", "plain"],
    "model.dropout_at": ["each", "last", "before_norm", "after_norm"],
    "train.precision": ["bf16", "fp32", "tf32", "fp64"],
    "train.optimizer": list(OPTIMIZERS),
    "train.clip": [{"value": 1.0, "norm_per_tensor": 1.0, "norm_global": 1.0}, {"adaptive": 0.01}, {}],
    "train.augment": ["flip_crop_cutout", "none", "flip_crop"],
}
"""Values that settings take one after the other, from one network to the next."""
OF_THE_CODE = ("model.dropout", "model.weights")
"""Settings that family module has none of, by how they begin."""
FIXED = {"model.dropout": 0.3, "model.norm.groups": 2, "model.norm.group_size": 2, "train.weight_decay": 0.01}


def networks() -> list[Any]:
    """Return every family with every norm kind that it can have, and with other settings in turn."""
    rows = []
    for number, (family, kind) in enumerate(product(NETWORKS, NORMS)):
        settings = {key: values[number % len(values)] for key, values in TURNS.items()} | FIXED
        if family == "rnn":
            settings |= {"model.dropout_at": "each", "model.norm.placement": "before", "model.weights": "plain"}
        if family == "module":  # its code decides the rest
            settings = {key: value for key, value in settings.items() if not key.startswith(OF_THE_CODE)}
        slow = family != "mlp" and kind != "batch"
        if NORMS[kind].averages_in_training:
            settings["model.norm.statistics"] = "ema"
        if takes(family, kind):
            if kind != "none" and settings["model.norm.affine"] != "none" and number % 4 == 1:
                settings["train.only"] = "norm"
            settings["model.norm.kind"] = kind
            rows.append(pytest.param(family, settings, id=f"{family} {kind}", marks=[pytest.mark.slow] * slow))
    return rows


def group_of(settings: Mapping[str, Any], model: Mapping[str, Any] | None = None, seeds: int = 1) -> TrialGroup:
    """Return a group from settings by their dotted keys."""
    raw = {"model": model or NETWORKS["mlp"], "train": {"batch_size": 16, "epochs": 2}, "seeds": seeds}
    return only_group(experiment(arms={"only": dict(settings)}, **raw))


def faults(train_state: GroupTrainState) -> list[str]:
    """Return what a GPU minds in an update and an evaluation, and the tensors of the state that were replaced."""
    given = update_inputs(train_state.group)
    with Audit() as audit:
        found = replaced(lambda: train_state.update(*given), train_state.state_dict)
        train_state.evaluate(given[2])
    return audit.of(*KINDS) + found


def audited(some: TrialGroup, data: Dataset | None = None) -> None:
    """Check that an update and an evaluation of a group have no faults."""
    train_state = GroupTrainState(some, data or on_cuda(some))
    found = faults(train_state)
    if not graphed(some.settings.model, CUDA):  # the host waits for an eigendecomposition
        found = [each for each in found if "whiten.py" not in each or not each.startswith(KINDS["read"])]
    assert found == []
    assert {tensor.device.type for tensor in train_state.state_dict().values()} == {"cuda"}


@pytest.mark.parametrize(("family", "settings"), networks())
def test_updates_and_evaluations_are_work_for_the_device_alone(family: str, settings: dict[str, Any]) -> None:
    seeds = 2 if (family, settings["model.norm.kind"]) == ("vgg", "batch") else 1  # two of these take turns
    audited(group_of(settings, NETWORKS[family], seeds))


@pytest.mark.parametrize("kind", ["as_written", "renorm"])
def test_so_they_are_where_a_network_of_ones_own_computes_at_once(kind: str) -> None:
    model = {"family": "module", "source": f"{user_networks.__file__}:Perceptron", "arguments": {"pixels": 64}}
    audited(group_of({"model.norm.kind": kind, "train.momentum": 0.9, "train.clip": {"norm_global": 1.0}}, model, 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_so_they_are_in_whatever_a_graph_repeats(name: str) -> None:
    audited(group(**CASES[name]))


def test_so_they_are_with_images_that_stay_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalize, "KEPT_INPUTS", 0)
    some = group(augment="flip_crop_cutout")
    assert on_cuda(some).train.images_NP.dtype == torch.uint8
    audited(some)


KERNELS = {
    "init_scale": {"none": (55, 45), "before": (55, 45)},
    "deep_sigmoid": {"none": (90, 70), "before": (90, 70), "after": (110, 70)},
}
"""Kernels of an update by study and arm, without fused ones and with them: what benchmarks/README.md says."""


@pytest.mark.parametrize(
    ("name", "arm"),
    [
        pytest.param(name, arm, marks=[pytest.mark.slow] * ((name, arm) != ("init_scale", "before")))
        for name, arms in KERNELS.items()
        for arm in arms
    ],
)
def test_an_update_launches_few_kernels(name: str, arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "enabled", True)  # which has batch norm in one kernel
    (study,) = (each for each in STUDIES if each.config == name)
    (some,) = (each for each in groups_of(study) if each.arms[0] == arm)
    update = update_kernels(some, study.shape)
    with fused_kernels():
        assert (update.total(), update_kernels(some, study.shape).total()) == KERNELS[name][arm]
    assert evaluation_launches(some, study.shape).total() == 2


SETTINGS = {key: value for key, value in (SHAPING | CONTINUOUS).items() if key.startswith(("model", "train"))}
ELSEWHERE = {"model.family", "model.source", "model.arguments", "train.steps"}
"""Those that choose another network, and one that says nothing of an update."""


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(SETTINGS.keys() - ELSEWHERE))
def test_so_they_are_with_every_setting(key: str) -> None:
    audited(group_of(COMPANY.get(key, {}) | {key: SETTINGS[key]}))


SGD: dict[str, Any] = {"momentum": 0.9}
PLANNED: dict[str, tuple[tuple[int, ...], dict[str, Any], dict[str, Any]]] = {
    "narrow": ((1, 28, 28), {"depth": 5, "width": 100}, {"batch_size": 100}),
    "micro-batches": ((1, 28, 28), {"depth": 5, "width": 100}, {"batch_size": 400, "accumulate": 4}),
    "smaller last batch": ((1, 28, 28), {"depth": 5, "width": 100}, SGD | {"batch_size": 100, "drop_last": False}),
    "wide nadam": ((3, 32, 32), {"depth": 3, "width": 1000}, {"batch_size": 32, "optimizer": "nadam"}),
    "wide rmsprop": ((3, 32, 32), {"depth": 3, "width": 1000}, SGD | {"batch_size": 32, "optimizer": "rmsprop"}),
    "vgg": ((3, 32, 32), {"family": "vgg", "depth": 11, "width": 64}, SGD | {"batch_size": 128}),
    "slices": ((1, 28, 28), {"depth": 5, "width": 100, "norm": {"over": 10}}, {"batch_size": 100}),
}
"""Image, model and training."""


@pytest.mark.parametrize("name", crossed(list(PLANNED), fast=7))
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
    capture = most(lambda: updater(train_state))
    capture += most(lambda: train_state.evaluate(1))  # has a graph of its own
    smaller = 0 if some.settings.train.drop_last else most(lambda: train_state.update(batch_SB[:, 1:], rate_K1, step))
    planned = footprint(some, shape, CUDA).of(len(some.trials))
    assert 0.5 * planned < state + capture + smaller < planned


def plant(patch: pytest.MonkeyPatch, kind: str, train_state: GroupTrainState, place: str) -> None:
    """Do at every update or evaluation what a GPU minds."""
    real, theta = getattr(train_state, place), next(train_state.network.parameters())
    does: dict[str, Callable[[], object]] = {
        "reads": lambda: theta.sum().item(),
        "counts": lambda: theta.data.index_put_((theta > 0,), theta.new_ones(())),
        "takes": lambda: theta.cpu(),
        "copies": lambda: torch.tensor([1.0, 2.0], device=CUDA),
        "makes": lambda: torch.zeros(3),
        "mixes": lambda: theta.detach() * torch.ones(()),
        "replaces": lambda: setattr(theta, "data", theta.data + 1),
    }

    def act(*args: Any) -> Any:
        does[kind]()
        return real(*args)

    patch.setattr(train_state, place, act)


PLANTED = {
    "reads": KINDS["read"],
    "counts": KINDS["read"],
    "takes": KINDS["read"],
    "copies": KINDS["copy"],
    "makes": KINDS["host"],
    "mixes": KINDS["mixed"],
    "replaces": "network.",
}


def test_faults_in_an_update_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    some = group(model={"depth": 1})
    train_state = GroupTrainState(some, on_cuda(some))
    assert faults(train_state) == []
    for kind, said in PLANTED.items():
        with monkeypatch.context() as patch:
            plant(patch, kind, train_state, "update")
            assert any(each.startswith(said) for each in faults(train_state)), kind
            if kind != "replaces":
                with Audit(), pytest.raises(AssertionError, match=said):
                    updater(train_state)


def test_a_fault_in_an_evaluation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    some = group(model={"depth": 1})
    train_state = GroupTrainState(some, on_cuda(some))
    plant(monkeypatch, "reads", train_state, "evaluate")
    assert any(each.startswith(PLANTED["reads"]) for each in faults(train_state))
