"""The driver of a cluster at work: what it hears from workers that pretend to train, and what that costs it."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import ray
from ray.cluster_utils import Cluster

from benchmarks.cluster_worker import Pretence, pretend_group
from bnexp.config.load import resolve
from bnexp.engines.cluster.workers import RayWorkers, Submit
from bnexp.engines.dispatch import dispatch
from bnexp.engines.messages import Job, Message, ProgressBatch
from bnexp.plan import TrialGroup, trials
from bnexp.runner.run import Recorder
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.writer import RunWriter


@contextmanager
def nodes(count: int, cpus: int) -> Iterator[str]:
    """Start a cluster of made-up CPUs on this machine, with its files in a folder of its own, and yield its address."""
    before = os.environ.get("RAY_TMPDIR")
    with tempfile.TemporaryDirectory(prefix="bn", ignore_cleanup_errors=True) as folder:
        os.environ |= {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
        has = {"num_cpus": cpus, "resources": {"seat": cpus}}
        size: dict[str, Any] = has | {"object_store_memory": 2**30, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=size)
        try:
            for _ in range(count - 1):
                cluster.add_node(**size)
            yield cluster.address
        finally:
            ray.shutdown()
            cluster.shutdown()
            del os.environ["RAY_TMPDIR"]
            os.environ |= {"RAY_TMPDIR": before} if before else {}


@dataclass(frozen=True)
class Clocks:
    """What clocks show at one moment, or between two."""

    wall: float = field(default_factory=time.perf_counter)
    loop: float = field(default_factory=time.thread_time)
    """CPU of the thread that listens and writes."""
    process: float = field(default_factory=time.process_time)
    """CPU of all threads, Ray's included."""

    def since(self, before: "Clocks") -> "Clocks":
        """Return what has passed."""
        return Clocks(self.wall - before.wall, self.loop - before.loop, self.process - before.process)


@dataclass
class Heard:
    """What came of some groups, from their first record to the last but one, and what it took."""

    messages: int = 0
    rows: int = 0
    spent: Clocks = field(default_factory=lambda: Clocks(0, 0, 0))
    writing: float = 0.0
    """CPU seconds in the recorder."""
    again: int = 0
    """Groups that broke off."""
    lags: list[float] = field(default_factory=list)
    """Seconds from the making of each record until it was written."""
    ending: float = 0.0
    """Seconds from the last but one record to the end."""
    whole: float = 0.0
    """Seconds from handing out to the end."""
    loop: float = 0.0
    """CPU seconds of the thread that listens, from handing out to the end."""

    @property
    def busy(self) -> float:
        """CPU seconds of all threads per second."""
        return self.spent.process / self.spent.wall

    def per_second(self, count: int) -> str:
        """Write how many there were a second."""
        return f"{count / self.spent.wall:,.0f}"

    @property
    def records(self) -> int:
        """How many were written."""
        return len(self.lags)

    @property
    def lag(self) -> str:
        """The median of the lags and the longest."""
        return f"{median(self.lags):.2f} ({max(self.lags):.2f})"


class _Listening(RayWorkers):
    """Counts the messages with records."""

    def __init__(self, submit: Submit):
        super().__init__(submit, {"CPU": 1})
        self.messages = 0

    def poll(self) -> Iterator[tuple[int, Message]]:
        for number, message in super().poll():
            self.messages += isinstance(message, ProgressBatch)
            yield number, message


def listen(groups: int, size: int, pretence: Pretence, seats: int = 1) -> Heard:
    """Let groups pretend to train, record what they say as `bnexp run` does, and say what it took.

    Args:
        groups: how many.
        size: trials of each.
        pretence: what they do.
        seats: that each takes up, so that few can be at work at once; a node has as many as CPUs.
    """
    config = resolve({"name": "driver", "seeds": groups * size, "arms": ["before"]}, "the benchmark")
    planned = trials(config)
    jobs = [Job.new(TrialGroup(planned[k * size : (k + 1) * size])) for k in range(groups)]
    takes: dict[str, Any] = {"num_cpus": 1, "resources": {"seat": seats}}
    task: Any = ray.remote(num_returns="streaming", max_retries=0, **takes)(pretend_group)
    pool = _Listening(lambda job: task.remote(job, pretence))
    with tempfile.TemporaryDirectory() as run:
        made = [job.group.numbers for job in jobs]
        with closing(RunWriter.create(Path(run), config, planned, {}, made)) as writer:
            recorder = Recorder(writer, Checkpoints(Path(run)), config.train.checkpoint_every)
            return _heard(jobs, pool, recorder)


def _heard(jobs: Sequence[Job], pool: _Listening, recorder: Recorder) -> Heard:
    heard, first, last, started = Heard(), None, None, Clocks()
    with closing(dispatch(jobs, pool, recorder.latest)) as events:
        for event in events:
            heard.again += not event.progress
            if not event.progress or event.progress.ended:
                recorder(event)
                continue
            first, record, before = first or Clocks(), event.progress.record, time.thread_time()
            recorder(event)
            heard.writing += time.thread_time() - before
            heard.lags.append(time.time() - record.seconds)
            heard.rows += len(record.trials)
            heard.messages, last = pool.messages, Clocks()
    end = Clocks()
    if first and last:
        heard.spent, heard.ending = last.since(first), end.wall - last.wall
    whole = end.since(started)
    heard.whole, heard.loop = whole.wall, whole.loop
    return heard
