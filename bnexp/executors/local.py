"""Training groups in this process, one after the other, on one device."""

import os
import traceback
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from bnexp.config.probes import ProbeSettings
from bnexp.data.room import free_memory
from bnexp.executors.datasets import Datasets, data_key, load_data
from bnexp.executors.devices import choose_device, device_name
from bnexp.executors.jobs import Event, Job, Latest, broken
from bnexp.executors.memory import out_of_memory, release_memory
from bnexp.executors.planning import ShapeOf, fitted
from bnexp.plan import TrialGroup
from bnexp.training.loop import train


@dataclass(frozen=True)
class Local:
    """The engine that needs nothing: this process, on one device."""

    device: torch.device

    @classmethod
    def on(cls, device: str) -> "Local":
        """Return the engine on auto, cpu, cuda or cuda:i.

        Raises:
            InputError: no such device here.
        """
        return cls(choose_device(device))

    @property
    def place(self) -> str:
        """Where it trains, for people."""
        return str(self.device)

    def load(self, groups: Sequence[TrialGroup]) -> Datasets:
        """Load what groups train on, onto the device; raises as load_data."""
        return load_data(groups, self.device)

    def arranged(
        self, groups: Sequence[TrialGroup], shape_of: ShapeOf, probes: Sequence[ProbeSettings], *, begun: bool
    ) -> list[TrialGroup]:
        """Cut groups that don't fit the device, and put the largest first, whether they had begun or not.

        Raises:
            InputError: one trial alone doesn't fit a CPU's memory.
        """
        return fitted(groups, shape_of, free_memory(self.device), self.device, probes)

    def execute(
        self, jobs: Sequence[Job], datasets: Datasets, latest: Latest, probes: Sequence[ProbeSettings]
    ) -> Generator[Event, None, None]:
        """Train jobs; see execute."""
        return execute(jobs, datasets, latest, probes)

    def facts(self) -> Mapping[str, Any]:
        """Return what environment.json says of where a run was trained."""
        return {
            "device": str(self.device),
            "device_name": device_name(self.device),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "engine": "local",
        }


def execute(
    jobs: Sequence[Job],
    datasets: Datasets,
    latest: Latest = lambda number: None,
    probes: Sequence[ProbeSettings] = (),
) -> Generator[Event, None, None]:
    """Train the jobs in turn and yield what happens; a job that breaks doesn't stop the others.

    A job whose trials don't fit into memory together is cut in two, and each half goes on from the newest
    snapshot, or from the start.
    """
    waiting = deque(jobs)
    while waiting:
        job = waiting.popleft()
        left = set(job.group.numbers)
        try:
            with closing(train(job.group, datasets[data_key(job.group)], job.resume, probes)) as records:
                for progress in records:
                    yield Event(job, progress)
                    left -= set(progress.ended)
            continue
        except Exception as error:  # whatever breaks one group is that group's outcome
            failure, full = traceback.format_exc(), out_of_memory(error)
        # Outside the except clause, whose error holds on to the tensors.
        release_memory()
        event = broken(job, left, failure, full=full, latest=latest)
        yield event
        waiting.extendleft(reversed(event.parts))
