"""Workers that are processes of Ray: jobs become tasks, whose messages stream back."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from bnexp.executors.cluster.messages import Broke, Lost, Message
from bnexp.executors.cluster.states import received
from bnexp.executors.jobs import Job

WAIT_SECONDS = 1.0
"""How long to wait for messages before signals are looked at again."""

Submit = Callable[[Job], "ray.ObjectRefGenerator"]
"""Hands a job to Ray and returns the stream of its messages."""


class RayCrew:
    """Listens to the tasks of a run.

    Args:
        submit: hands a job to Ray.
    """

    def __init__(self, submit: Submit):
        self._submit = submit
        self._streams: dict[ray.ObjectRefGenerator, int] = {}
        self._names: Mapping[str, str] = {}

    def start(self, job: Job) -> None:
        """Let somebody train a job as soon as somebody is free."""
        self._streams[self._submit(job)] = job.number

    def heard(self) -> Iterator[tuple[int, Message]]:
        """Wait for messages, and yield them with the numbers of the jobs that they are about."""
        waiting: list[Any] = list(self._streams)
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        if not ready:
            ready, _ = ray.wait(waiting, num_returns=1, timeout=WAIT_SECONDS)
        for stream in ready:
            number = self._streams[stream]
            message = _next(stream)
            if message.last:
                del self._streams[stream]
            yield number, message

    def name(self, node: str) -> str:
        """Name a machine for people."""
        if node not in self._names:
            self._names = {**self._names, **node_names()}
        return self._names.get(node, node[:8])

    def manned(self) -> bool:
        """Whether any machine is left that could train."""
        return any(each["Alive"] and each["Resources"].get("CPU", 0) >= 1 for each in ray.nodes())

    def stop(self) -> None:
        """Let nobody train any further; the states that workers have put aside can still be fetched."""
        for stream in self._streams:
            ray.cancel(stream)
        self._streams.clear()


def node_names() -> Mapping[str, str]:
    """Return the names of the machines that live by Ray's: as they were given, or those of the hosts, told apart."""
    found = {
        each["NodeID"]: each["NodeName"]
        if each["NodeName"] != each["NodeManagerAddress"]
        else each["NodeManagerHostname"]
        for each in ray.nodes()
        if each["Alive"]
    }
    names = list(found.values())
    return {node: name if names.count(name) == 1 else f"{name}-{node[:6]}" for node, name in found.items()}


def _next(stream: "ray.ObjectRefGenerator") -> Message:
    """Return what comes next from a stream that has something."""
    try:
        return received(ray.get(next(stream)), stream)
    except StopIteration:
        return Lost("the worker ended without a word")
    except OutOfMemoryError as error:  # Ray ends workers before their machine comes to a halt
        return Broke(_line(error), full=True)
    except RayTaskError as error:
        return Lost(_line(error.cause or error))
    except RayError as error:
        return Lost(_line(error))


def _line(error: Exception) -> str:
    """Return the first sentence of what Ray has to say, which is long."""
    first = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    return f"{type(error).__name__}: {first}"
