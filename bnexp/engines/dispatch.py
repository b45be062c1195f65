"""The driver's side of training with workers: jobs are handed out, and what workers report becomes events.

It knows neither Ray nor processes: a `WorkerPool` starts jobs and reports messages about them.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bnexp.engines.messages import (
    TOO_LARGE,
    Event,
    Failed,
    Finished,
    Job,
    Latest,
    Lost,
    Message,
    ProgressBatch,
    ProgressItem,
    Started,
    Working,
    broken,
)
from bnexp.training.loop import Progress

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

    def name(self, node: str) -> str:
        """Return the name of a node for people."""

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
    scheduler = _Scheduler(pool, latest)
    try:
        for job in jobs:
            scheduler.start(_RunningJob(job))
        while scheduler.running:
            messages = list(pool.poll())
            for number, message in messages:
                for event in scheduler.events(number, message):
                    yield replace(event, activity=scheduler.activity())
            if not messages:
                yield from scheduler.idle()
    finally:
        pool.stop()


@dataclass
class _RunningJob:
    """A job that was handed out."""

    job: Job
    left: set[int] = field(init=False)
    """Numbers of its trials that have neither ended nor paused."""
    node: str = ""
    """Where it trains; empty while it waits."""
    step: int = -1
    """The latest step reported."""
    furthest: int = -1
    """The latest step reported before it last broke."""
    failures: int = 0
    """How often it broke since it last got further than ever before."""

    def __post_init__(self) -> None:
        self.left = set(self.job.group.numbers)

    @property
    def place(self) -> str:
        """Where it trains, for people."""
        return f"on {self.node}" if self.node else "before they began"


class _Scheduler:
    """Keeps track of the jobs in training."""

    def __init__(self, pool: WorkerPool, latest: Latest):
        self._pool, self._latest = pool, latest
        self.running: dict[int, _RunningJob] = {}
        self._had_workers = True

    def start(self, running: _RunningJob) -> None:
        """Hand out a job."""
        self.running[running.job.number] = running
        self._pool.start(running.job)

    def activity(self) -> str:
        """Describe the groups in training."""
        return self._pool.activity([running.node for running in self.running.values() if running.node])

    def idle(self) -> Iterator[Event]:
        """Report, once, that no worker is left."""
        had_workers, self._had_workers = self._had_workers, self._pool.has_workers()
        if had_workers and not self._had_workers:
            first = next(iter(self.running.values()))
            yield Event(first.job, activity="no node is left that could train: waiting for one")

    def events(self, number: int, message: Message) -> Iterator[Event]:
        """Yield the events that follow from a message."""
        running = self.running[number]
        match message:
            case Started(node):
                running.node = self._pool.name(node)
                yield Event(running.job, step=running.job.begins)
            case ProgressBatch(items):
                for item in items:
                    running.step = max(running.step, item.record.step)
                    running.left = set() if item.paused else running.left - set(item.ended)
                    yield Event(running.job, _progress(item))
            case Working(step):
                yield Event(running.job, step=step)
            case _ if not running.left:  # no trial trains any more: nothing else matters
                del self.running[number]
            case Failed(failure, preempted=True) if len(running.left) == 1:
                yield from self._retry(running, f"{failure}\n{TOO_LARGE}")
            case Failed(failure, out_of_memory=True):
                event = broken(running.job, running.left, failure, out_of_memory=True, latest=self._latest)
                yield from self._end(running, event)
            case Failed(failure) if not self._pool.retries_errors:
                yield from self._end(running, Event(running.job, failure=failure))
            case Failed(failure) | Lost(failure):
                yield from self._retry(running, failure)
            case Finished():
                yield from self._retry(running, "its last records were lost")

    def _retry(self, running: _RunningJob, failure: str) -> Iterator[Event]:
        """Start a job again from its newest state, or report that it has failed."""
        job, last = running.job, failure.strip().splitlines()[-1]
        failures = 1 if running.step > running.furthest else running.failures + 1
        if failures == ATTEMPTS:
            times = f"failed {ATTEMPTS} times without getting further, the last time {running.place}"
            yield from self._end(running, Event(job, failure=f"{times}\n{failure}"))
            return
        resume = self._latest(job.number) or job.resume
        # The checkpoint may hold trials of another job, if a process was stopped while it cut the group.
        resume = resume and resume.only(job.group.numbers)
        again = replace(job, group=job.group.only(resume.trials) if resume else job.group, resume=resume)
        event = Event(job, parts=(again,), reason=f"broke off {running.place} ({last})")
        yield from self._end(running, event, max(running.furthest, running.step), failures)

    def _end(self, running: _RunningJob, event: Event, furthest: int = -1, failures: int = 0) -> Iterator[Event]:
        """Yield the last event of a job, and hand out the jobs that replace it."""
        del self.running[running.job.number]
        yield event
        for part in event.parts:
            self.start(_RunningJob(part, furthest=furthest, failures=failures))


def _progress(item: ProgressItem) -> Progress:
    """Return an item as the training loop yields it."""
    resumable = item.resumable and item.state is not None
    found = item.probes, item.probing
    return Progress(
        item.record, item.ended, item.snapshot, *found, resumable, lasting=True, notes=item.notes, paused=item.paused
    )
