"""The driver's side of training with workers: jobs are handed out, and what workers report becomes events.

It knows neither Ray nor processes: a `WorkerPool` starts jobs and reports messages about them.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bnexp.engines.messages import (
    TOO_LARGE,
    Ended,
    Event,
    Job,
    Latest,
    Message,
    ProgressBatch,
    Started,
    too_large,
)

ATTEMPTS = 3
"""A group that breaks so many times in a row without getting further has failed."""


class WorkerPool(Protocol):
    """Workers that train jobs."""

    retries_errors: bool
    """Whether training that raised an error is worth another attempt, as where workers are on different machines."""

    def start(self, job: Job) -> None:
        """Queue a job for the next free worker."""

    def poll(self) -> Iterator[tuple[int, Message]]:
        """Wait a while for messages, and yield each with the number of its job."""

    def activity(self, nodes: Sequence[str]) -> str:
        """Describe the groups in training for people, given the node of each."""

    def has_workers(self) -> bool:
        """Tell whether any worker is left that could train."""

    def stop(self) -> None:
        """Stop all training."""


def dispatch(jobs: Sequence[Job], pool: WorkerPool, latest: Latest) -> Generator[Event, None, None]:
    """Hand out jobs and yield what happens to them, until none is left.

    A job whose worker dies starts again from its newest state on the next free worker, as does one that breaks where
    errors are worth another attempt; after ATTEMPTS times without getting further it has failed. A job that doesn't fit
    the memory is cut in two.

    Args:
        jobs: in the order in which they should begin.
        pool: trains them.
        latest: returns the newest state of a job.
    """
    scheduler, had_workers = _Scheduler(pool, latest), True
    try:
        for job in jobs:
            scheduler.start(_RunningJob(job))
        while running := scheduler.running:
            messages = list(pool.poll())
            for number, message in messages:
                for event in scheduler.events(running[number], message):
                    nodes = [each.node for each in running.values() if each.node]
                    yield replace(event, activity=pool.activity(nodes))
            if not messages:
                alone, had_workers = had_workers, pool.has_workers()
                if alone and not had_workers:
                    first = next(iter(running.values()))
                    yield Event(first.job, activity="no node is left that could train: waiting for one")
    finally:
        pool.stop()


@dataclass
class _RunningJob:
    """A job that was handed out."""

    job: Job
    furthest: int = -1
    """The latest step ever reported."""
    failures: int = 0
    """How often it broke since then."""
    node: str = ""
    """Where it trains; empty while it waits."""
    left: set[int] = field(init=False)
    """Numbers of its trials that have not ended."""

    def __post_init__(self) -> None:
        self.left = set(self.job.group.numbers)


class _Scheduler:
    """Keeps track of the jobs in training."""

    def __init__(self, pool: WorkerPool, latest: Latest):
        self._pool, self._latest = pool, latest
        self.running: dict[int, _RunningJob] = {}

    def start(self, running: _RunningJob) -> None:
        """Hand out a job."""
        self.running[running.job.number] = running
        self._pool.start(running.job)

    def events(self, running: _RunningJob, message: Message) -> Iterator[Event]:
        """Yield the events that follow from a message."""
        match message:
            case Started(node):
                running.node = node
            case ProgressBatch(items):
                for progress in items:
                    if progress.record.step > running.furthest:
                        running.furthest, running.failures = progress.record.step, 0
                    running.left -= set(progress.ended)
                    yield Event(running.job, progress)
            case Ended():
                del self.running[running.job.number]
                if running.left:  # once all trials have ended, nothing else matters
                    yield from self._broken(running, message)

    def _broken(self, running: _RunningJob, end: Ended) -> Iterator[Event]:
        job, failure = running.job, end.failure or "its last records were lost"
        if end.preempted and len(running.left) == 1:
            yield from self._retry(running, f"{failure}\n{TOO_LARGE}")
        elif end.out_of_memory:
            cut = too_large(job, running.left, failure, self._latest)
            yield cut
            for part in cut.parts:
                self.start(_RunningJob(part))
        elif end.failure and not end.lost and not self._pool.retries_errors:
            yield Event(job, failure=failure)
        else:
            yield from self._retry(running, failure)

    def _retry(self, running: _RunningJob, failure: str) -> Iterator[Event]:
        """Start a job again from its newest state, or report that it has failed."""
        job, failures = running.job, running.failures + 1
        place = f"on {running.node}" if running.node else "before they began"
        if failures == ATTEMPTS:
            times = f"failed {ATTEMPTS} times without getting further, the last time {place}"
            yield Event(job, failure=f"{times}\n{failure}")
            return
        resume = self._latest(job.number) or job.resume
        # The checkpoint may hold trials of another job, if a process was stopped while it cut the group.
        resume = resume and resume.only(job.group.numbers)
        again = Job(job.number, job.group.only(resume.trials) if resume else job.group, resume)
        yield Event(job, parts=(again,), reason=f"broke off {place} ({failure.strip().splitlines()[-1]})")
        self.start(_RunningJob(again, running.furthest, failures))
