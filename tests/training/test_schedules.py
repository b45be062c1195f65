"""Learning rates against torch.optim.lr_scheduler, and at the ends of every schedule."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from bnexp.config.train import SCHEDULE_OPTIONS, ScheduleName, ScheduleOptions, TrainSettings
from bnexp.training.schedules import SCHEDULES, Clock, rates
from tests.helpers import EXACT_FLOAT64, assert_close

LR = 0.3


def curve(schedule: str, total: int, per_epoch: int = 5, **options: Any) -> list[float]:
    """The rate at each step of a training."""
    own = "warmup" not in options or schedule in ("warmup_cosine", "one_cycle")
    first = {} if own else {"warmup": options.pop("warmup")}
    train = TrainSettings.model_validate({"lr": LR, "schedule": schedule, "schedule_options": options} | first)
    found: list[float] = rates([train], [Clock(step, total, per_epoch) for step in range(total)])[:, 0].tolist()
    return found


def by_torch(scheduler: Callable[..., lr_scheduler.LRScheduler], total: int, **arguments: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
    schedule, found = scheduler(optimizer, **arguments), []
    for _ in range(total):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
        if len(found) == total - 1 and scheduler is lr_scheduler.OneCycleLR:
            # torch's own object refuses a step after the last.
            found.append(float(optimizer.param_groups[0]["lr"]))
            break
    return found


@pytest.mark.parametrize(
    ("schedule", "total", "options", "scheduler", "arguments"),
    [
        ("step", 40, {"step_every": 1, "factor": 0.5}, lr_scheduler.StepLR, {"step_size": 5, "gamma": 0.5}),
        ("step", 40, {"step_every": 3, "factor": 0.5}, lr_scheduler.StepLR, {"step_size": 15, "gamma": 0.5}),
        ("step", 40, {"step_at": [2]}, lr_scheduler.MultiStepLR, {"milestones": [10]}),
        ("step", 40, {"step_at": [1, 3, 7]}, lr_scheduler.MultiStepLR, {"milestones": [5, 15, 35]}),
        ("step", 40, {"step_at": [8]}, lr_scheduler.MultiStepLR, {"milestones": [40]}),
        ("exponential", 40, {"step_every": 1, "factor": 0.5}, lr_scheduler.ExponentialLR, {"gamma": 0.5 ** (1 / 5)}),
        ("exponential", 40, {"step_every": 3, "factor": 0.5}, lr_scheduler.ExponentialLR, {"gamma": 0.5 ** (1 / 15)}),
        ("cosine", 1, {"floor": 0.2}, lr_scheduler.CosineAnnealingLR, {"T_max": 1, "eta_min": 0.2 * LR}),
        ("cosine", 2, {"floor": 0.0}, lr_scheduler.CosineAnnealingLR, {"T_max": 2}),
        ("cosine", 40, {"floor": 0.2}, lr_scheduler.CosineAnnealingLR, {"T_max": 40, "eta_min": 0.2 * LR}),
    ],
)
def test_a_schedule_equals_torchs(
    schedule: str,
    total: int,
    options: dict[str, Any],
    scheduler: Callable[..., lr_scheduler.LRScheduler],
    arguments: dict[str, Any],
) -> None:
    """Five updates are an epoch."""
    assert_close(curve(schedule, total, **options), by_torch(scheduler, total, **arguments), EXACT_FLOAT64)


def warm_up(optimizer: torch.optim.Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    """Torch's linear warm-up: 1/steps of the rate at first, the whole rate at the last of so many steps."""
    return lr_scheduler.LinearLR(optimizer, start_factor=1 / steps, total_iters=steps - 1)


AFTER_THE_WARM_UP: dict[str, tuple[Callable[..., lr_scheduler.LRScheduler], dict[str, Any], dict[str, Any]]] = {
    "constant": (lr_scheduler.ConstantLR, {"factor": 1.0}, {}),
    "exponential": (lr_scheduler.ExponentialLR, {"gamma": 0.5 ** (1 / 10)}, {"step_every": 2, "factor": 0.5}),
    "cosine": (lr_scheduler.CosineAnnealingLR, {"T_max": 32, "eta_min": 0.1 * LR}, {"floor": 0.1}),
    "warmup_cosine": (lr_scheduler.CosineAnnealingLR, {"T_max": 32, "eta_min": 0.1 * LR}, {"floor": 0.1}),
}


