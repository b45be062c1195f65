"""The machines of a cluster: what each has to train with, and whether it runs the same programs."""

from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bnexp.errors import InputError
from bnexp.executors.cluster.ray_workers import names_of
from bnexp.executors.cluster.states import States
from bnexp.executors.cluster.tasks import Look, differing, look, versions

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
