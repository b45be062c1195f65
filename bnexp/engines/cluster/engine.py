"""The engine that trains on the nodes of a Ray cluster: what fits them, and what each gets."""

import socket
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from bnexp.config.probes import ProbeSettings
from bnexp.config.text import counted
from bnexp.data.catalog import DataShape
from bnexp.engines.cluster.workers import Assignment, RayWorkers, first_sentence, train_group, versions
from bnexp.engines.devices import Datasets, data_key, load_data
from bnexp.engines.dispatch import dispatch
from bnexp.engines.messages import Event, Job, Latest
from bnexp.engines.planning import ShapeOf, balance, split_to_fit
from bnexp.engines.throttle import HELD_SHARE
from bnexp.errors import BnexpError, InputError
from bnexp.plan import TrialGroup
from bnexp.training.estimate import footprint, image_bytes
from bnexp.training.work import Demand, training_cost

PROCESS = 2**29
"""Bytes that a worker takes before it has a group: Python and torch."""
GPU_PROCESS = 2**32
"""The same with CUDA's libraries, and what is copied from the GPU."""
MEMORY_STEP = 2**28
"""Requests are rounded up to this, so that Ray sees few kinds of tasks and hands them out in their order."""


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


@dataclass(frozen=True)
class Cluster:
    """The engine on the nodes of a Ray cluster; see Engine."""

    nodes: tuple[Node, ...]
    device: torch.device
    """cpu, or the GPU that Ray gives to a worker."""
    gpus_per_group: float
    held_share: float = HELD_SHARE
    """The largest share of a worker's time that copies of the state may take."""

    @property
    def place(self) -> str:
        """Where it trains, for people."""
        names = ", ".join(node.name for node in self.nodes)
        kind, count = ("GPU", sum(node.gpus for node in self.nodes)) if self._on_gpu else ("CPU", self._cpus)
        return f"{counted(len(self.nodes), 'node')} ({names}) with {counted(count, kind)}"

    def load(self, groups: Sequence[TrialGroup]) -> Datasets:
        """Load what groups train on into this machine's memory. From there it goes to each node once."""
        try:
            return load_data(groups, torch.device("cpu"))
        except InputError as error:
            raise InputError(f"{error} (on {socket.gethostname()}, from where the nodes get their data)") from error

    def schedule(
        self, groups: Sequence[TrialGroup], shape_of: ShapeOf, probes: Sequence[ProbeSettings], *, begun: bool
    ) -> list[TrialGroup]:
        """Cut groups so that they fit a node and, unless they have begun, all nodes are busy; longest first."""

        def cost_of(group: TrialGroup) -> Demand:
            return training_cost(group, shape_of(group), self.device)

        cpus = self._threads(sum(len(group.trials) for group in groups))
        data = max((image_bytes(group, shape_of(group), self.device) for group in groups), default=0)
        fit = split_to_fit(groups, shape_of, self._room(cpus) - data, self.device, probes)
        if begun:
            return sorted(fit, key=lambda group: cost_of(group).of(len(group.trials)), reverse=True)
        places = sum(self._places(node, cpus) for node in self.nodes)
        return balance(fit, cost_of, places)

    def execute(
        self, jobs: Sequence[Job], datasets: Datasets, latest: Latest, probes: Sequence[ProbeSettings], trials: int
    ) -> Generator[Event, None, None]:
        """Train jobs wherever there is room; see dispatch."""
        try:
            yield from dispatch(jobs, self._workers(jobs, datasets, probes, self._threads(trials)), latest)
        except RayError as error:
            raise BnexpError(f"Ray has failed: {first_sentence(error)}; the same command continues") from error

    def _workers(
        self, jobs: Sequence[Job], datasets: Datasets, probes: Sequence[ProbeSettings], threads: int
    ) -> RayWorkers:
        """Put the data where all nodes can get them, and return the pool that trains on them."""
        data = {key: ray.put(datasets[key]) for key in {data_key(job.group) for job in jobs}}
        assignment = ray.put(Assignment(self.device.type, data, tuple(probes), self.held_share, versions()))
        # Retried by dispatch, which knows the newest state.
        task: Any = ray.remote(num_returns="streaming", max_retries=0, **self._gpu_share())(train_group)

        def submit(job: Job) -> "ray.ObjectRefGenerator":
            memory = self._memory(job.group, datasets[data_key(job.group)].shape, probes, threads)
            stream: ray.ObjectRefGenerator = task.options(num_cpus=threads, memory=memory).remote(
                job, assignment, threads
            )
            return stream

        return RayWorkers(submit, {"GPU": self.gpus_per_group, "CPU": 1} if self._on_gpu else {"CPU": 1})

    def facts(self) -> Mapping[str, Any]:
        """Return what environment.json says about where a run was trained."""
        return {
            "device": self.device.type,
            "device_name": ", ".join(sorted({node.info.device_name for node in self.nodes})),
            "cores": self._cpus,
            "threads": self._most_threads,
            "engine": "ray",
            "ray": ray.__version__,
            "nodes": [{"name": node.name, "cpus": node.cpus, "gpus": node.gpus} for node in self.nodes],
        }

    @property
    def _on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def _cpus(self) -> int:
        return sum(node.cpus for node in self.nodes)

    @property
    def _most_threads(self) -> int:
        """The most threads of a group: as many as in this process alone, if a node has them."""
        return 1 if self._on_gpu else min(torch.get_num_threads(), max(node.cpus for node in self.nodes))

    def _threads(self, trials: int) -> int:
        """Threads of a group, each on a CPU: one, or more if CPUs would idle because a run has fewer trials."""
        return max(1, min(self._most_threads, self._cpus // max(1, trials)))

    def _places(self, node: Node, cpus: int) -> int:
        """Groups that a node trains at once, given the CPUs of each."""
        places = node.cpus // cpus
        # A share is of one GPU, and the shares of a group don't add up across them.
        return min(places, node.gpus * int(1 / self.gpus_per_group + 1e-9)) if self._on_gpu else places

    def _room(self, cpus: int) -> int:
        """Bytes that a group can have on every node."""
        if self._on_gpu:
            return int(min(node.info.free for node in self.nodes) * self.gpus_per_group)
        return self._share(cpus) - PROCESS

    def _memory(self, group: TrialGroup, shape: DataShape, probes: Sequence[ProbeSettings], cpus: int) -> int:
        """Bytes of a node's memory to ask for, never more than any node has that could train it."""
        takes = image_bytes(group, shape, torch.device("cpu")) + (GPU_PROCESS if self._on_gpu else PROCESS)
        if not self._on_gpu:
            takes += int(footprint(group, shape, self.device, probes).of(len(group.trials)))
        most = min(node.memory for node in self.nodes if self._places(node, cpus))
        return min(-(-takes // MEMORY_STEP) * MEMORY_STEP, most)

    def _share(self, cpus: int) -> int:
        """Bytes that every node has for each of its places."""
        places = ((node.memory, self._places(node, cpus)) for node in self.nodes)
        return min(memory // count for memory, count in places if count)

    def _gpu_share(self) -> Mapping[str, Any]:
        # A process sees the GPU that it was started for and no other, so it can't be used for another group.
        return {"num_gpus": self.gpus_per_group, "max_calls": 1} if self._on_gpu else {}
