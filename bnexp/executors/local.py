"""Training groups in this process, one after the other, on one device."""

import re
import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch

from bnexp.data.dataset import Dataset, load
from bnexp.errors import InputError
from bnexp.plan import TrialGroup
from bnexp.records import Snapshot
from bnexp.training.loop import Progress, train
from bnexp.training.numerics import dtype_of

Datasets = Mapping[str, Dataset]
"""Loaded data sets by `data_key`."""


@dataclass(frozen=True)
class Job:
    """One group to train: all of it, or what an interruption left."""

    index: int
    """Place of the group in the plan."""
    group: TrialGroup
    resume: Snapshot | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: a record, or a failure, after which nothing more comes of it."""

    job: Job
    progress: Progress | None = None
    failure: str = ""
    """Traceback of what broke the group."""


def choose_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `cuda:i` means on this machine.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", name):
        raise InputError(f"--device {name}: expected auto, cpu, cuda or cuda:i")
    count = torch.cuda.device_count()
    if name != "cpu" and int(name.partition(":")[2] or 0) >= count:
        raise InputError(f"--device {name}: this machine has {count or 'no'} CUDA devices; use --device cpu or auto")
    return torch.device(name)


def load_data(groups: Sequence[TrialGroup], device: torch.device) -> Datasets:
    """Load every data set that the groups train on, once.

    Raises:
        InputError: a data set can't be had as asked for.
    """
    wanted = {data_key(group): group.settings for group in groups}
    return {key: load(each.data, device, dtype_of(each.train.precision)) for key, each in wanted.items()}


def data_key(group: TrialGroup) -> str:
    """Name the data that a group trains on: equal for groups that can share them in memory."""
    settings = group.settings
    return f"{settings.data.model_dump_json()} {dtype_of(settings.train.precision)}"


def execute(jobs: Sequence[Job], datasets: Datasets) -> Generator[Event, None, None]:
    """Train the jobs in turn and yield what happens; a job that breaks doesn't stop the others."""
    for job in jobs:
        try:
            with closing(train(job.group, datasets[data_key(job.group)], job.resume)) as records:
                for progress in records:
                    yield Event(job, progress)
        except Exception:  # whatever breaks one group is that group's outcome
            yield Event(job, failure=traceback.format_exc())
