"""What Ray runs on other machines: the training of one group, and a look at a machine."""

import socket
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version

import ray
import torch
from ray.exceptions import RayError

from bnexp import __version__
from bnexp.config.probes import ProbeSettings
from bnexp.data.dataset import Dataset
from bnexp.data.room import free_memory
from bnexp.executors.cluster.sentences import first_sentence
from bnexp.executors.cluster.states import States, sent
from bnexp.executors.datasets import data_key
from bnexp.executors.devices import device_name
from bnexp.executors.jobs import Job
from bnexp.executors.memory import out_of_memory, release_memory
from bnexp.executors.messages import Begun, Broke, Message
from bnexp.executors.worker import messages
from bnexp.records import Snapshot
from bnexp.training.loop import Progress, train

FETCH_SECONDS = 600.0
"""How long a data set may take to reach a machine."""


@dataclass(frozen=True)
class Assignment:
    """What is the same for all groups of a run."""

    device: str
    """cpu or cuda: Ray lets a worker see no GPU but its own."""
    data: "Mapping[str, ray.ObjectRef[Dataset]]"
    """Where the data sets lie, by data_key."""
    probes: tuple[ProbeSettings, ...]
    states: States
    held_share: float
    """Share of a worker's time that copies of the state take at most."""
    versions: Mapping[str, str]
    """Of the programs that it was made for."""


def train_group(job: Job, assignment: Assignment, threads: int) -> Iterator[Message | Snapshot]:
    """Train a group, and say how it goes; see states.sent for what comes between the messages.

    Args:
        job: the group.
        assignment: on what and how.
        threads: for large updates on a CPU; Ray sets another count by itself, on which the last digits depend.
    """
    yield Begun(ray.get_runtime_context().get_node_id())
    if others := differing(versions(), assignment.versions):  # a node that came later
        yield Broke(f"{socket.gethostname()} has {', '.join(others)}", full=False)
        return
    torch.set_num_threads(threads)

    def training(job: Job) -> Generator[Progress, None, None]:
        data = _fetched(job, assignment).to(torch.device(assignment.device))
        return train(job.group, data, job.resume, assignment.probes)

    for message in messages(job, training, assignment.states.keep, out_of_memory, assignment.held_share):
        yield from sent(message)
    release_memory()  # the process stays for the next group


def _fetched(job: Job, assignment: Assignment) -> Dataset:
    """Return the data set of a group, which comes to each machine once, whoever asks for it there."""
    try:
        return ray.get(assignment.data[data_key(job.group)], timeout=FETCH_SECONDS)
    except RayError as error:
        name = job.group.settings.data.name
        raise RuntimeError(f"{name} did not reach {socket.gethostname()}: {first_sentence(error)}") from error


@dataclass(frozen=True)
class Look:
    """What a machine says of itself."""

    versions: Mapping[str, str]
    device_name: str
    free: int
    """Bytes that its device has to spare."""
    sees: bool = True
    """Whether it can leave states where it should."""


def look(device: str, states: States) -> Look:
    """Tell what a machine has."""
    here = torch.device(device)
    return Look(versions(), device_name(here), free_memory(here), states.reachable())


def differing(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Say what a machine has in another version than this one."""
    return [
        f"{name} {there[name]} in place of {mine}; install the same"
        for name, mine in here.items()
        if there[name] != mine
    ]


def versions() -> Mapping[str, str]:
    """Return what has to be the same on all machines, for the same numbers to come out."""
    return {"bnexp": __version__, "torch": version("torch")}
