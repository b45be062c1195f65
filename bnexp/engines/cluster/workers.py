"""Workers that are processes of Ray: what they run, and how the driver hears of them."""

import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import ray
import torch
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from bnexp import __version__
from bnexp.config.probes import ProbeSettings
from bnexp.config.text import counted
from bnexp.data.dataset import Dataset
from bnexp.engines.devices import data_key, out_of_memory, release_memory
from bnexp.engines.messages import HEARTBEAT, Failed, Job, Lost, Message, Started, messages
from bnexp.training.loop import Found, train

WAIT_SECONDS = 1.0
"""How long `poll` waits for messages before signals are looked at again."""
GATHER_SECONDS = 0.1
"""Messages of this many seconds are read together, since looking for messages takes time for every group."""
FETCH_SECONDS = 600.0
"""How long a data set may take to reach a machine."""
BANDWIDTH = 2.5e8
"""Bytes a second that states are counted with on their way to the driver: they take little of its network."""

Submit = Callable[[Job], "ray.ObjectRefGenerator"]
"""Hands a job to Ray and returns the stream of its messages."""


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of an error's message, or its name where it has none."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0].partition(". ")[0].rstrip(".")


def versions() -> Mapping[str, str]:
    """Return what has to be the same on all machines, for the same numbers to come out."""
    return {"bnexp": __version__, "torch": version("torch")}


def differing(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Name what a machine has in another version than this one."""
    return [
        f"{name} {there[name]} in place of {mine}; install the same"
        for name, mine in here.items()
        if there[name] != mine
    ]


@dataclass(frozen=True)
class Assignment:
    """What is the same for all groups of a run."""

    device: str
    """cpu or cuda: Ray lets a worker see no GPU but its own."""
    data: "Mapping[str, ray.ObjectRef[Dataset]]"
    """Where the data sets lie, by data_key."""
    probes: tuple[ProbeSettings, ...]
    held_share: float
    """Share of a worker's time that copies of the state take at most."""
    versions: Mapping[str, str]
    """Versions of the driver's programs."""


def train_group(job: Job, assignment: Assignment, threads: int) -> Iterator[Message]:
    """Train a group, and report how it goes. This is the task that Ray runs.

    Args:
        job: the group.
        assignment: on what and how.
        threads: for large updates on a CPU; Ray sets another count by itself, on which the last digits depend.
    """
    yield Started(ray.get_runtime_context().get_node_id())
    if others := differing(versions(), assignment.versions):  # a node that came later
        yield Failed(f"{socket.gethostname()} has {', '.join(others)}", out_of_memory=False)
        return
    torch.set_num_threads(threads)

    def training(job: Job) -> Generator[Found, None, None]:
        try:  # it comes to each machine once, whoever asks for it there
            data: Dataset = ray.get(assignment.data[data_key(job.group)], timeout=FETCH_SECONDS)
        except RayError as error:
            name = job.group.settings.data.name
            raise RuntimeError(f"{name} did not reach {socket.gethostname()}: {first_sentence(error)}") from error
        data = data.to(torch.device(assignment.device))
        return train(job.group, data, job.resume, assignment.probes, job.until, heartbeat=HEARTBEAT)

    yield from messages(job, training, out_of_memory, assignment.held_share, BANDWIDTH)
    release_memory()  # the process stays for the next group


class RayWorkers:
    """The pool of a run's tasks; see WorkerPool.

    Args:
        submit: hands a job to Ray.
        needs: what the smallest group asks of a machine, by Ray's names.
    """

    retries_errors = True

    def __init__(self, submit: Submit, needs: Mapping[str, float]):
        self._submit, self._needs = submit, needs
        self._streams: dict[ray.ObjectRefGenerator, int] = {}
        self._names: Mapping[str, str] = {}

    def start(self, job: Job) -> None:
        """Queue a job for the next free worker."""
        self._streams[self._submit(job)] = job.number

    def poll(self) -> Iterator[tuple[int, Message]]:
        """Wait a while for messages, and yield each with the number of its job."""
        waiting: list[Any] = list(self._streams)
        ready: list[Any] = []
        until = time.monotonic() + WAIT_SECONDS
        while not ready and time.monotonic() < until:
            ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=GATHER_SECONDS)
        for stream in ready:
            number, message = self._streams[stream], _next(stream)
            if message.last:
                del self._streams[stream]
            if isinstance(message, Lost):
                ray.cancel(stream)  # if it lives after all, another one has its group now
            yield number, message

    def name(self, node: str) -> str:
        """Return the name of a node for people."""
        if node not in self._names:
            self._names = {**self._names, **names_of([each for each in ray.nodes() if each["Alive"]])}
        return self._names.get(node, node[:8])

    def activity(self, nodes: Sequence[str]) -> str:
        """Describe the groups in training for people."""
        return f"{counted(len(nodes), 'group')} on {counted(len(set(nodes)), 'node')}"

    def has_workers(self) -> bool:
        """Tell whether any machine is left that could train."""
        return any(
            each["Alive"] and all(each["Resources"].get(name, 0) >= count for name, count in self._needs.items())
            for each in ray.nodes()
        )

    def stop(self) -> None:
        """Stop all training."""
        for stream in self._streams:
            ray.cancel(stream)
        self._streams.clear()


def names_of(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """Return the names of machines by Ray's: as they were given, or those of the hosts, told apart."""
    found = {
        each["NodeID"]: each["NodeName"]
        if each["NodeName"] != each["NodeManagerAddress"]
        else each["NodeManagerHostname"]
        for each in entries
    }
    names = list(found.values())
    return {node: name if names.count(name) == 1 else f"{name}-{node[:6]}" for node, name in found.items()}


def _next(stream: "ray.ObjectRefGenerator") -> Message:
    """Return the next message of a stream that has one, or why there is none."""
    try:
        message: Message = ray.get(next(stream))
    except StopIteration:
        return Lost("the worker ended without a word")
    except OutOfMemoryError as error:  # Ray ends workers before their machine comes to a halt
        return Failed(_named(error), out_of_memory=True, preempted=True)
    except RayTaskError as error:
        return Lost(_named(error.cause or error))
    except RayError as error:
        return Lost(_named(error))
    return message


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {first_sentence(error)}"
