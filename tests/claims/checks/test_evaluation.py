"""Answers in evaluation depend on no other image, and batch norm folds away; faults in either are found."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.claims.checks import evaluation
from bnexp.claims.checks.evaluation import (
    BATCH,
    FOLDED,
    REFUSED,
    eval_is_deterministic,
    folds_away,
    two_inference_methods,
)
from bnexp.deploy import folding
from bnexp.deploy.folding import Weights
from bnexp.nn.norm import BatchNorm, refit_statistics
from tests.claims.checks.judging import failing

STEPS, FEW = 300, 201


@pytest.fixture(autouse=True)
def one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "NETWORKS", {"mlp": {"depth": 2, "width": 16, "activation": "relu"}})


def test_both_hold() -> None:
    assert failing(eval_is_deterministic(5)) == []
    assert failing(two_inference_methods(STEPS)) == []


def mixing(norm: BatchNorm, x_KBC: Tensor) -> Tensor:
    return x_KBC - 1e-4 * x_KBC.mean(1, keepdim=True)


def moving(norm: BatchNorm, x_KBC: Tensor) -> Tensor:
    norm.running_var.mul_(1 + 1e-15).add_(1e-12)
    return x_KBC


def drawing(norm: BatchNorm, x_KBC: Tensor) -> Tensor:
    return x_KBC + 1e-9 * torch.rand(1, dtype=x_KBC.dtype)


TWICE, ALONE, MOVED = "all 360 test images twice", "each image alone, or with all others", "running statistics"
WRONG: dict[str, tuple[Callable[[BatchNorm, Tensor], Tensor], list[str]]] = {
    "test values mixed in": (mixing, [ALONE]),
    "statistics that move": (moving, [TWICE, MOVED]),
    "chance": (drawing, [TWICE]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_the_note_says_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, expected = WRONG[kind]
    features = BatchNorm.features

    def wrong(self: BatchNorm, x_KBC: Tensor) -> Tensor:
        y_KBC = features(self, x_KBC)
        return y_KBC if self.training else change(self, y_KBC)

    monkeypatch.setattr(BatchNorm, "features", wrong)
    found = failing(eval_is_deterministic(5))
    assert [what.partition(": ")[2] for what in found] == expected


def refitted(change: Callable[[BatchNorm], Any]) -> Callable[[nn.Module, Iterable[Tensor]], None]:
    def refit(network: nn.Module, batches: Iterable[Tensor]) -> None:
        refit_statistics(network, batches)
        for norm in (layer for layer in network.modules() if isinstance(layer, BatchNorm)):
            change(norm)

    return refit


VARIANCE = f"population variance as m/(m − 1) times the batches' mean variance, m = {BATCH}"
AGREE = f"running averages against statistics of the training set, after {FEW} steps"


def test_a_biased_population_variance_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "AGREED", 1.0)
    unscaled = refitted(lambda norm: norm.running_var.mul_((BATCH - 1) / BATCH))
    monkeypatch.setattr(evaluation, "refit_statistics", unscaled)
    assert failing(two_inference_methods(20)) == [VARIANCE]


def test_statistics_of_nothing_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "refit_statistics", refitted(BatchNorm.forget))
    assert failing(two_inference_methods(FEW)) == [AGREE, VARIANCE]


def test_answers_that_are_no_numbers_do_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    features = BatchNorm.features
    monkeypatch.setattr(BatchNorm, "features", lambda norm, x_KBC: features(norm, x_KBC) * float("nan"))
    assert failing(two_inference_methods(FEW)) == [AGREE, VARIANCE]


# Folding


FORMULAS = [
    "W' = diag(γ/√(v + ε)) W scales the rows of a weight (out, in)",
    "b' = β + (b − m) γ/√(v + ε)",
]
COLUMNS = "W' = W diag(γ/√(v + ε)) scales the columns of a weight (in, out)"


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "in_turn", lambda acts, rounds, times: [[2.0], [1.0]])


@pytest.mark.usefixtures("untimed")
def test_it_holds_and_tells_the_times() -> None:
    findings = list(folds_away())
    assert failing(findings) == []
    assert sum("2.00 times as fast" in finding.found for finding in findings) == 2


@pytest.mark.usefixtures("untimed")
def test_the_network_that_is_timed_first_has_the_norm_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    normalised: list[int] = []
    forward = nn.BatchNorm2d.forward
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda *args: normalised.append(1) or forward(*args))  # type: ignore[func-returns-value]

    def counted(acts: Sequence[Callable[[], object]], rounds: int, times: int) -> list[list[float]]:
        counts = []
        for act in acts:
            normalised.clear()
            act()
            counts.append(len(normalised))
        assert counts == [4, 0]
        return [[1.0], [1.0]]

    monkeypatch.setattr(evaluation, "in_turn", counted)
    list(folds_away())


def without_eps(affine: Callable[[nn.Module], Any]) -> Callable[[nn.Module], Any]:
    def wrong(norm: nn.Module) -> Any:
        if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            return affine(norm)
        eps, norm.eps = norm.eps, 0.0
        try:
            return affine(norm)
        finally:
            norm.eps = eps

    return wrong


@pytest.mark.usefixtures("untimed")
def test_a_forgotten_eps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "_affine", without_eps(folding._affine))
    assert failing(folds_away()) == [*FORMULAS, *FOLDED]


@pytest.mark.usefixtures("untimed")
def test_a_bias_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = folding._fold_back

    def wrong(layer: Weights, *affine: Any) -> None:
        fold(layer, *affine)
        layer.bias = nn.Parameter(torch.zeros_like(layer.bias))

    monkeypatch.setattr(folding, "_fold_back", wrong)
    assert failing(folds_away()) == [
        FORMULAS[1],
        *(name for name in FOLDED if "after" not in name),
    ]


@pytest.mark.parametrize("change", [{"eps": 1e-3}, {"bias": None}], ids=str)
def test_another_formula_for_columns_is_found(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    batch_norm = F.batch_norm

    def wrong(x: Tensor, mean_C: Tensor, variance_C: Tensor, gamma_C: Tensor, beta_C: Tensor, eps: float) -> Tensor:
        given = {"running_mean": mean_C, "running_var": variance_C, "weight": gamma_C, "bias": beta_C, "eps": eps}
        return batch_norm(x, **given | change)

    monkeypatch.setattr(F, "batch_norm", wrong)
    assert failing([evaluation._columns()]) == [COLUMNS]


@pytest.mark.usefixtures("untimed")
def test_a_shift_that_padding_swallows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(following: Iterable[nn.Module], *affine: Any) -> Weights:
        return next(layer for layer in following if isinstance(layer, Weights))

    monkeypatch.setattr(folding, "_target", careless)
    assert set(failing(folds_away())) >= {f"{name} can't be folded" for name in REFUSED if "VGG" in name}


@pytest.mark.usefixtures("untimed")
def test_a_norm_layer_that_is_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "folded", evaluation.to_torch)
    found = failing(folds_away())
    assert found[-len(FOLDED) - len(REFUSED) :] == [*FOLDED, *(f"{name} can't be folded" for name in REFUSED)]
