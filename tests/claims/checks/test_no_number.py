"""A NaN in what a check compares is found, wherever it stands: no check holds because a comparison passed over it."""

from collections.abc import Callable
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnexp import reference
from bnexp.claims.checks import CHECKS, biases, counting, evaluation, gradients, inputs
from bnexp.claims.checks import evaluation as folding
from bnexp.claims.checks import formulas as momentum
from bnexp.claims.results import Finding
from bnexp.deploy import folding as of_networks
from bnexp.nn.clipping import Clipping
from bnexp.nn.norm import BatchNorm
from bnexp.reference import CONVENTIONS
from tests.claims.checks.judging import failing

Spoil = Callable[[pytest.MonkeyPatch], None]
FEW: dict[str, dict[str, int]] = {
    "bias_cancelled": {"steps": 2},
    "linear_regime": {"steps": 1},
    "eval_is_deterministic": {"steps": 1},
    "two_inference_methods": {"steps": 201},
    "folds_away": {"rounds": 1},
    "momentum_convention": {"steps": 51},
    "gradient_tracking": {"steps": 2},
}
"""What keeps checks short."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is only told, and trainings that are compared as others are."""
    monkeypatch.setattr(biases, "_equal_runs", lambda steps: iter(()))
    monkeypatch.setattr(biases, "_drift_by_rounding", lambda steps: Finding("drift", "left out"))
    monkeypatch.setattr(inputs, "last_moments", lambda **raw: {})
    monkeypatch.setattr(momentum, "MOMENTA", (0.01, 0.1))
    monkeypatch.setattr(evaluation, "NETWORKS", {"mlp": {"depth": 2, "width": 8, "activation": "relu"}})


def changed(place: Any, name: str, change: Callable[..., Any]) -> Spoil:
    """Put a function in a place whose first argument is what stood there."""

    def spoil(patch: pytest.MonkeyPatch) -> None:
        before = getattr(place, name)
        patch.setattr(place, name, lambda *args, **kwargs: change(before, *args, **kwargs))

    return spoil


