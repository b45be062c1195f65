"""Learning-rate schedules: pure functions of the step."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from bnexp.config.train import ScheduleOptions, TrainSettings


@dataclass(frozen=True)
class Clock:
    """Where in the training a step lies."""

    step: int
    """Updates made before this one: 0 for the first."""
    total: int
    """Updates in all."""
    per_epoch: int
    """Updates an epoch."""


def rates(trains: Sequence[TrainSettings], clocks: Sequence[Clock]) -> Float64[np.ndarray, "steps K"]:
    """Return the learning rate of every trial at each of the given steps."""
    curves = {(train.schedule, train.schedule_options): np.empty(0) for train in trains}
    for name, options in curves:
        curves[name, options] = np.array([SCHEDULES[name](options, clock) for clock in clocks])
    with np.errstate(over="ignore"):  # an infinite rate is for the training to meet
        return np.stack([train.lr * curves[train.schedule, train.schedule_options] for train in trains], axis=1)


def _constant(options: ScheduleOptions, clock: Clock) -> float:
    return 1.0


def _step(options: ScheduleOptions, clock: Clock) -> float:
    drops = clock.step // (options.step_every * clock.per_epoch)
    try:
        return options.factor**drops
    except OverflowError:
        return sys.float_info.max  # not infinity, which times a rate of 0 is no number


def _cosine(options: ScheduleOptions, clock: Clock) -> float:
    return _between(1.0, options.floor, clock.step / clock.total)


def _warmup_cosine(options: ScheduleOptions, clock: Clock) -> float:
    warm = round(options.warmup * clock.total)
    if clock.step < warm:
        return (clock.step + 1) / warm
    return _between(1.0, options.floor, (clock.step - warm) / (clock.total - warm))


def _one_cycle(options: ScheduleOptions, clock: Clock) -> float:
    # Smith & Topin 2018, with cosine pieces as in torch.optim.lr_scheduler.OneCycleLR.
    peak, end = options.warmup * clock.total - 1, clock.total - 1
    if clock.step <= peak:
        return _between(options.start, 1.0, clock.step / peak if peak else 1.0)
    return _between(1.0, options.start * 1e-4, (clock.step - peak) / (end - peak))


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


SCHEDULES: dict[str, Callable[[ScheduleOptions, Clock], float]] = {
    "constant": _constant,
    "step": _step,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
    "warmup_cosine": _warmup_cosine,
}
"""Factor on lr at a step, by the name in train.schedule."""
