"""Norms, families, probes and optimisers from outside the package: a record in their dictionary, and what computes."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnexp.config.base import Spec
from bnexp.config.model import FAMILIES, FamilySpec
from bnexp.config.norm import NORMS, NormSpec
from bnexp.config.probes import PROBES, ProbeSettings, ProbeSpec
from bnexp.config.train import OPTIMIZERS, OptimizerSpec
from bnexp.data.catalog import DataShape
from bnexp.errors import ConfigError
from bnexp.nn.factory import LayerFactory
from bnexp.nn.layers import share_features, trials_of
from bnexp.nn.norm import Norm
from bnexp.nn.plain_layers import Converter, layer_from_state, to_torch
from bnexp.plan import TrialGroup
from bnexp.probes.prober import ProbeContext, Value
from bnexp.report.figures.pictures import PROBE_FIGURES
from bnexp.runner.misfits import misfits
from bnexp.training.loop import train
from bnexp.training.optimizers import Optimizer, PerRow, Rows
from tests.helpers import (
    EXACT_FLOAT64,
    FLOAT32,
    assert_close,
    curve,
    experiment,
    finished,
    made_up_data,
    only_group,
    rates_group,
)
from tests.nn.plain import network

IMAGE = (1, 4, 4)


def small(**raw: Any) -> TrialGroup:
    """One trial of a small experiment."""
    return only_group(experiment(arms={"only": {}}, train={"batch_size": 16, "epochs": 2}, **raw))


def losses(group: TrialGroup) -> np.ndarray:
    """The training loss, record by record."""
    return curve([progress.record for progress in finished(group)], 0)[:, 0]


def assert_exported(model: dict[str, Any]) -> None:
    """Compare a network with its export on images."""
    built, x_BCHW = network(model, [0], IMAGE).eval(), torch.rand(5, *IMAGE, dtype=torch.float64)
    assert_close(to_torch(built)(x_BCHW).detach(), built(x_BCHW.flatten(1)[None])[0].detach(), EXACT_FLOAT64)


class HalvingNorm(Norm):
    """Half of the features, times γ, plus β."""

    def features(self, x_KBC: Tensor) -> Tensor:
        return self.scale_and_shift(x_KBC / 2)

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        zeros_C, threes_C = torch.zeros_like(self.gamma[0]), torch.full_like(self.gamma[0], 3)
        running = {"running_mean": zeros_C, "running_var": threes_C, "num_batches_tracked": torch.tensor(0)}
        state = {"weight": self.gamma[0], "bias": self.beta[0], **running}
        yield layer_from_state(nn.BatchNorm1d, state, len(zeros_C), eps=1.0)  # √(3 + 1) = 2


def test_a_norm_kind_is_a_record_and_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="expected one of none, batch, layer"):
        experiment(model={"norm": {"kind": "halving"}})
    monkeypatch.setitem(NORMS, "halving", NormSpec("tests.test_specs:HalvingNorm", options=("groups",)))
    model: dict[str, Any] = {"depth": 2, "width": 8, "norm": {"kind": "halving", "groups": 4}}
    for family in ("mlp", "rnn"):
        found = [losses(small(model=model | {"family": family} | more)) for more in ({}, {"norm": "none"})]
        assert np.isfinite(found).all()
        assert not np.array_equal(*found)
    assert_exported(model)
    with pytest.raises(ConfigError, match=r"norm\.groups 3 does not divide the width 8"):
        experiment(model={**model, "norm": {"kind": "halving", "groups": 3}})
    monkeypatch.setitem(NORMS, "halving", replace(NORMS["halving"], in_rnn=False))
    with pytest.raises(ConfigError, match="halving is not for family rnn; set none, batch, layer, group or rms"):
        experiment(model=model | {"family": "rnn"})


class Narrowing(nn.Module):
    """A perceptron whose layers halve from one to the next."""

    def __init__(self, factory: LayerFactory, image: tuple[int, int, int], classes: int):
        super().__init__()
        features, layers = image[0] * image[1] * image[2], []
        for width in factory.model.widths:
            layers.append(factory.hidden("linear", factory.linear(features, width), width))
            features = width
        self.hidden, self.output = nn.Sequential(*layers), factory.output(features, classes)

    def forward(self, x_SBP: Tensor) -> Tensor:
        logits_KBC: Tensor = self.output(self.hidden(share_features(x_SBP, trials_of(self))))
        return logits_KBC

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        yield nn.Flatten()
        yield from to.layers(self.hidden, self.output)


def halved(depth: int, width: int) -> tuple[int, ...]:
    if width % 2 ** (depth - 1):
        raise ValueError(f"depth {depth}: the width {width} can't be halved so often")
    return tuple(width // 2**i for i in range(depth))


def test_a_family_is_a_record_and_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "narrowing", FamilySpec(Narrowing, depth=3, width=16, widths=halved))
    group = small(model={"family": "narrowing"})
    assert group.settings.model.widths == (16, 8, 4)
    assert [*misfits(group.trials, DataShape(IMAGE, 3, 96, 0, 0))] == []
    found = losses(group)
    assert found[-1] < found[0]
    assert_exported({"family": "narrowing"})
    with pytest.raises(ConfigError, match="depth 6: the width 16 can't be halved so often"):
        experiment(model={"family": "narrowing", "depth": 6})


def largest_weight(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    for name, theta in context.networks.theta().items():
        yield name.removesuffix(".weight"), "largest_weight", theta.abs().flatten(1).amax(1)


def test_a_probe_is_a_record_and_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROBES, "largest_weight", ProbeSpec(largest_weight, options=("layers",), default=True))
    config = experiment(model={"depth": 1, "norm": "none"}, probes="default", train={"batch_size": 16, "epochs": 1})
    group = only_group(config)
    *_, last = finished(group, None, None, config.probes)
    largest = np.abs(last.snapshot().arrays["network.output.weight"]).max()
    assert last.probes[-1].values["output", "largest_weight"] == (largest,)
    with pytest.raises(ConfigError, match="batches: largest_weight doesn't use it; leave it out"):
        experiment(probes=[{"name": "largest_weight", "batches": 2}])


class SignSGD(Optimizer):
    """Moves every number by the rate, against the sign of its gradient."""

    def step(self, grads: Rows, rate_R1: PerRow) -> None:
        for theta_RP, grad_RP in zip(self._thetas, self._l2(grads), strict=True):
            theta_RP.sub_(rate_R1 * grad_RP.sign())


def test_an_optimizer_is_a_record_and_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIMIZERS, "sign_sgd", OptimizerSpec(SignSGD))
    group = rates_group(2, {"depth": 1, "norm": "none"}, optimizer="sign_sgd", epochs=None, steps=1)
    first, last = (progress.snapshot().arrays for progress in train(group, made_up_data(group)))
    moved_KOI = np.abs(last["network.output.weight"] - first["network.output.weight"])
    for moved_OI, trial in zip(moved_KOI, group.trials, strict=True):
        assert_close(moved_OI, np.full_like(moved_OI, trial.settings.train.lr), FLOAT32)


@pytest.mark.parametrize(
    "specs", [NORMS, FAMILIES, PROBES, OPTIMIZERS], ids=["norms", "families", "probes", "optimizers"]
)
def test_every_record_names_what_exists(specs: dict[str, Spec]) -> None:
    assert all(callable(spec.load()) for spec in specs.values())
    assert {spec.figure for spec in specs.values() if isinstance(spec, ProbeSpec)} <= {None, *PROBE_FIGURES}
