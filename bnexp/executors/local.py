"""Training groups in this process, one after the other, on one device."""

import gc
import re
import traceback
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch

from bnexp.config.probes import ProbeSettings
from bnexp.data.dataset import Dataset, load
from bnexp.errors import InputError
from bnexp.plan import TrialGroup, parts
from bnexp.records import Snapshot
from bnexp.training.loop import Progress, train
from bnexp.training.numerics import dtype_of

TOO_LARGE = "one trial alone is too large for the memory; lower train.batch_size, model.width or model.depth"

Datasets = Mapping[str, Dataset]
"""Loaded data sets by `data_key`."""


@dataclass(frozen=True)
class Job:
    """One group to train: all of it, or what an interruption left."""

    number: int
    """Names the group: the number of a trial that was in it from its start."""
    group: TrialGroup
    resume: Snapshot | None = None

    @classmethod
    def new(cls, group: TrialGroup, resume: Snapshot | None = None) -> "Job":
        """Return the job of a group that has no name yet."""
        return cls(group.numbers[0], group, resume)


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: a record, a cut, or a failure; after the last two nothing more comes of it."""

    job: Job
    progress: Progress | None = None
    parts: tuple[Job, ...] = ()
    """Jobs that go on in its place, since its trials didn't fit into memory together."""
    failure: str = ""
    """Traceback of what broke the group."""


Latest = Callable[[int], Snapshot | None]
"""Finds the newest snapshot of a job by its number."""


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
            failure, full = traceback.format_exc(), _out_of_memory(error)
        # Outside the except clause, whose error holds on to the tensors.
        _release_memory()
        if full and len(left) > 1:
            halves = _halves(job.group.only(left), latest(job.number) or job.resume)
            yield Event(job, parts=halves)
            waiting.extendleft(reversed(halves))
        else:
            yield Event(job, failure=failure + TOO_LARGE if full else failure)


def _halves(group: TrialGroup, resume: Snapshot | None) -> tuple[Job, ...]:
    halves = parts(group, -(-len(group.trials) // 2))
    return tuple(Job.new(half, resume and resume.only(half.numbers)) for half in halves)


def _out_of_memory(error: BaseException | None) -> bool:
    """Tell whether memory ran out, in this error or in one that it hides: a capture that breaks off raises its own."""
    if error is None:
        return False
    # On the CPU torch raises no type of its own.
    here = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
    return here or _out_of_memory(error.__cause__ or error.__context__)


def _release_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
