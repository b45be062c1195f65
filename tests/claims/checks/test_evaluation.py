"""Evaluation hangs on no other image, and its two kinds of statistics agree in the end; what breaks that is found."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.claims.checks import evaluation
from bnexp.claims.checks.evaluation import BATCH, eval_is_deterministic, two_inference_methods
from bnexp.nn.norm import BatchNorm, refit_statistics
from tests.claims.checks.judging import failing

STEPS, FEW = 300, 201


@pytest.fixture(autouse=True)
def one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "NETWORKS", {"mlp": {"depth": 2, "width": 16, "activation": "relu"}})


def test_both_hold() -> None:
    assert failing(eval_is_deterministic(5)) == []
    assert failing(two_inference_methods(STEPS)) == []


def test_images_of_convolutions_are_evaluated_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "NETWORKS", {"vgg": {"family": "vgg", "depth": 5, "width": 2}})
    assert failing(eval_is_deterministic(2)) == []


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