def untrained(spoil: Spoil) -> Spoil:
    """Spoil conventions, and leave out the trainings."""

    def both(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(momentum, "_evaluation_error", lambda steps: iter(()))
        spoil(patch)

    return both


def last_of(x: Any) -> Any:
    """The same with NaN in the last place."""
    x = x.detach().clone() if isinstance(x, Tensor) else np.array(x, dtype=float)
    x.reshape(-1)[-1] = nan
    return x


def normalised(when: Callable[[BatchNorm], bool]) -> Spoil:
    """A number that is none in what batch norm hands on."""

    def features(before: Callable[..., Any], norm: BatchNorm, x_KBC: Tensor) -> Any:
        return before(norm, x_KBC) * (nan if when(norm) else 1)

    return changed(BatchNorm, "features", features)


def gamma(before: Callable[..., Any], norm: BatchNorm, x_KBC: Tensor) -> Any:
    norm.gamma.data.copy_(last_of(norm.gamma))
    return before(norm, x_KBC)


def last_bias(before: Callable[..., Any], *args: Any, **kwargs: Any) -> nn.Module:
    network: nn.Module = before(*args, **kwargs)
    if kwargs["dtype"] == torch.float64 and "hidden.2.norm.gamma" in dict(network.named_parameters()):
        network.get_parameter("hidden.2.linear.bias").register_hook(lambda g: g * nan)
    return network


def folded(before: Callable[..., Any], layer: Any, affine: Any) -> None:
    before(layer, affine)
    layer.weight = nn.Parameter(last_of(layer.weight))


def clipped(before: Callable[..., Any], clip: Clipping, gradient: Any) -> Any:
    *others, last = before(clip, gradient)
    return [*others, last_of(last) if others else last]


def scalars(before: Callable[..., Any], *args: Any) -> dict[Any, float]:
    shown = before(*args)
    return shown | {key: nan for key in shown if key[0] == "gradient_norm.clipped/output"}


class Spoilt:
    """A run with a NaN in its probes."""

    def __init__(self, record: Any):
        self._record, probes = record, record.probes
        one = (probes["probe"] == "gradient_norm.clipped") & (probes["layer"] == "output") & (probes["step"] == 1)
        self.probes = probes.assign(value=probes["value"].mask(one & (probes["trial"] == 1)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record, name)

    @classmethod
    def of(cls, before: Callable[..., Any], *args: Any) -> "Spoilt":
        return cls(before(*args))


def wide(before: Callable[[float], float], width: float) -> float:
    return nan if width == inputs.WIDTHS[-1] else before(width)


def of_last_batch(before: Callable[..., Any], network: nn.Module, x_SBC: Tensor) -> float:
    return nan if x_SBC.shape[1] == counting.BATCHES[-1] else before(network, x_SBC)


def gradient(name: str) -> Callable[..., Any]:
    """The gradients by hand with NaN in one of them."""
    return lambda before, dy, cache: replace(found := before(dy, cache), **{name: last_of(getattr(found, name))})


def constants(before: Callable[..., Any], *args: Any) -> Any:
    y, cache = before(*args)
    return y, replace(cache, mean_C=last_of(cache.mean_C))


def scaled(before: Callable[..., Any], *args: Any) -> Any:
    fitted = before(*args)
    return replace(fitted, spread_P=last_of(fitted.spread_P))


def always(norm: BatchNorm) -> bool:
    return True


def evaluated(norm: BatchNorm) -> bool:
    return not norm.training


def columns(before: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    y = before(*args, **kwargs)
    return last_of(y) if y.shape[1] == folding.UNITS else y


def axes(before: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    layer = before(*args, **kwargs)
    return lambda x: last_of(layer(x))


SPOILT: dict[str, tuple[str, Spoil, list[str]]] = {
    "γ": ("per_feature", changed(BatchNorm, "features", gamma), ["leave γ and β"]),
    "a bias's gradient": (
        "bias_cancelled",
        changed(biases, "untrained_network", last_bias),
        ["before BN in training"],
    ),
    "dx": ("bias_cancelled", changed(reference, "backward", gradient("dx")), ["2 steps of b with the true gradient"]),
    "dx, by hand": ("gradient_correct", changed(reference, "backward", gradient("dx")), ["node by node"]),
    "dγ": ("gradient_correct", changed(reference, "backward_closed_form", gradient("dgamma_C")), ["in one line"]),
    "dβ": ("gradient_correct", changed(reference, "backward_closed_form", gradient("dbeta_C")), ["in one line"]),
    "μ": ("restores_identity", changed(reference, "forward", constants), ["of this batch", "in evaluation"]),
    "R²": ("linear_regime", changed(inputs, "_fit_of_normal", wide), ["R² by the standard deviation"]),
    "a scale": (
        "input_scaling",
        changed(inputs, "fit", scaled),
        ["constant", "from 0 to 1", "test pixel", "z-score of the bytes", "z-score and back", "min-max of the bytes"],
    ),
    "answers": ("eval_is_deterministic", normalised(evaluated), ["images twice", "each image alone"]),
    "classes": ("two_inference_methods", normalised(always), ["running averages against", "population variance"]),
    "a folded weight": ("folds_away", changed(of_networks, "_fold_back", folded), ["scales the rows", "VGG, BN"]),
    "columns": ("folds_away", changed(folding.F, "batch_norm", columns), ["scales the columns"]),
    "an average": (
        "momentum_convention",
        untrained(lambda patch: patch.setitem(CONVENTIONS, "keras", replace(CONVENTIONS["keras"], kept=nan))),
        ["running mean after", "running variance"],
    ),
    "an image": ("momentum_convention", untrained(changed(momentum.nn, "BatchNorm2d", axes)), ["axis −1"]),
    "weights": ("momentum_convention", normalised(lambda norm: norm.momentum == 0.1), ["momentum in training"]),
    "a clipped gradient": ("clipping_numbers", changed(Clipping, "__call__", clipped), ["norm_per_", "norm_global"]),
    "a norm": ("gradient_tracking", changed(gradients, "run", Spoilt.of), ["probes.csv of", "norms as clipped"]),
    "an event": ("gradient_tracking", changed(gradients, "_scalars", scalars), ["event files", "values of probes.csv"]),
    "bytes": ("batch_memory", changed(counting, "kept", of_last_batch), ["without BN: bytes", "with BN: bytes"]),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_check_that_meets_what_is_no_number_fails(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check, spoil, expected = SPOILT[kind]
    spoil(monkeypatch)
    found = failing(CHECKS[check](**FEW.get(check, {})))
    assert [part for part in expected if not any(part in what for what in found)] == []


def test_every_check_is_among_them_that_compares_other_than_whole_numbers() -> None:
    assert {check for check, _, _ in SPOILT.values()} == set(CHECKS) - {"four_parameters", "step_times"}
