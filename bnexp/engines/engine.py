"""The interface of an engine, and choosing one by name."""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bnexp.config.probes import ProbeSettings
from bnexp.engines.messages import Event, Job, Latest
from bnexp.errors import InputError, nearest, not_installed
from bnexp.plan import TrialGroup

if TYPE_CHECKING:
    from bnexp.engines.devices import Datasets
    from bnexp.engines.planning import ShapeOf


class Engine(Protocol):
    """Where groups train: Local, or Cluster."""

    @property
    def place(self) -> str:
        """Where it trains, for people."""

    def load(self, groups: Sequence[TrialGroup]) -> "Datasets":
        """Load what groups train on.

        Raises:
            InputError: a data set can't be had as asked for.
        """

    def schedule(
        self, groups: Sequence[TrialGroup], shape_of: "ShapeOf", probes: Sequence[ProbeSettings], *, begun: bool
    ) -> list[TrialGroup]:
        """Cut groups so that they fit, and sort them into the order in which they train.

        Args:
            groups: trials of one shape each.
            shape_of: what a group trains on.
            probes: that are taken while they train.
            begun: whether training in these groups has begun, so that the last bits of results depend on how they are
                cut.

        Raises:
            InputError: one trial alone doesn't fit.
        """

    def execute(
        self, jobs: Sequence[Job], datasets: "Datasets", latest: Latest, probes: Sequence[ProbeSettings], trials: int
    ) -> Generator[Event, None, None]:
        """Train jobs and yield what happens; a job that breaks doesn't stop the others.

        Args:
            jobs: what to train.
            datasets: from load.
            latest: finds the newest snapshot of a job.
            probes: what to measure inside the networks on the way.
            trials: how many the whole run has, those that have ended included.
        """

    def facts(self) -> Mapping[str, Any]:
        """Return what environment.json says of where a run was trained."""


ENGINES = ("local", "ray")
NO_CLUSTER = "ray start --head starts a cluster; one that asks for a token takes RAY_AUTH_MODE=token"


def check_device(name: str) -> str:
    """Return the name of a device unchanged, whether or not this machine has it.

    Raises:
        InputError: no device is called so.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?|mps", name):
        raise InputError(f"--device {name}: expected auto, cpu, cuda, cuda:i or mps")
    return name


@dataclass(frozen=True)
class EngineChoice:
    """Where to train."""

    device: str = "auto"
    engine: str = "local"
    workers: int | None = None
    """Processes of this machine that train side by side; None: as many as there are cores or GPUs, where that pays."""
    address: str | None = None
    """Address of a Ray cluster; None starts Ray on this machine."""
    gpus_per_group: float | None = None

    def check(self) -> None:
        """Refuse bad options before anything is loaded.

        Raises:
            InputError: no such engine or device, Ray is not installed, or options that are for another engine.
        """
        check_device(self.device)
        if self.engine not in ENGINES:
            expected = f"expected {' or '.join(ENGINES)}"
            raise InputError(f"--engine {self.engine}: {expected}{nearest(self.engine, ENGINES)}")
        if self.engine == "ray" and (missing := not_installed("ray")):
            raise InputError(f"--engine ray: {missing}")
        of_ray = {"--address": self.address, "--gpus-per-group": self.gpus_per_group}
        given = [name for name, value in of_ray.items() if value is not None]
        if given and self.engine == "local":
            raise InputError(f"{given[0]} is for clusters; add --engine ray")
        if self.workers is not None and self.engine == "ray":
            raise InputError("--workers is for --engine local; Ray uses all CPUs or GPUs of its nodes")
        if ":" in self.device and self.engine == "ray":
            raise InputError(f"--device {self.device}: expected auto, cpu or cuda, since Ray gives out the GPUs")
        if self.gpus_per_group is not None and not 0 < self.gpus_per_group <= 1:
            raise InputError(f"--gpus-per-group {self.gpus_per_group:g}: expected a number above 0 and at most 1")
        if self.address and not re.fullmatch("auto|.+:[0-9]+", self.address):
            raise InputError(f"--address {self.address}: expected auto or HOST:PORT; {NO_CLUSTER}")

    @contextmanager
    def entered(self) -> "Iterator[Engine]":
        """Make the engine ready, and let go of it at the end.

        Raises:
            InputError: the device or the cluster can't be had.
        """
        if self.engine == "local":
            from bnexp.engines.local import Local

            yield Local.on(self.device, self.workers)
        else:
            from bnexp.engines.cluster.session import ray_cluster

            share = 1.0 if self.gpus_per_group is None else self.gpus_per_group
            with ray_cluster(self.device, self.address, share) as cluster:
                yield cluster
