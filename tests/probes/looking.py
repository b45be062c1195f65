"""Shared by the tests of probes: a group in training, values that probes find in it, each trial in plain torch.nn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from bnexp.config.probes import PROBES, ProbeSettings
from bnexp.data.dataset import Dataset
from bnexp.plan import TrialGroup
from bnexp.probes.prober import Prober
from bnexp.records import ProbeRecord
from bnexp.streams import stream_seed
from bnexp.training.group_state import GroupTrainState
from tests.helpers import made_up_data, noise, rates_group
from tests.nn.plain import MODULES, PlainDropout, PlainNoise, plain, take_over

Found = Mapping[tuple[str, str], np.ndarray]
"""Values of K trials by layer and measure."""

BATCH_NUMBERS_PER_STEP = 2**20
RATE = 0.1

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"depth": 3, "width": 6},
    "mlp, norm after, dropout": {
        "depth": 3,
        "width": 6,
        "norm": "after",
        "activation": "tanh",
        "dropout": 0.3,
        "bias": True,
    },
    "mlp, input norm, relu": {"depth": 2, "width": 6, "norm": {"input": True}, "activation": "relu"},
    "residual mlp, fixup": {"depth": 5, "width": 6, "residual": True, "norm": "none", "init": "fixup"},
    "mlp, groups": {"depth": 2, "width": 6, "norm": {"kind": "group", "groups": 2}, "activation": "tanh"},
    "mlp, whitening": {"depth": 2, "width": 4, "norm": {"kind": "whiten", "group_size": 2}},
    "vgg, dropout": {"family": "vgg", "depth": 5, "width": 2, "dropout": 0.3, "activation": "relu"},
    "resnet": {"family": "resnet", "depth": 8, "width": 2, "norm": {"addition": "after"}, "activation": "tanh"},
}


SHORT: dict[str, dict[str, Any]] = {
    "landscape_slice": {"points": 2},
    "batch_spread": {"batches": 2},
    "variance_shift": {"batches": 2},
    "gradient_noise": {"batches": 2},
    "loss_variation": {"points": 2},
    "gradient_predictiveness": {"points": 2},
    "effective_smoothness": {"points": 2},
}
"""Options that keep probes short."""


def short(name: str, **when: Any) -> dict[str, Any]:
    """A probe that takes little time."""
    return {"name": name} | SHORT.get(name, {}) | when


ALL = [short(name) for name in PROBES]


def in_training(model: dict[str, Any] | TrialGroup, data: Dataset | None = None, **train: Any) -> GroupTrainState:
    """Two trials, or a group, in float64, with every learned number moved from where it starts."""
    group = model if isinstance(model, TrialGroup) else rates_group(2, model, **{"precision": "fp64"} | train)
    train_state = GroupTrainState(group, data or made_up_data(group))
    train_state.streams.start_epoch(1)
    with torch.no_grad():
        for number, theta in enumerate(train_state.network.parameters()):
            theta += (0.3 * noise(*theta.shape, seed=number)).to(theta.dtype)  # type: ignore[misc]
    return train_state


def probe(written: str | Mapping[str, Any]) -> ProbeSettings:
    """An entry of `probes:`."""
    return ProbeSettings.model_validate(written)


def prober(train_state: GroupTrainState, *written: str | Mapping[str, Any]) -> Prober:
    """A prober of a group."""
    return Prober(
        train_state.group, train_state.network, train_state.shards, train_state.data, [probe(each) for each in written]
    )


def rates(train_state: GroupTrainState) -> torch.Tensor:
    """A learning rate for every trial."""
    dtype = next(train_state.network.parameters()).dtype
    return torch.tensor([RATE / (1 + k) for k in range(len(train_state.group.trials))], dtype=dtype)


def values(record: ProbeRecord) -> Found:
    """The values of a record."""
    return {key: np.array(row) for key, row in record.values.items()}


def find(train_state: GroupTrainState, *written: str | Mapping[str, Any], step: int = 0) -> Found:
    """Take probes before any update, or after some that they don't know of."""
    settings = [probe(each) for each in written]
    return values(prober(train_state, *written).measure(settings, 0, step, rates(train_state)))


def find_over_update(train_state: GroupTrainState, *written: str | Mapping[str, Any], step: int = 1) -> Found:
    """Make an update with the images 5, 6, … and take probes of it."""
    taking, size = prober(train_state, *written), train_state.group.settings.train.batch_size
    batch_SB = torch.stack([torch.arange(5 + s, 5 + s + size) for s in range(len(train_state.group.shared_seeds))])
    due = taking.due(step, True)
    taking.before_update(due)
    train_state.update(batch_SB, rates(train_state)[:, None], torch.tensor(step))
    return values(taking.measure(due, 1, step, rates(train_state), batch_SB))


