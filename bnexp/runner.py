"""Running one experiment from configuration to finished run folder; `bnexp run` and scripts both call this."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bnexp import __version__
from bnexp.config.experiment import ExperimentConfig
from bnexp.errors import ConfigError, InputError
from bnexp.executors.local import Datasets, Event, Job, choose_device, data_key, execute, load_data
from bnexp.plan import Trial, TrialGroup, groups, misfits, run_name, trials
from bnexp.records import Outcome
from bnexp.report.folder import write_report_files
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.reader import RunRecord
from bnexp.store.writer import RunWriter
from bnexp.training.loop import Progress

Watch = Callable[[Event], None]
"""Called with everything that happens, to draw progress; it must not touch the training."""


@dataclass(frozen=True)
class Plan:
    """A checked experiment with its data in memory: nothing has been written yet."""

    config: ExperimentConfig
    path: Path
    trials: tuple[Trial, ...]
    groups: tuple[TrialGroup, ...]
    device: torch.device
    datasets: Datasets


def prepare(config: ExperimentConfig, runs: Path, device: str = "auto", source: str = "") -> Plan:
    """Work out what will be trained, load the data, and check that all fits together.

    Args:
        config: the experiment.
        runs: folder of the run folders.
        device: auto, cpu, cuda or cuda:i.
        source: names the configuration in messages.

    Raises:
        InputError: the device, the data or the folder can't be had, or batches don't fit the data.
    """
    _check_folder(runs)
    planned = trials(config)
    together = groups(planned)
    chosen = choose_device(device)
    datasets = load_data(together, chosen)
    problems = [
        problem for group in together for problem in misfits(group.trials, len(datasets[data_key(group)].train), source)
    ]
    if problems:
        raise ConfigError(problems)
    return Plan(config, runs / run_name(config), planned, together, chosen, datasets)


def run(plan: Plan, watch: Watch = lambda event: None) -> RunRecord:
    """Train what is left of a plan and return its finished run folder.

    A folder that is complete already is returned as it is. Interrupted, the folder keeps every record
    of the epochs up to its checkpoints, and the same call continues it.
    """
    if RunRecord.exists(plan.path) and RunRecord(plan.path).complete:
        return RunRecord(plan.path)
    jobs, writer, checkpoints = _open(plan)
    recorder = _Recorder(writer, checkpoints, plan.config.train.checkpoint_every)
    for event in execute(jobs, plan.datasets):
        recorder(event)
        watch(event)
    writer.close()
    finished = RunRecord(plan.path)
    write_report_files(finished)
    return finished


class _Recorder:
    """Turns events into files: records as they come, checkpoints by time, weights and outcomes as trials end."""

    def __init__(self, writer: RunWriter, checkpoints: Checkpoints, every: float):
        self._writer, self._checkpoints, self._every = writer, checkpoints, every
        self._saved = time.monotonic()

    def __call__(self, event: Event) -> None:
        if event.progress:
            self._advance(event.job.index, event.progress)
        else:
            self._fail(event.job.group, event.failure)

    def _advance(self, group: int, progress: Progress) -> None:
        record, ended = progress.record, progress.ended
        self._writer.append(record)
        if ended:
            self._checkpoints.finish(group, progress.snapshot().only(ended))
            steps = dict(zip(record.trials, record.diverged_step, strict=True))
            self._writer.end(_outcome(number, steps[number]) for number in ended)
        if len(ended) == len(record.trials):
            self._checkpoints.drop(group)
        elif progress.resumable and time.monotonic() - self._saved > self._every:
            self._checkpoints.save(group, progress.snapshot())
            self._saved = time.monotonic()

    def _fail(self, group: TrialGroup, failure: str) -> None:
        reason = failure.strip().splitlines()[-1]
        self._writer.log(f"trials {', '.join(map(str, group.numbers))} failed\n{failure}")
        self._writer.end(Outcome(number, "failed", reason=reason) for number in group.numbers)


def _outcome(trial: int, diverged_step: int | None) -> Outcome:
    return Outcome(trial, "diverged" if diverged_step else "completed", diverged_step)


def _open(plan: Plan) -> tuple[list[Job], RunWriter, Checkpoints]:
    """Return what is left to train, with the writer of the new or continued folder."""
    checkpoints = Checkpoints(plan.path)
    if not RunRecord.exists(plan.path):
        writer = RunWriter.create(plan.path, plan.config, plan.trials, _environment(plan))
        return [Job(i, group) for i, group in enumerate(plan.groups)], writer, checkpoints
    left = RunRecord(plan.path).unfinished
    jobs = [_rest(i, group, left, checkpoints) for i, group in enumerate(plan.groups) if left & set(group.numbers)]
    kept = {number: job.resume.step for job in jobs if job.resume for number in job.group.numbers}
    return jobs, RunWriter.reopen(plan.path, plan.config, plan.trials, kept), checkpoints


def _rest(index: int, group: TrialGroup, left: set[int], checkpoints: Checkpoints) -> Job:
    group, snapshot = group.only(left), checkpoints.load(index)
    if snapshot is None or not set(group.numbers) <= set(snapshot.trials):
        return Job(index, group)
    return Job(index, group, snapshot.only(group.numbers))


def _environment(plan: Plan) -> dict[str, Any]:
    packages = ("torch", "torchvision", "numpy", "pydantic")
    device = torch.cuda.get_device_name(plan.device) if plan.device.type == "cuda" else platform.processor()
    return {
        "bnexp": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "platform": platform.platform(),
        "device": str(plan.device),
        "device_name": device or platform.machine(),
        "threads": torch.get_num_threads(),
        "engine": "local",
        "commit": _commit(),
        "command": sys.argv,
    }


def _commit() -> str | None:
    """Return the commit of the folder that the command is given in, if it is a repository."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _check_folder(runs: Path) -> None:
    """Refuse a place that can't hold run folders before anything is trained."""
    existing = next(place for place in (runs, *runs.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise InputError(f"{runs}: can't hold runs, since {existing} is a file; choose a folder with --runs")
    if not os.access(existing, os.W_OK):
        raise InputError(f"{runs}: can't hold runs, since {existing} is not writable; choose a folder with --runs")
