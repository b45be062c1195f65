"""Workers that are processes of Ray: jobs become tasks, whose messages stream back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from bnexp.config.text import counted
from bnexp.engines.cluster.states import first_sentence, received
from bnexp.engines.messages import Broke, Job, Lost, Message

WAIT_SECONDS = 1.0
"""How long to wait for messages before signals are looked at again."""

Submit = Callable[[Job], "ray.ObjectRefGenerator"]
"""Hands a job to Ray and returns the stream of its messages."""


class RayWorkers:
    """Listens to the tasks of a run.

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
        """Let somebody train a job as soon as somebody is free."""
        self._streams[self._submit(job)] = job.number

    def poll(self) -> Iterator[tuple[int, Message]]:
        """Wait for messages, and yield them with the numbers of the jobs that they are about."""
        waiting: list[Any] = list(self._streams)
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        if not ready:
            ready, _ = ray.wait(waiting, num_returns=1, timeout=WAIT_SECONDS)
        for stream in ready:
            number = self._streams[stream]
            for message in _next(stream):
                if message.last:
                    del self._streams[stream]
                if isinstance(message, Lost):
                    ray.cancel(stream)  # if it lives after all, another one has its group now
                yield number, message

    def name(self, node: str) -> str:
        """Name a machine for people."""
        if node not in self._names:
            self._names = {**self._names, **node_names()}
        return self._names.get(node, node[:8])

    def activity(self, nodes: Sequence[str]) -> str:
        """Describe the groups in training for people."""
        return f"{counted(len(nodes), 'group')} on {counted(len(set(nodes)), 'node')}"

    def has_workers(self) -> bool:
        """Whether any machine is left that could train."""
        return any(
            each["Alive"] and all(each["Resources"].get(name, 0) >= count for name, count in self._needs.items())
            for each in ray.nodes()
        )

    def stop(self) -> None:
        """Let nobody train any further; the states that workers have put aside can still be fetched."""
        for stream in self._streams:
            ray.cancel(stream)
        self._streams.clear()


def node_names() -> Mapping[str, str]:
    """Return the names of the machines that live, by Ray's."""
    return names_of([each for each in ray.nodes() if each["Alive"]])


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


def _next(stream: "ray.ObjectRefGenerator") -> Iterator[Message]:
    """Yield what comes next from a stream that has something: a message, its end, or both."""
    try:
        message, error = received(ray.get(next(stream)), stream)
    except (StopIteration, RayError) as ended:
        yield _end(ended)
        return
    yield message
    if error:
        yield _end(error)


def _end(error: StopIteration | RayError) -> Message:
    """Say what has ended a worker."""
    if isinstance(error, StopIteration):
        return Lost("the worker ended without a word")
    if isinstance(error, OutOfMemoryError):  # Ray ends workers before their machine comes to a halt
        return Broke(_line(error), full=True, blameless=True)
    cause = error.cause if isinstance(error, RayTaskError) else None
    return Lost(_line(cause or error))


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {first_sentence(error)}"
