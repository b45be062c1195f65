"""Before anything is written: what an experiment will train, where, on which data, and what the machine is."""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bnexp import __version__
from bnexp.config.experiment import ExperimentConfig
from bnexp.data.catalog import DataShape, Named
from bnexp.engines.devices import Datasets, data_key
from bnexp.engines.engine import Engine
from bnexp.engines.local import Local
from bnexp.errors import ConfigError, InputError, naming
from bnexp.plan import Options, Trial, TrialGroup, groups, misfits, run_name, trials
from bnexp.probes.context import unknown_layers
from bnexp.store.files import check_free, refuse_link
from bnexp.store.finding import holds_run
from bnexp.store.layout import READ_ONLY, cannot_continue, check_format
from bnexp.store.reader import finished_run, recorded_groups
from bnexp.store.reuse import Takeover, find_takeovers

PACKAGES = ("torch", "torchvision", "numpy", "pydantic")


def environment(engine: Engine) -> dict[str, Any]:
    """Return what environment.json keeps besides the times."""
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
    """A checked experiment with its data in memory: nothing has been written yet."""

    config: ExperimentConfig
    path: Path
    trials: tuple[Trial, ...]
    groups: tuple[TrialGroup, ...]
    """In the order in which they train; trials that are taken over are in none."""
    takeovers: tuple[Takeover, ...]
    engine: Engine
    datasets: Datasets
    options: Options

    @property
    def data(self) -> list[Named]:
        """What was read for each group."""
        return [(group.settings.data.name, self.datasets[data_key(group)].shape) for group in self.groups]


def prepare(
    config: ExperimentConfig,
    runs: Path,
    where: Engine | str = "auto",
    source: str = "",
    options: Options | None = None,
) -> Plan:
    """Work out what will be trained, load the data, and check that all fits together.

    A run that is there already keeps the groups that it began with, since results depend on them in the last bits.

    Args:
        config: the experiment.
        runs: folder of the run folders.
        where: an engine; or the device for this process to train on: auto, cpu, cuda or cuda:i.
        source: names the configuration in messages.
        options: how to treat what is there already, and what fails.

    Raises:
        InputError: the experiment has to choose first (`tune:`; run_staged does), the device, the data or the folder
            can't be had, another process has the run, batches don't fit the data, or a trial doesn't fit the memory.
    """
    options = options or Options()
    engine = Local.on(where) if isinstance(where, str) else where
    path, planned = runs / run_name(config), trials(config)
    _check_folder(runs)
    _check_run(path, options)
    new = not (options.rerun or holds_run(path))
    takeovers = find_takeovers(runs, path, config, planned, __version__) if new else []
    taken = {number for takeover in takeovers for number in takeover.numbers}
    together = groups([trial for trial in planned if trial.number not in taken])
    recorded = None if options.rerun else recorded_groups(path)
    if recorded:
        together = tuple(TrialGroup(tuple(planned[number] for number in numbers)) for numbers in recorded)
    with naming(source):
        datasets = engine.load(together)

    def shape_of(group: TrialGroup) -> DataShape:
        return datasets[data_key(group)].shape

    shapes = [(group.trials, shape_of(group)) for group in together]
    problems = [each for group, shape in shapes for each in misfits(group, shape.train, shape.image, source)]
    if problems := problems or [*unknown_layers(together, shape_of, config.probes, source)]:
        raise ConfigError(problems)
    with naming(source):
        arranged = engine.arranged(together, shape_of, config.probes, begun=bool(recorded))
    return Plan(config, path, planned, tuple(arranged), tuple(takeovers), engine, datasets, options)


def _check_run(path: Path, options: Options) -> None:
    refuse_link(path)
    check_free(path)
    read_only = not options.rerun and check_format(path) == READ_ONLY
    if read_only and (options.retry_failed or not finished_run(path)):
        raise cannot_continue(path)


def _check_folder(runs: Path) -> None:
    """Refuse a place that can't hold run folders before anything is trained."""
    existing = next(place for place in (runs, *runs.absolute().parents) if os.path.exists(place))
    if any(len(os.fsencode(part)) > 255 for part in runs.parts):
        raise InputError(f"{runs}: can't hold runs, since the name is too long; choose a folder with --runs")
    if not existing.is_dir():
        raise InputError(f"{runs}: can't hold runs, since {existing} is a file; choose a folder with --runs")
    if not os.access(existing, os.W_OK):
        raise InputError(f"{runs}: can't hold runs, since {existing} is not writable; choose a folder with --runs")
