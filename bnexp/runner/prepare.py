"""Before anything is written: the state of the run folder, what will be trained, where, on which data."""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bnexp import __version__
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.origin import naming
from bnexp.data.catalog import DataShape, Named
from bnexp.errors import InputError
from bnexp.plan import Options, Trial, TrialGroup, groups, run_name, trials
from bnexp.runner.misfits import check_fit, check_reused
from bnexp.store.files import READ_ONLY, cannot_continue, check_format, check_free, refuse_link
from bnexp.store.finding import holds_run
from bnexp.store.reader import finished_run, recorded_groups
from bnexp.store.reuse import ReusableRun, find_reusable

if TYPE_CHECKING:
    from bnexp.engines.devices import Datasets
    from bnexp.engines.engine import Engine

PACKAGES = ("torch", "torchvision", "numpy", "pydantic")


RunState = Literal["finished", "begun", "new"]
"""State of a run folder: complete, with nothing left to train; begun, to be continued; or new, to be created."""


def run_state(config: ExperimentConfig, runs: Path, options: Options) -> RunState:
    """Return the state of a run folder. This is the one place where that is decided, without torch.

    Raises:
        InputError: there can be no runs, the folder is a link or of another format, or another process has it.
    """
    path = runs / run_name(config)
    done = None if options.rerun else finished_run(path)
    failed = done is not None and options.retry_failed and (done.trials["outcome"] == "failed").any()
    # With other labels it continues with nothing to train, which writes them into its configuration and its tables.
    if done and done.config.labels == config.labels and not failed:
        return "finished"
    _check_folder(runs)
    refuse_link(path)
    check_free(path)
    if options.rerun:
        return "new"
    if check_format(path) == READ_ONLY:
        raise cannot_continue(path)
    return "begun" if holds_run(path) else "new"


def environment(engine: "Engine") -> dict[str, Any]:
    """Return the content of environment.json except times and groups."""
    return {
        "bnexp": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        **engine.facts(),
        "commit": _commit(),
        "command": sys.argv,
    }


def _commit() -> str | None:
    """Return the commit of the folder that the command is given in, if it is a repository."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode().strip()


@dataclass(frozen=True)
class Plan:
    """A checked experiment with its data in memory; nothing has been written yet."""

    config: ExperimentConfig
    path: Path
    state: RunState
    trials: tuple[Trial, ...]
    groups: tuple[TrialGroup, ...]
    """In the order in which they train; reused trials are in no group. Empty for a finished run."""
    reusable: tuple[ReusableRun, ...]
    """Earlier runs that have trials of it."""
    engine: "Engine"
    datasets: "Datasets"
    options: Options

    @property
    def data(self) -> list[Named]:
        """The data of each group."""
        from bnexp.engines.devices import data_key  # imports torch

        return [(group.settings.data.name, self.datasets[data_key(group)].shape) for group in self.groups]


def prepare(
    config: ExperimentConfig,
    runs: Path,
    where: "Engine | str" = "auto",
    source: str = "",
    options: Options | None = None,
    state: RunState | None = None,
) -> Plan:
    """Plan what will be trained, load the data, and check that all fits together.

    A run that is there already keeps the groups that it began with, since results depend on them in the last bits.

    Args:
        config: the experiment.
        runs: folder of the run folders.
        where: an engine; or the device for this process to train on: auto, cpu, cuda, cuda:i or mps.
        source: names the configuration in messages.
        options: how to treat what is there already, and what fails.
        state: of the run folder, where it is known.

    Raises:
        InputError: the experiment has to choose first (`tune:`; bnexp.run does), the device, the data or the folder
            can't be had, another process has the run, batches don't fit the data, or a trial doesn't fit the memory.
    """
    from bnexp.engines.devices import data_key  # these import torch
    from bnexp.engines.local import Local

    options = options or Options()
    engine = Local.on(where) if isinstance(where, str) else where
    path, planned = runs / run_name(config), trials(config)
    state = state or run_state(config, runs, options)
    if state == "finished":
        return Plan(config, path, state, planned, (), (), engine, {}, options)
    # Trials that another run has trained to the end would escape the comparisons of halving.
    new = state == "new" and not options.rerun and not config.halving
    reusable = find_reusable(runs, path, config, planned, __version__) if new else []
    reused = {number for each in reusable for number in each.numbers}
    together = groups([trial for trial in planned if trial.number not in reused])
    recorded = recorded_groups(path) if state == "begun" else []
    if recorded:
        together = tuple(TrialGroup(tuple(planned[number] for number in numbers)) for numbers in recorded)
    with naming(source, config.origin):
        datasets = engine.load(together)

    def shape_of(group: TrialGroup) -> DataShape:
        return datasets[data_key(group)].shape

    check_fit(together, shape_of, config, source)
    check_reused([trial for trial in planned if trial.number in reused], config, source)
    with naming(source, config.origin):
        scheduled = engine.schedule(together, shape_of, config.probes, begun=bool(recorded))
    return Plan(config, path, state, planned, tuple(scheduled), tuple(reusable), engine, datasets, options)


def _check_folder(runs: Path) -> None:
    """Refuse a place that can't hold run folders before anything is trained."""
    existing = next(place for place in (runs, *runs.absolute().parents) if os.path.exists(place))
    if any(len(os.fsencode(part)) > 255 for part in runs.parts):
        raise InputError(f"{runs}: can't hold runs, since the name is too long; choose a folder with --runs")
    if not existing.is_dir():
        raise InputError(f"{runs}: can't hold runs, since {existing} is a file; choose a folder with --runs")
    if not os.access(existing, os.W_OK):
        raise InputError(f"{runs}: can't hold runs, since {existing} is not writable; choose a folder with --runs")
