"""Conventions hold; another weight, variance or axis is found, as is a momentum that training notices."""

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor, nn

from bnexp.claims.checks import formulas as momentum
from bnexp.claims.checks.formulas import momentum_convention
from bnexp.nn.norm import BatchNorm
from bnexp.reference import CONVENTIONS
from tests.claims.checks.judging import failing

MEAN = "running mean after 50 batches: Keras' convention, 0.99 on the old value, against PyTorch's 0.01"
VARIANCE = "running variance likewise, with PyTorch's factor m/(m − 1)"
AXIS = "axis −1 of (batch, height, width, channels) against dimension 1 of (batch, channels, height, width)"
STEPS = 52


@pytest.fixture(autouse=True)
def two_momenta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(momentum, "MOMENTA", (0.01, 0.1))


def test_it_holds_and_the_larger_momentum_is_better_early() -> None:
    findings = list(momentum_convention(STEPS))
    assert failing(findings) == []
    (early,) = (finding.found for finding in findings if "after 50 steps" in finding.what)
    at_001, at_01 = (float(part.partition("%")[0]) for part in early.split(", "))
    assert at_001 > 2 * at_01


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"kept": 0.9}, [MEAN, VARIANCE]), ({"kept": 0.01}, [MEAN, VARIANCE]), ({"first_variance": 0.0}, [VARIANCE])],
)
def test_another_convention_is_found(
    changes: dict[str, Any], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(momentum, "_evaluation_error", lambda steps: iter(()))
    monkeypatch.setitem(CONVENTIONS, "keras", replace(CONVENTIONS["keras"], **changes))
    assert failing(momentum_convention()) == expected


def test_another_axis_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(momentum, "_evaluation_error", lambda steps: iter(()))
    monkeypatch.setattr(momentum.nn, "BatchNorm2d", lambda features, dtype: nn.InstanceNorm2d(features, dtype=dtype))
    assert failing(momentum_convention()) == [AXIS]


def test_a_momentum_that_training_notices_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    features = BatchNorm.features

    def noticing(self: BatchNorm, x_KBC: Tensor) -> Tensor:
        return features(self, x_KBC) * (1 + 1e-5 * self.momentum)

    monkeypatch.setattr(BatchNorm, "features", noticing)
    assert failing(momentum_convention(STEPS)) == ["momentum in training, 2 values"]
