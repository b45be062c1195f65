"""The train section: budgets, record moments, and settings that exclude each other."""

from collections.abc import Callable
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


@pytest.mark.parametrize("written", ["epochs", [0], [1.5], [True], [], {"linspace": [1, 2, 2]}, None, True])
def test_record_at_refuses_all_else(refused: Callable[..., list[str]], written: object) -> None:
    (line,) = refused({"train": {"record_at": written}})
    assert line.startswith("exp.yaml: train.record_at: ")
    assert line.endswith("expected epoch, or a list or range of steps counted from 1")


EPOCHS = "expected epochs counted from 1 in ascending order, such as [80, 120]"
NESTEROV = "train: nesterov: true needs optimizer sgd and a momentum above 0"


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"nesterov": True}, NESTEROV),
        ({"nesterov": True, "momentum": 0.9, "optimizer": "adam"}, NESTEROV),
        (
            {"epochs": 3, "steps": 5},
            "train: epochs and steps exclude each other: give one of them, and null for the other",
        ),
        (
            {"schedule": "cosin"},
            'train.schedule: "cosin": expected one of constant, step, exponential, cosine, warmup_cosine, one_cycle '
            "(nearest: cosine)",
        ),
        (
            {"schedule": "multistep"},
            'train.schedule: "multistep": expected one of constant, step, exponential, cosine, warmup_cosine, '
            "one_cycle (nearest: step with train.schedule_options.step_at)",
        ),
        (
            {"schedule_options": {"milestones": [8, 12]}},
            "train.schedule_options.milestones: unknown key (nearest: train.schedule_options.step_at)",
        ),
        (
            {"schedule_options": {"step_at": [80], "step_every": 10}},
            "train.schedule_options: step_every and step_at exclude each other: give one of them, and null for the "
            "other",
        ),
        ({"schedule_options": {"step_at": [120, 80]}}, f"train.schedule_options.step_at: [120, 80]: {EPOCHS}"),
        ({"schedule_options": {"step_at": [80, 80]}}, "train.schedule_options.step_at: [80, 80]: 80 is listed twice"),
        ({"schedule_options": {"step_at": [0, 80]}}, f"train.schedule_options.step_at: [0, 80]: {EPOCHS}"),
        ({"schedule_options": {"step_at": 80}}, f"train.schedule_options.step_at: 80: {EPOCHS}"),
        (
            {"schedule": "one_cycle", "warmup": 0.1},
            "train: warmup: one_cycle has a warm-up of its own; leave this one at 0 and set schedule_options.warmup",
        ),
        (
            {"augment": "flip"},
            'train.augment: "flip": expected one of none, flip_crop, flip_crop_cutout (nearest: flip_crop)',
        ),
        ({"betas": [0.9, 1]}, "train.betas.1: 1: expected a number less than 1"),
        ({"clip": {"value": 0}}, "train.clip.value: 0: expected a number greater than 0"),
    ],
)
def test_a_wrong_value_is_refused_in_words(refused: Callable[..., list[str]], raw: dict[str, Any], line: str) -> None:
    (found,) = refused({"train": raw})
    assert found.startswith(f"exp.yaml: {line}")
