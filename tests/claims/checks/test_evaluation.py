"""Answers in evaluation depend on no other image, and batch norm folds away; faults in either are found."""

from collections.abc import Callable
from typing import Any

import pytest
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
from bnexp.nn.norm import BatchNorm
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


TWICE, ALONE, MOVED = "all 360 test images twice", "each image alone, or with all others", "running statistics"
WRONG: dict[str, tuple[Callable[[BatchNorm, Tensor], Tensor], list[str]]] = {
    "test values mixed in": (mixing, [ALONE]),
    "statistics that move": (moving, [TWICE, MOVED]),
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


VARIANCE = f"population variance as m/(m − 1) times the batches' mean variance, m = {BATCH}"
AGREE = f"running averages against statistics of the training set, after {FEW} steps"


def test_statistics_of_nothing_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "refit_statistics", lambda network, batches: network.apply(forget).eval())
    assert failing(two_inference_methods(FEW)) == [AGREE, VARIANCE]


def forget(layer: nn.Module) -> None:
    if isinstance(layer, BatchNorm):
        layer.forget()


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


@pytest.mark.parametrize("change", [{"eps": 1e-3}, {"bias": None}], ids=str)
def test_another_formula_for_columns_is_found(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    batch_norm = F.batch_norm

    def wrong(x: Tensor, mean_C: Tensor, variance_C: Tensor, gamma_C: Tensor, beta_C: Tensor, eps: float) -> Tensor:
        given = {"running_mean": mean_C, "running_var": variance_C, "weight": gamma_C, "bias": beta_C, "eps": eps}
        return batch_norm(x, **given | change)

    monkeypatch.setattr(F, "batch_norm", wrong)
    assert failing([evaluation._columns()]) == [COLUMNS]


@pytest.mark.usefixtures("untimed")
def test_a_norm_layer_that_is_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "folded", evaluation.to_torch)
    found = failing(folds_away())
    assert found[-len(FOLDED) - len(REFUSED) :] == [*FOLDED, *(f"{name} can't be folded" for name in REFUSED)]
