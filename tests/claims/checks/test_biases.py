"""The cancelled bias: all of it holds with batch norm, and not with another norm or another gradient."""

import numpy as np
import pytest
from torch import Tensor

from bnexp import reference
from bnexp.claims.checks import biases
from bnexp.claims.checks.biases import bias_cancelled
from bnexp.claims.results import Finding
from bnexp.nn.norm import BatchNorm
from tests.claims.checks.judging import failing

GRADIENT = "|∂L/∂b| before BN in training, over the largest |∂L/∂W|, float64"
RUNS = "the same training with and without the bias, SGD in float64"
COUNT = "leaving it out"
STEPS = 8
FAR = [
    f"hidden biases from N(0, 1) against none, {moment}: logits in {mode}"
    for moment in ("before training", f"after {STEPS} steps")
    for mode in ("training mode", "evaluation")
]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biases, "MODEL", biases.MODEL | {"width": 8})


@pytest.fixture
def no_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is only told, and takes most trainings."""
    monkeypatch.setattr(biases, "_drift_by_rounding", lambda steps: Finding("drift", "left out"))


def test_it_holds() -> None:
    assert failing(bias_cancelled(STEPS)) == []


@pytest.mark.usefixtures("no_drift")
def test_layer_norm_cancels_no_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biases, "MODEL", biases.MODEL | {"norm": "layer"})
    assert failing(bias_cancelled(STEPS)) == [GRADIENT, RUNS, *FAR]


def test_a_bias_that_stays_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    arms = biases._with_and_without(STEPS, "sgd", "fp64")
    monkeypatch.setattr(biases, "_with_and_without", lambda *args: dict.fromkeys(arms, arms["bias"]))
    assert failing(biases._equal_runs(STEPS)) == [COUNT]


def test_a_gradient_of_weights_that_the_bias_changes_is_found_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    features = BatchNorm.features

    def leaking(self: BatchNorm, x_KBC: Tensor) -> Tensor:
        nothing_KBC = x_KBC - x_KBC.detach()
        return features(self, x_KBC) + 1e-3 * x_KBC.detach().mean(1, keepdim=True) * nothing_KBC

    monkeypatch.setattr(BatchNorm, "features", leaking)
    assert failing(biases._far_from_zero(STEPS)) == FAR[2:]


def test_statistics_that_know_nothing_of_the_bias_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biases, "refit_statistics", lambda network, batches: network.eval())
    assert failing(biases._far_from_zero(STEPS)) == FAR[1::2]


def test_a_gradient_that_ignores_the_mean_moves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def ignoring(dy: np.ndarray, cache: reference.Cache) -> reference.Gradients:
        return reference.Gradients(cache.gamma_C * cache.inverse_C * dy, cache.gamma_C, cache.gamma_C)

    monkeypatch.setattr(reference, "backward", ignoring)
    assert failing(biases._drift_without_mean(STEPS)) == [f"{STEPS} steps of b with the true gradient"]


def test_a_loss_that_moves_with_the_bias_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = reference.forward

    def leaking(x: np.ndarray, gamma_C: np.ndarray, beta_C: np.ndarray) -> tuple[np.ndarray, reference.Cache]:
        y, cache = forward(x, gamma_C, beta_C)
        return y + 1e-6 * cache.mean_C, cache

    monkeypatch.setattr(reference, "forward", leaking)
    assert "the same if the gradient ignores that the mean hangs on b" in failing(biases._drift_without_mean(STEPS))
