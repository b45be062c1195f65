"""Joining a Ray cluster, or starting Ray on this machine, and leaving it without a trace."""

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
from ray.exceptions import RayError

from bnexp.engines.cluster.engine import Cluster
from bnexp.engines.cluster.nodes import find_nodes
from bnexp.engines.cluster.workers import first_sentence
from bnexp.errors import InputError

NO_CLUSTER = "ray start --head starts a cluster; one that asks for a token takes RAY_AUTH_MODE=token"
KNOCK_SECONDS = 10.0
"""How long the address of a cluster may take to answer."""


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
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device}: expected auto, cpu or cuda, since Ray gives out the GPUs")
    if not 0 < gpus_per_group <= 1:
        raise InputError(f"--gpus-per-group {gpus_per_group:g}: expected a number above 0 and at most 1")
    with _joined(address):
        if device == "auto":
            device = "cuda" if ray.cluster_resources().get("GPU", 0) >= 1 else "cpu"
        yield Cluster(tuple(find_nodes(device)), torch.device(device), gpus_per_group)


@contextmanager
def _joined(address: str | None) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {} if address else {"include_dashboard": False}
    _quieten()
    with _own_signals():
        try:
            if address and address != "auto":
                _knock(address)
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


def _knock(address: str) -> None:
    """Raise what is wrong with an address where nobody answers: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("expected auto or HOST:PORT")
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


def _quieten() -> None:
    """Let Ray keep to itself what it prints of workers that died: it would stand between the lines that scripts read.

    `log_to_driver=False` leaves these messages; there is no public switch for them (Ray 2.60).
    """
    ray._private.worker._worker_logs_enabled = False
