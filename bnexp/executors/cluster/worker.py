"""The worker's side: a training becomes messages, few enough that one driver can listen to many workers."""

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from bnexp import pace
from bnexp.executors.cluster.messages import Broke, Finished, Message, Moment, Moments, State
from bnexp.executors.jobs import Job
from bnexp.pace import Pace
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
    held_share: float = pace.HELD_SHARE,
) -> Iterator[Message]:
    """Train a job and yield what the driver should know; whatever breaks the training is said, not raised.

    States are copied as often as costs at most a share of the time, and always when trials end.

    Args:
        job: the group.
        training: trains it.
        keep: puts a state where the driver can fetch it.
        full: tells errors of too little memory.
        held_share: the share of the time.
    """
    waiting: list[Moment] = []
    sent = float("-inf")
    try:
        with closing(training(job)) as records:
            for moment in _moments(records, keep, held_share):
                waiting.append(moment)
                if moment.ended or time.monotonic() - sent >= INTERVAL:
                    yield Moments(tuple(waiting))
                    waiting.clear()
                    sent = time.monotonic()
        last: Message = Finished()
    except Exception as error:  # whatever breaks one group is that group's outcome
        last = Broke(traceback.format_exc(), full(error))
    if waiting:
        yield Moments(tuple(waiting))
    yield last


def _moments(records: "Iterator[Progress]", keep: Keep, held_share: float) -> Iterator[Moment]:
    hold = Pace(0, held_share)  # due at once
    for progress in records:
        state = None
        if progress.ended or (progress.resumable and hold.due()):
            state = hold.timed(lambda progress=progress: keep(progress.snapshot()))  # type: ignore[misc]
        yield Moment(progress.record, progress.ended, progress.probes, progress.probing, progress.resumable, state)
