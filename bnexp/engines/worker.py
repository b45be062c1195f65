"""The worker's side: a training becomes messages, few enough that one driver can listen to many workers."""

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from bnexp.engines import throttle
from bnexp.engines.messages import Failed, Finished, Job, Message, ProgressBatch, ProgressItem
from bnexp.engines.throttle import Throttle
from bnexp.records import Snapshot

if TYPE_CHECKING:
    from bnexp.training.loop import Progress

INTERVAL = 0.25
"""Seconds between messages at least; records that come sooner wait for the next one, or for the end."""
Training = Callable[[Job], "Generator[Progress, None, None]"]
"""Trains a job's group; see train."""


def messages(
    job: Job,
    training: Training,
    out_of_memory: Callable[[BaseException], bool],
    held_share: float = throttle.HELD_SHARE,
    bandwidth: float = float("inf"),
) -> Iterator[Message]:
    """Train a job and yield what the driver should know; whatever breaks the training is reported, not raised.

    A message takes the newest state with it as often as costs at most a share of the time, and always when trials end.

    Args:
        job: the group.
        training: trains it.
        out_of_memory: tells errors of too little memory.
        held_share: the share of the time.
        bandwidth: bytes a second in which a state reaches the driver, which counts as time that it costs.
    """
    waiting: list[ProgressItem] = []
    sent, copies = float("-inf"), Throttle(0, held_share)  # due at once
    try:
        with closing(training(job)) as records:
            for progress in records:
                state = None
                if progress.ended:
                    state = progress.snapshot()
                elif progress.resumable and copies.due():
                    state = copies.run(progress.snapshot)
                    copies.charge(_size(state) / bandwidth)
                    waiting = [replace(item, state=None) for item in waiting]  # the newest will do
                waiting.append(_item(progress, state))
                if progress.ended or time.monotonic() - sent >= INTERVAL:
                    yield ProgressBatch(tuple(waiting))
                    waiting, sent = [], time.monotonic()
        last: Message = Finished()
    except Exception as error:  # whatever breaks one group is that group's outcome
        last = Failed(traceback.format_exc(), out_of_memory(error))
    if waiting:
        yield ProgressBatch(tuple(waiting))
    yield last


def _size(state: Snapshot) -> int:
    return sum(array.nbytes for array in state.arrays.values())


def _item(progress: "Progress", state: Snapshot | None) -> ProgressItem:
    return ProgressItem(progress.record, progress.ended, progress.probes, progress.probing, progress.resumable, state)
