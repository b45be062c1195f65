"""Workers that are processes of this machine: each trains one group at a time and reports through a pipe.

Where it is safe, workers are forked: they find torch imported and the images in memory (11 ms a worker; importing torch
takes 1.5 s). Forking isn't safe for a worker that computes with several threads, since those of OpenMP don't survive a
fork, nor with CUDA, nor outside Linux; such workers are spawned, and get the images through shared memory. They don't
import the script that trains: unless it asks for its own name, it would begin the run again.
"""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

import torch
from torch import multiprocessing

from bnexp.config.text import counted
from bnexp.engines.devices import out_of_memory, release_memory
from bnexp.engines.forked import FORKS, begin_worker, forking
from bnexp.engines.messages import Job, Lost, Message, Started, messages
from bnexp.training.loop import Found

WAIT_SECONDS = 1.0
"""How long `poll` waits for messages before signals are looked at again."""
TrainingOn = Callable[[torch.device, Job], Generator[Found, None, None]]
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
        return FORKS and self.device.type == "cpu" and self.threads == 1


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
        return f"{counted(len(nodes), 'group')} training" if len(nodes) > 1 else ""

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
        with forking() if place.forks else _without_script():
            process.start()
        theirs.close()
        return _Worker(place, process, ours)


@contextmanager
def _without_script() -> Iterator[None]:
    """Hide the script from multiprocessing, which has every spawned process import it."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


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
    begin_worker(parent, place.threads)
    with suppress(EOFError, OSError):
        while True:
            job: Job = connection.recv()
            connection.send(Started("this machine"))
            for message in messages(job, partial(training_on, place.device), out_of_memory):
                connection.send(message)
            release_memory()
