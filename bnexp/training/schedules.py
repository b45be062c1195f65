"""Learning-rate schedules: pure functions of the step.

A warm-up of w steps multiplies the rate by (step + 1)/w while step < w. The epochs of `step` are still counted from the
start of the training; cosine and exponential begin when the warm-up ends.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from bnexp.config.train import USUAL_STEP_EVERY, ScheduleOptions, TrainSettings


@dataclass(frozen=True)
class Clock:
    """Where in the training a step lies."""

    step: int
    """Updates made before this one: 0 for the first."""
    total: int
    """Updates in all."""
    per_epoch: int
    """Updates per epoch."""

    def after(self, steps: int) -> "Clock":
        """Return the clock of a schedule that begins after some steps; until then it is at 0."""
        return Clock(max(0, self.step - steps), max(1, self.total - steps), self.per_epoch)


def rates(trains: Sequence[TrainSettings], clocks: Sequence[Clock]) -> Float64[np.ndarray, "steps K"]:
    """Return the learning rate of every trial at each of the given steps."""
    keys = [(train.schedule, train.schedule_read) for train in trains]
    curves = {key: np.array([SCHEDULES[key[0]](key[1], clock) for clock in clocks]) for key in set(keys)}
    with np.errstate(over="ignore"):  # an infinite rate is allowed: the training then diverges
        return np.stack([train.lr * curves[key] for train, key in zip(trains, keys, strict=True)], axis=1)


def same_rates(trains: Sequence[TrainSettings]) -> bool:
    """Tell whether trials have one learning rate at every step."""
    return len({(train.lr, train.schedule, train.schedule_read) for train in trains}) == 1


def _step(options: ScheduleOptions, clock: Clock) -> float:
    epochs = clock.step // clock.per_epoch
    at, every = options.step_at, options.step_every or USUAL_STEP_EVERY
    drops = sum(epochs >= epoch for epoch in at) if at else epochs // every
    return _rise(options, clock) * _power(options.factor, drops)


def _exponential(options: ScheduleOptions, clock: Clock) -> float:
    decay = clock.after(_warm(options, clock))
    share = decay.step / ((options.step_every or USUAL_STEP_EVERY) * clock.per_epoch)
    return _rise(options, clock) * _power(options.factor, share)


def _cosine(options: ScheduleOptions, clock: Clock) -> float:
    decay = clock.after(_warm(options, clock))
    return _rise(options, clock) * _between(1.0, options.floor, decay.step / decay.total)


def _one_cycle(options: ScheduleOptions, clock: Clock) -> float:
    # Smith & Topin 2018, with cosine pieces as in torch.optim.lr_scheduler.OneCycleLR.
    peak, end = options.warmup * clock.total - 1, clock.total - 1
    if clock.step <= peak:
        return _between(options.start, 1.0, clock.step / peak if peak else 1.0)
    return _between(1.0, options.start * 1e-4, (clock.step - peak) / (end - peak))


def _warm(options: ScheduleOptions, clock: Clock) -> int:
    """Return the steps of the warm-up."""
    return round(options.warmup * clock.total)


def _rise(options: ScheduleOptions, clock: Clock) -> float:
    """Return the share of the rate that the warm-up has reached: 1 after it, or without one."""
    warm = _warm(options, clock)
    return (clock.step + 1) / warm if clock.step < warm else 1.0


def _power(factor: float, times: int | float) -> float:
    try:
        return factor**times
    except OverflowError:
        return sys.float_info.max  # not infinity, since infinity times a rate of 0 is NaN


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


SCHEDULES: dict[str, Callable[[ScheduleOptions, Clock], float]] = {
    "constant": _rise,
    "step": _step,
    "exponential": _exponential,
    "cosine": _cosine,
    "warmup_cosine": _cosine,
    "one_cycle": _one_cycle,
}
"""Factor on lr at a step, by the name in train.schedule."""
