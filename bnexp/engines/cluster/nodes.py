"""The machines of a cluster: what each has to train with, and whether it runs the same programs."""

import socket
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import ray
import torch
from ray.exceptions import GetTimeoutError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bnexp import __version__
from bnexp.config.probes import ProbeSettings
from bnexp.data.dataset import Dataset
from bnexp.data.machine import free_memory
from bnexp.engines.cluster.ray_workers import names_of
from bnexp.engines.cluster.states import States, first_sentence, sent
from bnexp.engines.devices import data_key, device_name, out_of_memory, release_memory
from bnexp.engines.messages import Begun, Broke, Job, Message
from bnexp.engines.worker import messages
from bnexp.errors import InputError
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


LOOK_SECONDS = 120.0
"""How long machines may take to answer: starting Python and importing torch, and a GPU that becomes free."""


@dataclass(frozen=True)
class Node:
    """One machine that groups can train on."""

    name: str
    cpus: int
    gpus: int
    memory: int
    """Bytes of its memory that Ray gives out."""
    seen: Look


def find_nodes(device: str, states: States) -> list[Node]:
    """Look at every machine that has what training takes.

    Args:
        device: cpu or cuda.
        states: where they will leave states.

    Raises:
        InputError: none has it; one doesn't answer, or runs other programs.
    """
    kinds = ("GPU", "CPU") if device == "cuda" else ("CPU",)
    kind = kinds[0]
    able = [each for each in ray.nodes() if each["Alive"] and all(each["Resources"].get(k, 0) >= 1 for k in kinds)]
    names = names_of(able)
    looks = [_looking(each["NodeID"], device, states) for each in able]
    if looks:
        ray.wait(looks, num_returns=len(looks), timeout=LOOK_SECONDS)
    nodes, problems = [], []
    for each, answer in zip(able, looks, strict=True):
        name = names[each["NodeID"]]
        try:
            node = _node(name, each, ray.get(answer, timeout=0))
        except TaskUnschedulableError:
            continue  # it has just died
        except GetTimeoutError:
            problems.append(f"node {name} doesn't answer: its {kind}s may be busy; wait, or take it out of the cluster")
        except RayError as error:
            problems.append(f"node {name} can't train: {str(error).strip().splitlines()[-1]}; install bnexp there")
        else:
            nodes.append(node)
    problems += [f"node {node.name} can't write to the folder of --checkpoints" for node in nodes if not node.seen.sees]
    problems += [f"node {node.name} has {each}" for node in nodes for each in differing(node.seen.versions, versions())]
    if not nodes and not problems:
        problems = [f"no node of the cluster has a {' and a '.join(kinds)}; add one, or choose with --device"]
    if problems:
        raise InputError("\n".join(problems))
    return nodes


def _looking(node: str, device: str, states: States) -> "ray.ObjectRef[Look]":
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    gpus: dict[str, Any] = {"num_gpus": 0.01, "max_calls": 1} if device == "cuda" else {}
    task: Any = ray.remote(num_cpus=0, max_retries=0, **gpus)(look)
    answer: ray.ObjectRef[Look] = task.options(scheduling_strategy=there).remote(device, states)
    return answer


def _node(name: str, entry: dict[str, Any], seen: Look) -> Node:
    has = entry["Resources"]
    counts = int(has.get("CPU", 0)), int(has.get("GPU", 0)), int(has.get("memory", 0))
    return Node(name, *counts, seen)
