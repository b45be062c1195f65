"""Joining a Ray cluster, or starting Ray on this machine, finding its machines, and leaving it without a trace."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import torch
from ray.exceptions import GetTimeoutError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bnexp.data.machine import device_name, free_memory
from bnexp.engines.cluster.engine import Cluster, Node, NodeInfo
from bnexp.engines.cluster.workers import differing, first_sentence, names_of, versions
from bnexp.engines.engine import NO_CLUSTER
from bnexp.errors import InputError

KNOCK_SECONDS = 10.0
"""How long the address of a cluster may take to answer."""
PROBE_SECONDS = 120.0
"""How long machines may take to answer: starting Python and importing torch, and a GPU that becomes free."""


@contextmanager
def ray_cluster(device: str, address: str | None, gpus_per_group: float) -> Iterator[Cluster]:
    """Join a Ray cluster, or start Ray on this machine, and leave it at the end.

    Args:
        device: auto, cpu or cuda.
        address: of the cluster, HOST:PORT or auto; None starts Ray on this machine.
        gpus_per_group: share of a GPU for each group, above 0 and up to 1.

    Raises:
        InputError: no cluster answers there, or it can't be trained on.
    """
    with _joined(address):
        if device == "auto":
            device = "cuda" if ray.cluster_resources().get("GPU", 0) >= 1 else "cpu"
        yield Cluster(tuple(find_nodes(device)), torch.device(device), gpus_per_group)


@contextmanager
def _joined(address: str | None) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {} if address else {"include_dashboard": False}
    _silence_worker_deaths()
    with _own_signals():
        try:
            if address and address != "auto":
                _check_reachable(address)
            ray.init(address or "local", log_to_driver=False, logging_level=logging.CRITICAL, **options)
        except (OSError, ValueError, RuntimeError, RayError) as error:
            said = first_sentence(error)
            if address:
                raise InputError(f"--address {address}: {said}; {NO_CLUSTER}") from error
            raise InputError(f"--engine ray: Ray did not start: {said}; see /tmp/ray/session_latest/logs") from error
    try:
        yield
    finally:
        with _own_signals():
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise an error if nobody answers: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handlers of signals, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _silence_worker_deaths() -> None:
    """Keep Ray from printing about workers that died, between the lines that scripts read.

    `log_to_driver=False` doesn't stop these messages; there is no public switch for them (Ray 2.60).
    """
    ray._private.worker._worker_logs_enabled = False


def probe_node(device: str) -> NodeInfo:
    """Return what this machine has. This is a task that Ray runs on every machine."""
    here = torch.device(device)
    return NodeInfo(versions(), device_name(here), free_memory(here))


def find_nodes(device: str) -> list[Node]:
    """Probe every machine that has what training on cpu or cuda needs.

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
