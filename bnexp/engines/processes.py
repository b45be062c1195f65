"""Workers that are processes of this machine: each trains one group at a time and reports through a pipe.

Where it is safe, workers are forked: they find torch imported and the images in memory (11 ms a worker; importing torch
takes 1.5 s). Forking isn't safe for a worker that computes with several threads, since those of OpenMP don't survive a
fork, nor with CUDA, nor outside Linux; such workers are spawned, and get the images through shared memory.
"""

import ctypes
import gc
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, TypeVar

import torch
from torch import multiprocessing

from bnexp.config.text import counted
from bnexp.engines.devices import out_of_memory, release_memory
from bnexp.engines.messages import Job, Lost, Message, Started, messages
from bnexp.errors import BnexpError
from bnexp.training.loop import Progress

WAIT_SECONDS = 1.0
"""How long `poll` waits for messages before signals are looked at again."""
DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""

_inherited: list[Callable[[Any], Any]] = []
"""In a worker of side_by_side: its work."""
Item = TypeVar("Item")
Result = TypeVar("Result")
TrainingOn = Callable[[torch.device, Job], Generator[Progress, None, None]]
"""Trains a job's group on a device."""


@dataclass(frozen=True)
class Place:
    """What one worker trains on."""

    device: torch.device
    threads: int = 1
    """Threads of an operation on a CPU."""

    @property
    def forks(self) -> bool:
        """Whether a worker for this place can be forked."""
        return sys.platform == "linux" and self.device.type == "cpu" and self.threads == 1


@dataclass
class _Worker:
    place: Place
    process: BaseProcess
    connection: Connection
    job: int | None = None
    """Number of the job that it trains."""


class ProcessPool:
    """Worker processes on this machine, each started with its first job; one that dies is replaced.

    Args:
        places: one per worker.
        training_on: trains a job on a worker's device; has to be picklable where workers are spawned.
    """

    retries_errors = False
    """An error of a training would come again in another process of the same machine."""

    def __init__(self, places: Sequence[Place], training_on: TrainingOn):
        self._training_on = training_on
        self._waiting: deque[Job] = deque()
        self._free = deque(places)
        self._workers: list[_Worker] = []

    def start(self, job: Job) -> None:
        """Queue a job for the next free worker."""
        self._waiting.append(job)
        self._assign()

    def poll(self) -> Iterator[tuple[int, Message]]:
        """Wait a while for messages, and yield each with the number of its job."""
        ready = wait([worker.connection for worker in self._workers if worker.job is not None], WAIT_SECONDS)
        for worker in [each for each in self._workers if each.connection in ready]:
            number, message = worker.job, _receive(worker)
            assert number is not None
            if isinstance(message, Lost):
                self._workers.remove(worker)
                self._free.append(worker.place)
            elif message.last:
                worker.job = None
            yield number, message
        self._assign()

    def name(self, node: str) -> str:
        """Return the name of a worker for people."""
        return node

    def activity(self, nodes: Sequence[str]) -> str:
        """Describe the groups in training for people."""
        return f"{counted(len(nodes), 'group')} at once" if len(nodes) > 1 else ""

    def has_workers(self) -> bool:
        """Workers that die are replaced, so there always are some."""
        return True

    def stop(self) -> None:
        """Stop all training, and wait until the processes have ended."""
        self._waiting.clear()
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers = []

    def _assign(self) -> None:
        """Give waiting jobs to workers that have none, or to new ones where there is room."""
        while self._waiting:
            worker = next((each for each in self._workers if each.job is None), None)
            if worker is None:
                if not self._free:
                    return
                worker = self._start_worker(self._free.popleft())
                self._workers.append(worker)
            job = self._waiting.popleft()
            worker.job = job.number
            with suppress(OSError):  # a worker that died is noticed by poll
                worker.connection.send(job)

    def _start_worker(self, place: Place) -> _Worker:
        context: Any = multiprocessing.get_context("fork" if place.forks else "spawn")
        ours, theirs = context.Pipe()
        process: BaseProcess = context.Process(
            target=_work, args=(theirs, place, self._training_on, os.getpid()), name="bnexp worker", daemon=True
        )
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside threads. Ours only draw progress, and the worker never prints.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        return _Worker(place, process, ours)


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield the results of independent work on a CPU, in the order of the items; what an item raises is raised here.

    Args:
        work: workers inherit it with the data that it holds, so these are neither sent nor copied.
        items: picklable, as the results are.
        workers: forked processes with one thread each. With one, or where forking isn't safe, this process does all.

    Raises:
        BnexpError: a worker was killed.
    """
    if workers < 2 or not Place(torch.device("cpu")).forks:
        yield from map(work, items)
        return
    context: Any = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(workers, context, _inherit, (work, os.getpid()))
    try:
        yield from pool.map(_do_inherited, items)
    except BrokenProcessPool:
        raise BnexpError("a worker process was killed, mostly for lack of memory; try again with --workers 1") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _inherit(work: Callable[[Any], Any], parent: int) -> None:
    _begin(parent, 1)
    _inherited.append(work)


def _do_inherited(item: Any) -> Any:
    return _inherited[-1](item)


def _receive(worker: _Worker) -> Message:
    """Return the next message of a worker, or that it has died."""
    try:
        message: Message = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        worker.connection.close()
        code = worker.process.exitcode or 0
        return Lost(f"the worker process ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}")
    return message


def _work(connection: Connection, place: Place, training_on: TrainingOn, parent: int) -> None:
    """Train jobs as they come, until the parent ends or closes the pipe."""
    _begin(parent, place.threads)
    with suppress(EOFError, OSError):
        while True:
            job: Job = connection.recv()
            connection.send(Started("this machine"))
            for message in messages(job, partial(training_on, place.device), out_of_memory):
                connection.send(message)
            release_memory()


def _begin(parent: int, threads: int) -> None:
    """Make this process a worker: it leaves signals to its parent, ends with it, and computes with so many threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides what it means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with_parent(parent)
    gc.freeze()  # collecting garbage takes 0.25 s where it goes through all that was inherited
    torch.set_num_threads(threads)


def _end_with_parent(parent: int) -> None:
    """Let this process end when its parent does, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)
        return
    own = multiprocessing.parent_process()

    def watch() -> None:
        own.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
