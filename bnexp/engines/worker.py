"""The worker's side: a training becomes messages, few enough that one driver can listen to many workers."""

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from bnexp.engines import throttle
from bnexp.engines.messages import Broke, Carried, Finished, Job, Message, Moment, Moments, State
from bnexp.engines.throttle import Pace
from bnexp.records import Snapshot

if TYPE_CHECKING:
    from bnexp.training.loop import Progress

INTERVAL = 0.25
"""Seconds between messages at least; records that come sooner wait for the next one, or for the end."""
Training = Callable[[Job], "Generator[Progress, None, None]"]
"""Trains a job's group; see train."""
Keep = Callable[[Snapshot], State]
"""Puts a state where the driver can fetch it."""


def messages(
    job: Job,
    training: Training,
    keep: Keep,
    full: Callable[[BaseException], bool],
    held_share: float = throttle.HELD_SHARE,
) -> Iterator[Message]:
    """Train a job and yield what the driver should know; whatever breaks the training is said, not raised.

    A message takes the newest state with it as often as costs at most a share of the time, and always when trials end.

    Args:
        job: the group.
        training: trains it.
        keep: puts a state where the driver can fetch it.
        full: tells errors of too little memory.
        held_share: the share of the time.
    """
    waiting: list[Moment] = []
    sent, hold = float("-inf"), Pace(0, held_share)  # due at once
    try:
        with closing(training(job)) as records:
            for progress in records:
                state = _state(progress, keep, hold)
                if state:  # the newest will do
                    waiting = [replace(moment, state=None) for moment in waiting]
                waiting.append(_moment(progress, state))
                if progress.ended or time.monotonic() - sent >= INTERVAL:
                    yield Moments(tuple(waiting))
                    waiting, sent = [], time.monotonic()
        last: Message = Finished()
    except Exception as error:  # whatever breaks one group is that group's outcome
        last = Broke(traceback.format_exc(), full(error))
    if waiting:
        yield Moments(tuple(waiting))
    yield last


def _state(progress: "Progress", keep: Keep, hold: Pace) -> State | None:
    if progress.ended:
        return Carried(progress.snapshot())
    return hold.timed(lambda: keep(progress.snapshot())) if progress.resumable and hold.due() else None


def _moment(progress: "Progress", state: State | None) -> Moment:
    return Moment(progress.record, progress.ended, progress.probes, progress.probing, progress.resumable, state)
