"""Running one experiment from configuration to finished run folder; `bnexp run` and scripts both call this."""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from bnexp.config.experiment import ExperimentConfig
from bnexp.environment import environment
from bnexp.errors import BnexpError, ConfigError, InputError, naming
from bnexp.executors.local import Datasets, Event, Job, choose_device, data_key, execute, load_data
from bnexp.executors.planning import fitted, free_memory
from bnexp.plan import Trial, TrialGroup, groups, misfits, run_name, trials
from bnexp.recording import Recorder
from bnexp.report.folder import write_report_files
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.reader import RunRecord, finished_run
from bnexp.store.writer import RunWriter

Watch = Callable[[Event], None]
"""Called with everything that happens, to draw progress; it must not touch the training."""


@dataclass(frozen=True)
class Plan:
    """A checked experiment with its data in memory: nothing has been written yet."""

    config: ExperimentConfig
    path: Path
    trials: tuple[Trial, ...]
    groups: tuple[TrialGroup, ...]
    """In the order in which they train."""
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
        InputError: the device, the data or the folder can't be had, batches don't fit the data, or a trial
            doesn't fit the memory.
    """
    _check_folder(runs)
    planned = trials(config)
    together = groups(planned)
    chosen = choose_device(device)
    with naming(source):
        datasets = load_data(together, chosen)
    images = [(group, len(datasets[data_key(group)].train)) for group in together]
    if problems := [problem for group, count in images for problem in misfits(group.trials, count, source)]:
        raise ConfigError(problems)

    with naming(source):
        fit = fitted(together, lambda group: datasets[data_key(group)].shape, free_memory(chosen), chosen)
    return Plan(config, runs / run_name(config), planned, tuple(fit), chosen, datasets)


def run(plan: Plan, watch: Watch = lambda event: None) -> RunRecord:
    """Train what is left of a plan and return its finished run folder.

    A folder that is complete already is returned as it is. Interrupted, the folder keeps every trial
    that has ended and every checkpoint, and the same call continues from there.
    """
    if done := finished_run(plan.path):
        return done
    try:
        return _run(plan, watch)
    except BrokenPipeError:
        raise  # nobody reads the output any more: not the folder's fault
    except OSError as error:
        raise BnexpError(f"{plan.path}: {error.strerror}; the same command continues once that is mended") from error
    except MemoryError as error:
        raise BnexpError(f"{plan.path}: too little memory to save it; the same command continues with more") from error


def _run(plan: Plan, watch: Watch) -> RunRecord:
    jobs, writer, checkpoints = _open(plan)
    recorder = Recorder(writer, checkpoints, plan.config.train.checkpoint_every)
    try:
        with closing(execute(jobs, plan.datasets, checkpoints.load)) as events:
            for event in events:
                recorder(event)
                watch(event)
    finally:
        writer.close()
    write_report_files(RunRecord(plan.path))
    # Last: a run counts as finished from here on, its tables and picture included.
    writer.finish()
    return RunRecord(plan.path)


def _open(plan: Plan) -> tuple[list[Job], RunWriter, Checkpoints]:
    """Return what is left to train, with the writer of the new or continued folder."""
    checkpoints = Checkpoints(plan.path)
    if not RunRecord.exists(plan.path):
        writer = RunWriter.create(plan.path, plan.config, plan.trials, environment(plan.device))
        writer.log(f"{len(plan.trials)} trials planned in {len(plan.groups)} groups on {plan.device}")
        return [Job.new(group) for group in plan.groups], writer, checkpoints
    left = RunRecord(plan.path).unfinished
    jobs = _interrupted(plan, left, checkpoints)
    kept = {number: job.resume.step for job in jobs if job.resume for number in job.group.numbers}
    untouched = left - kept.keys()
    jobs += [Job.new(group.only(untouched)) for group in plan.groups if untouched & set(group.numbers)]
    return jobs, RunWriter.reopen(plan.path, plan.config, plan.trials, kept), checkpoints


def _interrupted(plan: Plan, left: set[int], checkpoints: Checkpoints) -> list[Job]:
    """Return the groups that checkpoints continue, as they were cut then; today's cut may be another."""
    found = checkpoints.unfinished(left)
    return [Job(number, TrialGroup(tuple(plan.trials[n] for n in each.trials)), each) for number, each in found.items()]


def _check_folder(runs: Path) -> None:
    """Refuse a place that can't hold run folders before anything is trained."""
    existing = next(place for place in (runs, *runs.absolute().parents) if os.path.exists(place))
    if any(len(os.fsencode(part)) > 255 for part in runs.parts):
        raise InputError(f"{runs}: can't hold runs, since the name is too long; choose a folder with --runs")
    if not existing.is_dir():
        raise InputError(f"{runs}: can't hold runs, since {existing} is a file; choose a folder with --runs")
    if not os.access(existing, os.W_OK):
        raise InputError(f"{runs}: can't hold runs, since {existing} is not writable; choose a folder with --runs")
