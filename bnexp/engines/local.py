"""Training on this machine: in this process, or side by side in worker processes, one per core or GPU.

On CPUs parallelism is over groups and not inside operations: threads of one operation wait for each other at every
layer, so that another program on one of the cores holds them all up. On two cores, beside one busy program, a sweep of
init_scale took 17 s with two threads, 8.7 s with one, and 7.4 s with two workers (medians of 3 rounds; see
benchmarks/README.md).
"""

import traceback
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Any

import torch

from bnexp.config.probes import ProbeSettings
from bnexp.data.machine import available_cores, device_name, free_memory
from bnexp.engines.devices import (
    Datasets,
    check_float64,
    choose_devices,
    data_key,
    load_data,
    out_of_memory,
    release_memory,
)
from bnexp.engines.dispatch import dispatch
from bnexp.engines.messages import HEARTBEAT, Event, Job, Latest, broken
from bnexp.engines.planning import USABLE, CostOf, ShapeOf, balance, makespan, split_to_fit
from bnexp.engines.processes import Place, ProcessPool
from bnexp.errors import InputError
from bnexp.plan import TrialGroup
from bnexp.records import Heartbeat
from bnexp.training.estimate import footprint
from bnexp.training.loop import Found, train
from bnexp.training.numerics import torch_threads
from bnexp.training.work import training_cost

CPU = torch.device("cpu")
SECONDS_TO_SAVE = 0.5
"""Groups train side by side where that is estimated to save so many seconds. Starting two workers and passing their
records on took 0.03 to 0.07 s (training of 0.12 s, n = 5), but estimates are rough."""


