"""Folding holds, and what would make it wrong is found: a forgotten ε, a lost bias, a refusal that isn't made."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.claims.checks import evaluation as folding
from bnexp.claims.checks.evaluation import FOLDED, REFUSED, folds_away
from bnexp.deploy import folding as of_networks
from bnexp.deploy.folding import Weights
from bnexp.nn.norm import BatchNorm
from tests.claims.checks.judging import failing

FORMULAS = [
    "W' = diag(γ/√(v + ε)) W scales the rows of a weight (out, in)",
    "b' = β + (b − m) γ/√(v + ε)",
]
COLUMNS = "W' = W diag(γ/√(v + ε)) scales the columns of a weight (in, out)"


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "in_turn", lambda acts, rounds, times: [[2.0], [1.0]])


def test_it_holds_and_tells_the_times() -> None:
    findings = list(folds_away())
    assert failing(findings) == []
    assert sum("2.00 times as fast" in finding.found for finding in findings) == 2


def test_the_network_that_is_timed_first_has_the_norm_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    normalised: list[int] = []
    forward = nn.BatchNorm2d.forward
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda *args: normalised.append(1) or forward(*args))

    def counted(acts: Sequence[Callable[[], object]], rounds: int, times: int) -> list[list[float]]:
        counts = []
        for act in acts:
            normalised.clear()
            act()
            counts.append(len(normalised))
        assert counts == [4, 0]
        return [[1.0], [1.0]]

    monkeypatch.setattr(folding, "in_turn", counted)
    list(folds_away())


def without_eps(affine: Callable[[nn.Module], Any]) -> Callable[[nn.Module], Any]:
    def wrong(norm: nn.Module) -> Any:
        if not isinstance(norm, BatchNorm):
            return affine(norm)
        eps, norm.eps = norm.eps, 0.0
        try:
            return affine(norm)
        finally:
            norm.eps = eps

    return wrong


def test_a_forgotten_eps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_networks, "_affine", without_eps(of_networks._affine))
    assert failing(folds_away()) == [*FORMULAS, *FOLDED]


def test_a_bias_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = of_networks._fold_back

    def wrong(layer: Weights, affine: Any) -> None:
        fold(layer, affine)
        layer.bias = nn.Parameter(torch.zeros_like(layer.bias))

    monkeypatch.setattr(of_networks, "_fold_back", wrong)
    assert failing(folds_away()) == [
        FORMULAS[1],
        *(name for name in FOLDED if "after" not in name),
    ]


def test_a_bias_that_is_not_scaled_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = of_networks._fold_back

    def wrong(layer: Weights, affine: Any) -> None:
        bias_O = layer.bias
        fold(layer, affine)
        if bias_O is not None:
            layer.bias = nn.Parameter(bias_O + affine.shift_C)

    monkeypatch.setattr(of_networks, "_fold_back", wrong)
    found = [name for name in FOLDED if "after" not in name and "without" not in name]
    assert failing(folds_away()) == [FORMULAS[1], *found]


@pytest.mark.parametrize("change", [{"eps": 1e-3}, {"bias": None}, {"weight": None}], ids=str)
def test_another_formula_for_columns_is_found(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    batch_norm = F.batch_norm

    def wrong(x: Tensor, mean_C: Tensor, variance_C: Tensor, gamma_C: Tensor, beta_C: Tensor, eps: float) -> Tensor:
        given = {"running_mean": mean_C, "running_var": variance_C, "weight": gamma_C, "bias": beta_C, "eps": eps}
        return batch_norm(x, **given | change)

    monkeypatch.setattr(F, "batch_norm", wrong)
    assert failing([folding._columns()]) == [COLUMNS]


def test_columns_in_place_of_rows_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = of_networks._fold_back

    def wrong(layer: Weights, affine: Any) -> None:
        before = layer.weight.flatten(1)
        fold(layer, affine)
        if isinstance(layer, nn.Linear) and len(affine.shift_C) == before.shape[1]:
            layer.weight = nn.Parameter(before @ affine.matrix_CC)

    monkeypatch.setattr(of_networks, "_fold_back", wrong)
    assert failing(folds_away()) == ["MLP, BN before the activation", "MLP, the same without hidden biases"]


def test_a_shift_that_padding_swallows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(following: Iterable[nn.Module], affine: Any) -> Weights:
        return next(layer for layer in following if isinstance(layer, Weights))

    monkeypatch.setattr(of_networks, "_target", careless)
    assert set(failing(folds_away())) >= {f"{name} can't be folded" for name in REFUSED if "VGG" in name}


def test_a_norm_layer_that_is_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "folded", folding.to_torch)
    found = failing(folds_away())
    assert found[-len(FOLDED) - len(REFUSED) :] == [*FOLDED, *(f"{name} can't be folded" for name in REFUSED)]