class Plain:
    """One trial of a group as a plain network in training mode, with the draws of a probe's batches.

    Attributes:
        network: of torch.nn alone.
        weights, activations, norms: its layers of each kind, in the order of the data.
    """

    def __init__(self, train_state: GroupTrainState, k: int):
        settings, shape = train_state.group.trials[k].settings, train_state.data.shape
        self._data, self._train, self._image = train_state.data, settings.train, shape.image
        self._seed = train_state.group.trials[k].seed
        self.network = plain(settings.model.model_dump(mode="json"), shape.image, shape.classes, self._seed)
        take_over(self.network, train_state.network, k)
        self.network.to(next(train_state.network.parameters()).dtype).train()
        kind, modules = MODULES[settings.model.activation], list(self.network.modules())
        self.weights = [m for m in modules if isinstance(m, nn.Linear | nn.Conv2d)]
        self.activations = [m for m in modules if isinstance(m, kind)]
        self.norms = [m for m in modules if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm)]

    def batch(self, i: int) -> torch.Tensor:
        """Numbers of the i-th batch of training images in file order."""
        size = self._train.batch_size
        return torch.arange(i * size, (i + 1) * size)

    def drawn(self, i: int, step: int = 0) -> torch.Tensor:
        """Numbers of the i-th batch that is drawn at a moment."""
        generator = torch.Generator().manual_seed(stream_seed(self._seed, "probe", step * BATCH_NUMBERS_PER_STEP + i))
        return torch.randint(len(self._data.train), (self._train.batch_size,), generator=generator)

    def images(self, numbers: torch.Tensor) -> torch.Tensor:
        """Training images as inputs (B, C, H, W)."""
        return self._data.inputs(self._data.train.images_NP[numbers]).view(-1, *self._image)

    def loss(
        self, numbers: torch.Tensor, i: int = 0, step: int = 0, at: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """The mean loss over training images as the i-th batch of a moment, at some parameters in place of its own."""
        for module in self.network.modules():
            if isinstance(module, PlainDropout):
                module.uniforms.manual_seed(stream_seed(self._seed, "dropout", -1 - i))
            if isinstance(module, PlainNoise):
                module.draws.manual_seed(stream_seed(self._seed, "noise", -1 - step * BATCH_NUMBERS_PER_STEP - i))
        logits = functional_call(self.network, dict(at or {}), (self.images(numbers),))
        labels = self._data.train.labels_N[numbers]
        return F.cross_entropy(logits, labels, label_smoothing=self._train.label_smoothing)

    def gradient(self, numbers: torch.Tensor, i: int = 0, step: int = 0) -> list[torch.Tensor]:
        """The loss's gradient, parameter by parameter."""
        return list(torch.autograd.grad(self.loss(numbers, i, step), list(self.network.parameters())))

    def watch(self, layers: Sequence[nn.Module], numbers: torch.Tensor, i: int = 0, step: int = 0) -> "Watched":
        """The loss, and of every layer what came in and what it handed on."""
        kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

        def hook(module: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            kept[id(module)] = given[0], output

        handles = [layer.register_forward_hook(hook) for layer in layers]
        loss = self.loss(numbers, i, step)
        for handle in handles:
            handle.remove()
        return loss, [kept[id(layer)] for layer in layers]


Watched = tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]


def rows(x: torch.Tensor) -> np.ndarray:
    """The output of a layer, a row per image or place of an image."""
    flat: np.ndarray = x.detach().movedim(1, -1).flatten(0, -2).numpy()
    return flat


def layers_of(found: Found, measure: str) -> list[str]:
    """The layers that a measure was found at, in order."""
    return [layer for layer, name in found if name == measure]


def column(found: Found, measure: str, k: int) -> list[float]:
    """A measure of one trial, layer by layer."""
    return [float(row[k]) for (_, name), row in found.items() if name == measure]


def scaled(name: str, factor: float) -> GroupTrainState:
    """A group whose weights, all but the output's, are scaled, every filter by a factor of its own."""
    train_state = in_training(MODELS[name] | {"norm": {"eps": 1e-14}, "dropout": 0.0})
    with torch.no_grad():
        for layer, theta in train_state.network.named_parameters():
            if layer.endswith("weight") and not layer.startswith("output"):
                each = torch.linspace(factor, factor**0.5, theta.shape[1], dtype=torch.float64)
                theta.mul_(each.view(-1, *[1] * (theta.ndim - 2)))
    return train_state