@dataclass(frozen=True)
class Local:
    """The engine on this machine; see Engine."""

    devices: tuple[torch.device, ...]
    """The CPU, or one or more GPUs."""
    cores: int
    """CPU cores to use."""
    most_workers: int | None = None
    """Workers at once, as asked for; None: as many as there are cores or GPUs, where that saves time."""

    @classmethod
    def on(cls, device: str = "auto", workers: int | None = None) -> "Local":
        """Return the engine on auto, cpu, cuda (all GPUs), cuda:i or mps.

        Raises:
            InputError: no such device here.
        """
        return cls(choose_devices(device), available_cores(), workers)

    @property
    def place(self) -> str:
        """Where it trains, for people."""
        return ", ".join(map(str, self.devices))

    def load(self, groups: Sequence[TrialGroup]) -> Datasets:
        """Load what groups train on, onto the device; of several GPUs into memory, from where each gets a copy."""
        return load_data(groups, self.devices[0] if len(self.devices) == 1 else CPU)

    def schedule(
        self, groups: Sequence[TrialGroup], shape_of: ShapeOf, probes: Sequence[ProbeSettings], *, begun: bool
    ) -> list[TrialGroup]:
        """Cut groups so that they fit the memory and, unless they have begun, all workers are busy; longest first."""
        check_float64(self.devices[0], *(f"probe {probe.name}" for probe in probes))
        whole = split_to_fit(groups, shape_of, self._free, self.devices[0], probes)
        trials = sum(len(group.trials) for group in whole)
        for workers in range(0 if begun else min(self._most, trials), 1, -1):
            try:
                small = split_to_fit(groups, shape_of, self._free // self._sharing(workers), self.devices[0], probes)
            except InputError:  # one trial needs more than this share of the memory
                continue
            shared = balance(small, self._cost_of(shape_of), workers)
            return shared if self._pays(shared, shape_of, workers) else whole
        return whole

    def execute(
        self, jobs: Sequence[Job], datasets: Datasets, latest: Latest, probes: Sequence[ProbeSettings], trials: int
    ) -> Generator[Event, None, None]:
        """Train jobs and yield what happens."""
        groups = [job.group for job in jobs]
        places = self.places(groups, lambda group: datasets[data_key(group)].shape, probes, trials)
        if len(places) > 1:
            yield from dispatch(jobs, ProcessPool(places, partial(_training, datasets, tuple(probes))), latest)
        else:
            yield from execute(jobs, datasets, latest, probes, threads=places[0].threads)

    def places(
        self, groups: Sequence[TrialGroup], shape_of: ShapeOf, probes: Sequence[ProbeSettings], trials: int
    ) -> list[Place]:
        """Return where groups train: the places of worker processes, or a single one, which is this process.

        There are at most as many as groups, as cores or GPUs, and as fit the memory together. On a CPU each has one
        thread, or more where cores would idle because the run has fewer trials than there are cores.
        """
        workers = self.fitting(groups, shape_of, probes)
        if workers < 2 or not self._pays(groups, shape_of, workers):
            workers = 1
        threads = self.threads(workers, trials)
        return [Place(device, threads) for device in islice(cycle(self.devices), workers)]

    def threads(self, workers: int, trials: int) -> int:
        """Return how many threads each of these workers takes: one, or more where there are fewer trials than cores."""
        return min(torch.get_num_threads(), self.cores // workers) if trials < self.cores else 1

    def fitting(self, groups: Sequence[TrialGroup], shape_of: ShapeOf, probes: Sequence[ProbeSettings]) -> int:
        """Return how many workers there can be: each needs a group, and all have to fit into memory together."""
        workers = min(self._most, len(groups))
        sizes = [footprint(each, shape_of(each), self.devices[0], probes).of(len(each.trials)) for each in groups]
        room = USABLE * self._free * workers / self._sharing(workers) if workers else 0
        while workers > 1 and sum(sorted(sizes)[-workers:]) > room:
            workers -= 1
        return workers

    def facts(self) -> Mapping[str, Any]:
        """Return what environment.json says of where a run was trained."""
        return {
            "device": self.place,
            "device_name": device_name(self.devices[0]),
            "cores": self.cores,
            "workers": self._most,
            "threads": torch.get_num_threads(),
            "engine": "local",
        }

    @property
    def _most(self) -> int:
        """Workers at once."""
        if self.most_workers is not None:
            return self.most_workers
        return self.cores if self.devices[0].type == "cpu" else len(self.devices)

    @property
    def _free(self) -> int:
        """Bytes that a device has to spare."""
        return min(free_memory(device) for device in self.devices)

    def _sharing(self, workers: int) -> int:
        """Return how many of so many workers share the memory of one device."""
        return -(-workers // len(self.devices))

    def _cost_of(self, shape_of: ShapeOf) -> CostOf:
        return lambda group: training_cost(group, shape_of(group), self.devices[0])

    def _pays(self, groups: Sequence[TrialGroup], shape_of: ShapeOf, workers: int) -> bool:
        """Tell whether workers save time; they do on GPUs, and where they were asked for."""
        if self.most_workers is not None or self.devices[0].type != "cpu":
            return True
        cost_of = self._cost_of(shape_of)
        times = [cost_of(group).of(len(group.trials)) for group in groups]
        return sum(times) - makespan(times, workers) >= SECONDS_TO_SAVE


def _training(
    datasets: Datasets, probes: tuple[ProbeSettings, ...], device: torch.device, job: Job
) -> Generator[Found, None, None]:
    data = datasets[data_key(job.group)].to(device)
    return train(job.group, data, job.resume, probes, job.until, heartbeat=HEARTBEAT)


def execute(
    jobs: Sequence[Job],
    datasets: Datasets,
    latest: Latest = lambda number: None,
    probes: Sequence[ProbeSettings] = (),
    threads: int = 1,
) -> Generator[Event, None, None]:
    """Train the jobs in this process, one after the other, and yield what happens; one that breaks stops no other.

    A job whose trials don't fit into memory together is cut in two, and each half goes on from the newest
    snapshot, or from the start.
    """
    with torch_threads(threads):
        waiting = deque(jobs)
        while waiting:
            job = waiting.popleft()
            left, data = set(job.group.numbers), datasets[data_key(job.group)]
            yield Event(job, step=job.begins)
            try:
                with closing(train(job.group, data, job.resume, probes, job.until, heartbeat=HEARTBEAT)) as found:
                    for each in found:
                        if isinstance(each, Heartbeat):
                            yield Event(job, step=each.step)
                            continue
                        yield Event(job, each)
                        left -= set(each.ended)
                continue
            except Exception as error:  # whatever breaks one group is that group's outcome
                failure, no_memory = traceback.format_exc(), out_of_memory(error)
            # Outside the except clause, whose error holds on to the tensors.
            release_memory()
            event = broken(job, left, failure, out_of_memory=no_memory, latest=latest)
            yield event
            waiting.extendleft(reversed(event.parts))
