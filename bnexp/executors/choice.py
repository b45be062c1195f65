"""Which engine trains, as chosen on the command line; nothing here needs torch before the choice is made."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.errors import InputError, nearest

if TYPE_CHECKING:
    from bnexp.executors.engine import Engine

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class EngineChoice:
    """Where to train."""

    device: str = "auto"
    engine: str = "local"
    workers: int | None = None
    """Processes of this machine that train side by side; None: as many as there are cores or GPUs, where that pays."""
    address: str | None = None
    """Of a Ray cluster; None starts Ray on this machine."""
    gpus_per_group: float | None = None
    checkpoints: Path | None = None
    """A folder that all machines of a cluster see; None passes states through Ray."""

    def check(self) -> None:
        """Refuse what can be refused before anything is loaded.

        Raises:
            InputError: no such engine, it is not installed, or options of Ray without it.
        """
        if self.engine not in ENGINES:
            expected = f"expected {' or '.join(ENGINES)}"
            raise InputError(f"--engine {self.engine}: {expected}{nearest(self.engine, ENGINES)}")
        if self.engine == "ray" and not find_spec("ray"):
            raise InputError("--engine ray: Ray is not installed; pip install 'bnexp[ray]'")
        of_ray = {
            "--address": self.address,
            "--gpus-per-group": self.gpus_per_group,
            "--checkpoints": self.checkpoints,
        }
        given = [name for name, value in of_ray.items() if value is not None]
        if given and self.engine == "local":
            raise InputError(f"{given[0]} is for clusters; add --engine ray")
        if self.workers is not None and self.engine == "ray":
            raise InputError("--workers is for --engine local; Ray uses all CPUs or GPUs of its nodes")

    @contextmanager
    def entered(self) -> "Iterator[Engine]":
        """Make the engine ready, and let go of it at the end.

        Raises:
            InputError: the device or the cluster can't be had.
        """
        if self.engine == "local":
            from bnexp.executors.local import Local

            yield Local.on(self.device, self.workers)
        else:
            from bnexp.executors.cluster.session import ray_cluster

            share = 1.0 if self.gpus_per_group is None else self.gpus_per_group
            with ray_cluster(self.device, self.address, share, self.checkpoints) as cluster:
                yield cluster