@pytest.mark.parametrize("schedule", AFTER_THE_WARM_UP)
def test_after_a_warm_up_the_schedule_begins_as_in_torchs_sequence(schedule: str) -> None:
    scheduler, arguments, options = AFTER_THE_WARM_UP[schedule]

    def sequence(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        parts = [warm_up(optimizer, 8), scheduler(optimizer, **arguments)]
        return lr_scheduler.SequentialLR(optimizer, parts, milestones=[8])

    assert_close(curve(schedule, 40, 5, warmup=0.2, **options), by_torch(sequence, 40), EXACT_FLOAT64)


@pytest.mark.parametrize("epochs", [[4, 6], [1, 6]])
def test_a_warm_up_leaves_the_epochs_of_the_drops_where_they_are(epochs: list[int]) -> None:
    def both(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        drops = lr_scheduler.MultiStepLR(optimizer, [5 * epoch for epoch in epochs], gamma=0.1)
        return lr_scheduler.ChainedScheduler([warm_up(optimizer, 8), drops])

    assert_close(curve("step", 40, 5, step_at=epochs, warmup=0.2), by_torch(both, 40), EXACT_FLOAT64)


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_without_a_word_only_warmup_cosine_and_one_cycle_warm_up(schedule: str) -> None:
    given = 0.1 if schedule in ("warmup_cosine", "one_cycle") else 0.0
    assert curve(schedule, 40) == curve(schedule, 40, warmup=given)
    assert (curve(schedule, 40)[0] == LR) == (given == 0.0)


def test_the_steps_of_a_warm_up_are_rounded_to_the_nearest_and_halves_to_the_even_number() -> None:
    firsts = [curve("constant", total, warmup=0.1)[0] for total in (4, 5, 15, 25)]
    assert_close(firsts, [LR, LR, LR / 2, LR / 2], EXACT_FLOAT64)


@pytest.mark.parametrize("total", [7, 40])
@pytest.mark.parametrize("warmup", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("start", [0.04, 1.0])
def test_one_cycle_equals_torchs(total: int, warmup: float, start: float) -> None:
    expected = by_torch(
        lr_scheduler.OneCycleLR,
        total,
        max_lr=LR,
        total_steps=total,
        pct_start=warmup,
        anneal_strategy="cos",
        cycle_momentum=False,
        div_factor=1 / start,
        final_div_factor=1e4,
    )
    assert_close(curve("one_cycle", total, warmup=warmup, start=start), expected, EXACT_FLOAT64)


@given(
    schedule=st.sampled_from(sorted(SCHEDULES)),
    total=st.integers(1, 300),
    per_epoch=st.integers(1, 50),
    warmup=st.floats(0, 1, exclude_max=True),
    start=st.floats(1e-6, 1),
    floor=st.floats(0, 1),
    factor=st.floats(1e-6, 1),
    step_every=st.integers(1, 20),
)
@limits(max_examples=150, deadline=None, derandomize=True)
def test_rates_stay_between_zero_and_the_rate(schedule: str, total: int, per_epoch: int, **options: Any) -> None:
    found = curve(schedule, total, per_epoch, **options)
    assert min(found) >= 0
    assert found[0] > 0
    assert max(found) <= LR * (1 + EXACT_FLOAT64)


def test_every_trial_has_its_own_rate_and_schedule() -> None:
    trains = [
        TrainSettings(lr=0.3, schedule="cosine"),
        TrainSettings(lr=0.1, schedule="cosine"),
        TrainSettings(lr=0.3),
        TrainSettings(lr=0.3, schedule="cosine", schedule_options=ScheduleOptions(floor=0.5)),
    ]
    table = rates(trains, [Clock(step, 12, 4) for step in (3, 6)])
    assert table.shape == (2, 4)
    alone = [rates([train], [Clock(step, 12, 4) for step in (3, 6)])[:, 0] for train in trains]
    assert_close(table.T, alone, EXACT_FLOAT64)
    assert_close(table[:, 1] * 3, table[:, 0], EXACT_FLOAT64)
    assert table[1, 0] < table[1, 3] < table[1, 2] == 0.3


@pytest.mark.parametrize("lr", [0.0, 0.5, 1.0, 1e300])
def test_a_factor_that_grows_beyond_floats_stays_at_the_largest(lr: float) -> None:
    options = {"step_every": 1, "factor": 10.0}
    train = TrainSettings.model_validate({"lr": lr, "schedule": "step", "schedule_options": options})
    at_308, at_999 = rates([train], [Clock(308, 1000, 1), Clock(999, 1000, 1)])[:, 0].tolist()
    assert at_308 == lr * 1e308
    assert at_999 == lr * sys.float_info.max


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_each_schedule_depends_on_the_options_that_it_is_said_to_read_and_on_no_others(schedule: ScheduleName) -> None:
    others = {"step_every": 3, "step_at": (2, 4), "factor": 0.7, "warmup": 0.6, "floor": 0.5, "start": 0.5}

    def found(options: dict[str, Any]) -> list[float]:
        train = TrainSettings.model_validate({"lr": LR, "schedule": schedule, "schedule_options": options})
        return list(rates([train], [Clock(step, 60, 5) for step in range(60)])[:, 0].tolist())

    assert others.keys() == ScheduleOptions.model_fields.keys()
    moving = {name for name, value in others.items() if found({name: value}) != found({})}
    assert moving == set(SCHEDULE_OPTIONS[schedule])


def test_what_null_stands_for_and_the_same_written_out_are_read_alike() -> None:
    for schedule, written in (("step", {"step_every": 10}), ("one_cycle", {"warmup": 0.1})):
        train = TrainSettings.model_validate({"schedule": schedule, "schedule_options": written})
        assert train.schedule_read == TrainSettings.model_validate({"schedule": schedule}).schedule_read
