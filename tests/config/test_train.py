"""The train section: budgets and record moments."""

from typing import Any

import pytest

from bnexp.config.train import DEFAULT_EPOCHS, TrainSettings


@pytest.mark.parametrize(
    ("raw", "steps"),
    [({}, 7 * DEFAULT_EPOCHS), ({"epochs": 3}, 21), ({"steps": 5}, 5), ({"epochs": None, "steps": 5}, 5)],
)
def test_updates_in_all(raw: dict[str, Any], steps: int) -> None:
    assert TrainSettings.model_validate(raw).total_steps(steps_per_epoch=7) == steps


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("epoch", "epoch"),
        ([3, 1], (1, 3)),
        ({"range": [1, 191, 10]}, tuple(range(1, 192, 10))),
        ({"range": [1, 20, 10]}, (1, 11)),
    ],
)
def test_record_at(written: object, resolved: object) -> None:
    assert TrainSettings.model_validate({"record_at": written}).record_at == resolved
