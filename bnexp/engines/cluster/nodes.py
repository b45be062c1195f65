"""The machines of a cluster: what each has to train with, and whether it runs the same programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.exceptions import GetTimeoutError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bnexp.data.machine import free_memory
from bnexp.engines.cluster.workers import differing, names_of, versions
from bnexp.engines.devices import device_name
from bnexp.errors import InputError

PROBE_SECONDS = 120.0
"""How long machines may take to answer: starting Python and importing torch, and a GPU that becomes free."""


@dataclass(frozen=True)
class NodeInfo:
    """What a machine reports of itself."""

    versions: Mapping[str, str]
    device_name: str
    free: int
    """Bytes that its device has to spare."""


@dataclass(frozen=True)
class Node:
    """One machine that groups can train on."""

    name: str
    cpus: int
    gpus: int
    memory: int
    """Bytes of its memory that Ray gives out."""
    info: NodeInfo


def probe_node(device: str) -> NodeInfo:
    """Return what this machine has. This is a task that Ray runs on every machine."""
    here = torch.device(device)
    return NodeInfo(versions(), device_name(here), free_memory(here))


def find_nodes(device: str) -> list[Node]:
    """Probe every machine that has what training on cpu or cuda takes.

    Raises:
        InputError: none has it; one doesn't answer, or runs other programs.
    """
    kinds = ("GPU", "CPU") if device == "cuda" else ("CPU",)
    able = [each for each in ray.nodes() if each["Alive"] and all(each["Resources"].get(k, 0) >= 1 for k in kinds)]
    names = names_of(able)
    answers = [_probing(each["NodeID"], device) for each in able]
    if answers:
        ray.wait(answers, num_returns=len(answers), timeout=PROBE_SECONDS)
    nodes, problems = [], []
    for each, answer in zip(able, answers, strict=True):
        name, has = names[each["NodeID"]], each["Resources"]
        try:
            info = ray.get(answer, timeout=0)
        except TaskUnschedulableError:
            continue  # it has just died
        except GetTimeoutError:
            busy = f"its {kinds[0]}s may be busy; wait, or take it out of the cluster"
            problems.append(f"node {name} doesn't answer: {busy}")
        except RayError as error:
            problems.append(f"node {name} can't train: {str(error).strip().splitlines()[-1]}; install bnexp there")
        else:
            cpus, gpus, memory = (int(has.get(kind, 0)) for kind in ("CPU", "GPU", "memory"))
            nodes.append(Node(name, cpus, gpus, memory, info))
    problems += [f"node {node.name} has {each}" for node in nodes for each in differing(node.info.versions, versions())]
    if not nodes and not problems:
        problems = [f"no node of the cluster has a {' and a '.join(kinds)}; add one, or choose with --device"]
    if problems:
        raise InputError("\n".join(problems))
    return nodes


def _probing(node: str, device: str) -> "ray.ObjectRef[NodeInfo]":
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    gpus: dict[str, Any] = {"num_gpus": 0.01, "max_calls": 1} if device == "cuda" else {}
    task: Any = ray.remote(num_cpus=0, max_retries=0, **gpus)(probe_node)
    answer: ray.ObjectRef[NodeInfo] = task.options(scheduling_strategy=there).remote(device)
    return answer
