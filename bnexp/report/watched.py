"""A run at one moment as an object for scripts."""

from dataclasses import dataclass
from datetime import datetime

from bnexp.analysis.stats import mean_interval
from bnexp.report.watching import View
from bnexp.store.following import Pulse, State


@dataclass(frozen=True)
class WatchedArm:
    """The trials of an arm, and how accurate they are so far."""

    arm: str
    trials: int
    ended: int
    """Trials that have ended, in whichever way."""
    diverged: int
    """Trials that have diverged; they have ended, too."""
    running: int
    """Trials that have begun and not ended."""
    waiting: int
    """Trials that have not begun."""
    seeds: int
    """Seeds with an accuracy so far; of an arm that is tuned several times, its tunings."""
    mean: float | None
    """Mean of the newest accuracies over these seeds."""
    low: float | None
    """Lower end of its 95 % Student t interval; null for a single seed."""
    high: float | None
    """Upper end of it."""


@dataclass(frozen=True)
class Watched:
    """A run as it is at this moment."""

    run: str
    time: str
    """When it was read."""
    state: State
    """ended, training, stopped, or elsewhere: begun on another machine."""
    silent: float
    """Seconds since anything was written."""
    share: float
    """Share of all updates that is made, from 0 to 1."""
    left: float | None
    """Estimated seconds until it has ended."""
    epoch: int | None
    """Epoch of the slowest group in training; null where none trains."""
    step: int | None
    """Updates that this group has made."""
    steps: int | None
    """Updates that it makes in all."""
    accuracy: str
    """Which accuracy the arms have: test_accuracy, val_accuracy or train_accuracy."""
    arms: list[WatchedArm]


def watched(view: View, now: Pulse, left: float | None) -> Watched:
    """Return the object of a refresh.

    Args:
        view: the run as it was read.
        now: whether it trains.
        left: seconds until it has ended, if that is known.
    """
    slowest = view.progress.slowest
    epoch, step, steps = (slowest.epoch, slowest.step, slowest.steps) if slowest else (None, None, None)
    return Watched(
        run=view.name,
        time=datetime.now().astimezone().isoformat(timespec="seconds"),
        state=now.state,
        silent=now.silent,
        share=view.progress.share,
        left=left if now.state in ("training", "elsewhere") else None,
        epoch=epoch,
        step=step,
        steps=steps,
        accuracy=view.column,
        arms=[_arm(view, arm) for arm in view.study.arms],
    )


def _arm(view: View, arm: str) -> WatchedArm:
    latest = view.latest.get(arm, ())
    return WatchedArm(
        arm, **vars(view.progress.arms[arm]), seeds=len(latest), **vars(mean_interval(latest, (0.0, 1.0)))
    )
