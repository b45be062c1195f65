"""Every check holds, and finds what is wrong: a table of faults, each with the findings that have to fail."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp import reference
from bnexp.claims.checks import counting, evaluation, formulas, scaling
from bnexp.claims.checks.counting import BATCHES, batch_memory, four_parameters, per_feature
from bnexp.claims.checks.evaluation import BATCH, FOLDED, REFUSED, eval_is_deterministic, folds_away
from bnexp.claims.checks.evaluation import two_inference_methods as inference_methods
from bnexp.claims.checks.formulas import bias_cancelled, gradient_correct, momentum_convention, restores_identity
from bnexp.claims.checks.scaling import clipping_numbers, gradient_tracking, input_scaling, linear_regime
from bnexp.claims.runs import Finding, Measured
from bnexp.config.norm import NormSettings
from bnexp.data.normalize import Normalization
from bnexp.deploy import folding
from bnexp.nn.clipping import Clipping
from bnexp.nn.norm import BatchNorm
from bnexp.nn.shards import Matrices
from bnexp.nn.table import LayerRow
from bnexp.reference import CONVENTIONS
from tests.claims.checks.conftest import failing

Check = Callable[[], Iterable[Finding | Measured]]
Fault = Callable[[pytest.MonkeyPatch], None]
"""Makes something wrong."""

SMALL: dict[str, Check] = {
    "four_parameters": four_parameters,
    "per_feature": per_feature,
    "batch_memory": batch_memory,
    "gradient_correct": gradient_correct,
    "restores_identity": restores_identity,
    "momentum_convention": partial(momentum_convention, 52),
    "bias_cancelled": partial(bias_cancelled, 8),
    "eval_is_deterministic": partial(eval_is_deterministic, 5),
    "two_inference_methods": partial(inference_methods, 300),
    "folds_away": folds_away,
    "linear_regime": partial(linear_regime, 3),
    "input_scaling": input_scaling,
    "clipping_numbers": clipping_numbers,
    "gradient_tracking": partial(gradient_tracking, 3),
}


@cache
def findings(name: str) -> list[Finding | Measured]:
    return list(SMALL[name]())


def told(name: str) -> list[str]:
    """What is not tested of a check, in words."""
    return [each.found for each in findings(name) if isinstance(each, Finding) and each.error is None]


@pytest.mark.parametrize("name", SMALL)
def test_it_holds(name: str) -> None:
    assert failing(findings(name)) == []


def test_what_is_told_beside_it() -> None:
    assert told("batch_memory") == [
        "1.75 times as much with BN, 2.69 times as much with group norm as without BN",
        "1.58 times as much with BN, 1.62 times as much with group norm as without BN",
    ]
    # Of each of the 192 units two numbers, which in evaluation would not be kept.
    assert findings("batch_memory")[1].found.endswith("1,792 for each image and 1,536 for any batch")  # type: ignore[union-attr]
    assert sum("2.00 times as fast" in found for found in told("folds_away")) == 2
    # Another batch is not restored in training.
    assert len(told("restores_identity")) == 2
    assert not any("0.0%" in found for found in told("restores_identity"))
    # The larger momentum is better early.
    early = told("momentum_convention")[-2]
    at_001, at_01 = (float(part.partition("%")[0]) for part in early.split(", "))
    assert at_001 > 2 * at_01
    assert len(findings("linear_regime")) == 7


# Faults


def instead(**values: Any) -> Fault:
    """Put values in place of names of bnexp.claims.checks, such as counting__MLP."""

    def fault(patch: pytest.MonkeyPatch) -> None:
        for name, value in values.items():
            patch.setattr(f"bnexp.claims.checks.{name.replace('__', '.')}", value)

    return fault


def of_norms(change: Callable[[BatchNorm, Tensor, Tensor], Tensor]) -> Fault:
    """Let batch norm layers give what a function makes of the layer, its input and its output."""
    features = BatchNorm.features

    def wrong(self: BatchNorm, x_KBC: Tensor) -> Tensor:
        return change(self, x_KBC, features(self, x_KBC))

    return lambda patch: patch.setattr(BatchNorm, "features", wrong)


def rows(change: Callable[[LayerRow], LayerRow]) -> Fault:
    table = counting.layer_table
    return instead(
        counting__layer_table=lambda *args: [change(row) if row.kind == "BatchNorm" else row for row in table(*args)]
    )


def gamma_of_the_batch(norm: BatchNorm, x_KBC: Tensor, y_KBC: Tensor) -> Tensor:
    norm.gamma.data.copy_(x_KBC.std(1))
    return y_KBC


def one_gamma(patch: pytest.MonkeyPatch) -> None:
    made = counting.untrained_network

    def shared(model: dict[str, Any]) -> nn.Module:
        network = made(model)
        for norm in (layer for layer in network.modules() if isinstance(layer, BatchNorm)):
            norm.gamma.data = norm.gamma.data[:, :1]
        return network

    instead(counting__untrained_network=shared, counting___any_batch=lambda name, network: iter(()))(patch)


def growing(growth: Callable[[int], float], **others: Any) -> Fault:
    return instead(counting__kept=lambda network, x_SBC: growth(x_SBC.shape[1]), **others)


def moving(norm: BatchNorm, x_KBC: Tensor, y_KBC: Tensor) -> Tensor:
    if not norm.training:
        norm.running_var.mul_(1 + 1e-15).add_(1e-12)
    return y_KBC


def mixing(norm: BatchNorm, x_KBC: Tensor, y_KBC: Tensor) -> Tensor:
    return y_KBC if norm.training else y_KBC - 1e-4 * y_KBC.mean(1, keepdim=True)


def reset(layer: nn.Module) -> None:
    if isinstance(layer, BatchNorm):
        layer.reset_running_stats()


def without_eps(patch: pytest.MonkeyPatch) -> None:
    affine = folding._affine

    def wrong(norm: nn.Module) -> Any:
        eps = getattr(norm, "eps", None)
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.eps = 0.0
        found = affine(norm)
        if eps is not None:
            norm.eps = eps
        return found

    patch.setattr(folding, "_affine", wrong)


def columns(**change: Any) -> Fault:
    batch_norm = F.batch_norm

    def wrong(x: Tensor, mean_C: Tensor, variance_C: Tensor, gamma_C: Tensor, beta_C: Tensor, eps: float) -> Tensor:
        given = {"running_mean": mean_C, "running_var": variance_C, "weight": gamma_C, "bias": beta_C, "eps": eps}
        return batch_norm(x, **given | change)

    return lambda patch: patch.setattr(F, "batch_norm", wrong)


def backward(name: str, change: Callable[[reference.Gradients, np.ndarray], dict[str, Any]]) -> Fault:
    right = reference.backward_closed_form

    def wrong(dy: np.ndarray, cache: reference.Cache) -> reference.Gradients:
        found = right(dy, cache)
        return replace(found, **change(found, dy))

    return lambda patch: patch.setattr(reference, name, wrong)


def ignoring(dy: np.ndarray, cache: reference.Cache) -> reference.Gradients:
    return reference.Gradients(cache.gamma_C * cache.inverse_C * dy, cache.gamma_C, cache.gamma_C)


def leaking(patch: pytest.MonkeyPatch) -> None:
    forward = reference.forward

    def wrong(x: np.ndarray, gamma_C: np.ndarray, beta_C: np.ndarray) -> tuple[np.ndarray, reference.Cache]:
        y, cache = forward(x, gamma_C, beta_C)
        return y + 1e-6 * cache.mean_C, cache

    patch.setattr(reference, "forward", wrong)


def convention(**change: Any) -> Fault:
    """Another convention than Keras'; test errors, which take trainings, are left out."""

    def fault(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(formulas, "_evaluation_error", lambda steps: iter(()))
        patch.setitem(CONVENTIONS, "keras", replace(CONVENTIONS["keras"], **change))

    return fault


def another_axis(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(formulas, "_evaluation_error", lambda steps: iter(()))
    patch.setattr(formulas.nn, "BatchNorm2d", lambda features, dtype: nn.InstanceNorm2d(features, dtype=dtype))


def always_biased(patch: pytest.MonkeyPatch) -> None:
    arms = formulas._with_and_without(8, "sgd", "fp64")
    patch.setattr(formulas, "_with_and_without", lambda *args: dict.fromkeys(arms, arms["bias"]))


def layer_norm(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(formulas, "_drift_by_rounding", lambda steps: Finding("drift", "left out"))
    patch.setattr(formulas, "MODEL", formulas.MODEL | {"norm": "layer"})


def clip(rule: Callable[[Tensor], Tensor]) -> Fault:
    def wrong(clip: Clipping, gradient: Matrices) -> Matrices:
        return [rule(grad_KP) for grad_KP in gradient]

    return lambda patch: patch.setattr(Clipping, "__call__", wrong)


class Unclipped(Clipping):
    def __call__(self, gradient: Matrices) -> Matrices:
        return gradient


def unclipped(place: str) -> Fault:
    def fault(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(scaling, "_read_back", lambda record, folder: iter([Finding("events", "not read")]))
        patch.setattr(f"{place}.Clipping", Unclipped)

    return fault


class Clamped(Normalization):
    """Cuts off what leaves 0 to 1."""

    def __call__(self, images_P: Any) -> Any:
        return super().__call__(images_P).clamp(0, 1)


def fitted(change: Callable[[Normalization], Normalization]) -> Fault:
    fit = scaling.fit
    return instead(scaling__fit=lambda *args: change(fit(*args)))


def steeper(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scaling, "last_moments", lambda **raw: {})
    patch.setattr(torch.Tensor, "sigmoid", lambda z: torch.sigmoid(4 * z))


def bytes_kept(norms: int) -> list[str]:
    return [name for name in counting.NETWORKS for _ in range(norms)]


LAYERS, LEARNED, FIXED, NETWORK, BEFORE = (
    "BN on the input and after both",
    "of them learned, γ and β",
    "of them not learned",
    "the network: all, trainable",
    "BN before the activations",
)
UNITS = "a network of 5 and 7 units: "
GAMMAS = "γ of each BN layer"
PASSES, UPDATES = f"{UNITS}forward passes of 2, 10, 64 images leave", f"{UNITS}the update after each moves γ and β"
EVALUATED = "mlp in evaluation: "
ALL_FOLDED = ["W' = diag(γ/√(v + ε)) W scales the rows of", "b' = β + (b − m) γ/√(v + ε)", *FOLDED]
MEAN, VARIANCE, AXIS = "running mean after 50 batches: Keras' convention", "running variance likewise", "axis −1 of"
SHAPES = ["features (32, 10), ", "images (8, 3, 6, 6), "]
FAR = [
    f"hidden biases from N(0, 1) against none, {moment}: logits in {mode}"
    for moment in ("before training", "after 8 steps")
    for mode in ("training mode", "evaluation")
]
VALUE, NORM, DIRECTION = "[0.9, 100] clipped by value", "[0.9, 100] clipped by norm", "direction, clipped by norm"
TENSOR, GLOBAL = "norm_per_tensor: 1, each by", "norm_global: 1, as PyTorch's"
RECORDED, MADE = "probes.csv of 6 weights over 3 updates, norm_per_tensor: 0.5", "norms as clipped against ‖ΔW‖ / rate"
Z_SCORE, CONSTANT = "z-score: mean 0", "z-score of a channel"
MIN_MAX, PIXEL = "min-max: from 0 to 1", "min-max of a test pixel"
AFFINE = ["z-score of the bytes", "z-score and back", "min-max of the bytes", "min-max and back"]

FAULTS: dict[str, tuple[Check, Fault, list[str]]] = {
    "no running variance": (
        four_parameters,
        rows(lambda row: replace(row, fixed=row.fixed // 2)),
        [LAYERS, FIXED, NETWORK, BEFORE],
    ),
    "no β": (
        four_parameters,
        rows(lambda row: replace(row, trainable=row.trainable // 2)),
        [LAYERS, LEARNED, NETWORK, BEFORE],
    ),
    "statistics learned": (
        four_parameters,
        rows(lambda row: replace(row, trainable=row.parameters, fixed=0)),
        [LEARNED, FIXED, NETWORK],
    ),
    "a γ of each batch": (per_feature, of_norms(gamma_of_the_batch), [PASSES]),
    "β not learned": (per_feature, instead(counting__MLP=counting.MLP | {"norm": {"affine": "gamma"}}), [UPDATES]),
    "neither γ nor β learned": (
        per_feature,
        instead(counting__MLP=counting.MLP | {"norm": {"affine": "none"}}),
        [UPDATES],
    ),
    "one γ for a layer": (per_feature, one_gamma, [f"{UNITS}{GAMMAS}", "a VGG of four convolutions"]),
    "bytes with the square of the batch": (batch_memory, growing(lambda size: size**2), bytes_kept(3)),
    "bytes for any batch": (batch_memory, growing(lambda _: 0, counting__NORMS={"without BN": "none"}), bytes_kept(1)),
    "bytes that are no number": (
        batch_memory,
        growing(lambda size: float("nan") if size == BATCHES[-1] else size),
        bytes_kept(3),
    ),
    "test images mixed": (
        SMALL["eval_is_deterministic"],
        of_norms(mixing),
        [f"{EVALUATED}each image alone, or with all others"],
    ),
    "statistics that move": (
        SMALL["eval_is_deterministic"],
        of_norms(moving),
        [f"{EVALUATED}all 360 test images twice", f"{EVALUATED}running statistics"],
    ),
    "statistics of nothing": (
        partial(inference_methods, 201),
        instead(evaluation__refit_statistics=lambda network, batches: network.apply(reset).eval()),
        [
            "running averages against statistics of the training set, after 201 steps",
            f"population variance as m/(m − 1) times the batches' mean variance, m = {BATCH}",
        ],
    ),
    "a forgotten eps": (folds_away, without_eps, ALL_FOLDED),
    "another eps for columns": (lambda: [evaluation._columns()], columns(eps=1e-3), ["W' = W diag(γ/√(v + ε))"]),
    "no bias for columns": (lambda: [evaluation._columns()], columns(bias=None), ["W' = W diag(γ/√(v + ε))"]),
    "a norm layer that is left": (
        lambda: list(folds_away())[-len(FOLDED) - len(REFUSED) - 2 :],
        instead(evaluation__folded=evaluation.to_torch),
        [*FOLDED, *(f"{name} can't be folded" for name in REFUSED)],
    ),
    "dx a little too large": (
        gradient_correct,
        backward("backward_closed_form", lambda found, dy: {"dx": 1.0001 * found.dx}),
        [f"{shape}backward in one line" for shape in SHAPES],
    ),
    "the mean of dy not taken out": (
        gradient_correct,
        backward("backward", lambda found, dy: {"dx": found.dx + dy.mean()}),
        [f"{shape}backward node by node" for shape in SHAPES],
    ),
    "a gradient that is no number": (
        gradient_correct,
        backward("backward", lambda found, dy: {"dbeta_C": found.dbeta_C * np.nan}),
        [f"{shape}backward node by node" for shape in SHAPES],
    ),
    "another eps": (
        gradient_correct,
        instead(formulas__NormSettings=lambda: NormSettings(eps=1e-4)),
        [shape for shape in SHAPES for _ in range(3)],
    ),
    "another eps undone": (
        restores_identity,
        instead(formulas__NormSettings=lambda: NormSettings(eps=1e-4)),
        [shape for shape in SHAPES for _ in range(2)],
    ),
    "statistics of another mode": (
        restores_identity,
        lambda patch: patch.setattr(BatchNorm, "eval", lambda layer: layer),
        [f"{shape}on another batch in evaluation" for shape in SHAPES],
    ),
    "another axis": (momentum_convention, another_axis, [AXIS]),
    "another first variance": (momentum_convention, convention(first_variance=0.0), [VARIANCE]),
    "another weight of the old value": (momentum_convention, convention(kept=0.9), [MEAN, VARIANCE]),
    "a momentum that training notices": (
        SMALL["momentum_convention"],
        of_norms(lambda norm, x_KBC, y_KBC: y_KBC * (1 + 1e-5 * norm.momentum)),
        ["momentum in training, 2 values"],
    ),
    "layer norm, which cancels no bias": (
        SMALL["bias_cancelled"],
        layer_norm,
        ["|∂L/∂b| before BN in training, over the largest |∂L/∂W|, float64", "the same training with and", *FAR],
    ),
    "a bias that stays": (lambda: formulas._equal_runs(8), always_biased, ["leaving it out"]),
    "a gradient that ignores the mean": (
        lambda: formulas._drift_without_mean(8),
        lambda patch: patch.setattr(reference, "backward", ignoring),
        ["8 steps of b with the true gradient"],
    ),
    "a loss that moves with the bias": (
        lambda: list(formulas._drift_without_mean(8))[1:2],
        leaking,
        ["the same with a gradient that ignores that the mean depends on b"],
    ),
    "clipping by value": (
        clipping_numbers,
        clip(lambda grad_KP: grad_KP.clamp(-1, 1)),
        [NORM, DIRECTION, TENSOR, GLOBAL],
    ),
    "clipping to the norm": (clipping_numbers, clip(lambda grad_KP: grad_KP / grad_KP.norm()), [VALUE, TENSOR, GLOBAL]),
    "updates that are not clipped": (SMALL["gradient_tracking"], unclipped("bnexp.training.group_state"), [MADE]),
    "norms recorded as if not clipped": (
        SMALL["gradient_tracking"],
        unclipped("bnexp.probes.prober"),
        [RECORDED, MADE],
    ),
    "a spread that is too large": (
        input_scaling,
        fitted(lambda fitted: replace(fitted, spread_P=1.001 * fitted.spread_P)),
        [Z_SCORE, MIN_MAX, PIXEL],
    ),
    "a shift that is too large": (
        input_scaling,
        fitted(lambda fitted: replace(fitted, shift_P=fitted.shift_P + 1)),
        [Z_SCORE, CONSTANT, MIN_MAX, PIXEL],
    ),
    "inputs cut off": (
        input_scaling,
        fitted(lambda fitted: Clamped(fitted.shift_P, fitted.spread_P, None)),
        [Z_SCORE, PIXEL, *AFFINE],
    ),
    "a steeper sigmoid": (linear_regime, steeper, ["a line fitted to a sigmoid over N(0, 1)"]),
    "a fit that gets better with wider inputs": (
        linear_regime,
        instead(scaling__last_moments=lambda **raw: {}, scaling__WIDTHS=(1.0, 4.0, 2.0)),
        ["R² by the standard deviation of the inputs"],
    ),
}


@pytest.mark.parametrize(("check", "fault", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(check: Check, fault: Fault, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    found = failing(check())
    assert len(found) == len(expected), found
    assert all(what.startswith(start) for what, start in zip(found, expected, strict=True)), found
