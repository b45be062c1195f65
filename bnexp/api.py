"""The front door: what a notebook, a script and the command line call. Torch is loaded to train, not to read.

A run is read lazily, as it is at that moment. Load it again to see how far it has got.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bnexp.analysis import comparison as records
from bnexp.analysis.planning import with_plan
from bnexp.analysis.runs import ComparedRun, compare_study, study_of
from bnexp.analysis.study import Study
from bnexp.analysis.tuned_runs import with_tuning
from bnexp.config import load as configs
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.origin import OVERRIDES
from bnexp.config.source import source_of
from bnexp.report.table import to_html, to_text
from bnexp.report.views import frame, remarks, tables
from bnexp.screen import RunDisplay, is_watched, show_figures
from bnexp.store.finding import find_run, runs_folder
from bnexp.store.reader import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from bnexp.engines.engine import EngineChoice
    from bnexp.plan import Options
    from bnexp.runner.dry_run import Overview
    from bnexp.runner.prepare import Plan

What = str | Path | Mapping[str, Any] | ExperimentConfig
"""An experiment: a YAML file, a shipped name, a mapping with the keys of such a file, or a checked configuration."""
Data = Sequence[Any] | Mapping[str, Any]
"""(x, y, x_test, y_test), or (x, y), or a mapping that also has x_val and y_val: arrays, tensors or tables."""


def load_config(what: What, overrides: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """Return the checked configuration of an experiment, with every default filled in.

    Args:
        what: a YAML file, a shipped name ("quickstart"), a mapping with the keys of such a file, or a configuration.
        overrides: values by dotted key, e.g. {"seeds": 6, "train.lr": 0.1}.

    Raises:
        ConfigError: lists every problem.
        InputError: no such file.
    """
    return named_config(what, overrides)[1]


def named_config(
    what: What, overrides: Mapping[str, Any] | None = None, network: "Callable[..., nn.Module] | None" = None
) -> tuple[str, ExperimentConfig]:
    """Return the name of a configuration for messages, and the configuration."""
    changes = dict(overrides or {})
    if network:
        changes |= {"model.family": "module", "model.source": source_of(network)}
    if isinstance(what, ExperimentConfig):
        changed = configs.resolve(what.model_dump(), what.name, changes) if changes else what
        return what.name, changed.made_from(what.origin.then(changed.origin.overrides, OVERRIDES))
    if isinstance(what, Mapping):
        return "", configs.resolve({"name": "experiment", **what}, "", changes)
    path = configs.find(str(what))
    return str(path), configs.load(path, changes)


def run(
    what: What,
    overrides: Mapping[str, Any] | None = None,
    *,
    network: "Callable[..., nn.Module] | None" = None,
    data: Data | None = None,
    runs: str | Path | None = None,
    device: str = "auto",
    engine: str = "local",
    workers: int | None = None,
    rerun: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
    progress: bool | None = None,
) -> "Run":
    """Train every trial of an experiment and return its run; the same call again continues it, or loads the result.

    Args:
        what: see load_config.
        overrides: values by dotted key, e.g. {"seeds": 6, "train.lr": 0.1}.
        network: class or function that makes the network, in place of model.source.
        data: your own arrays in place of the experiment's data set. They are kept in the folder of data sets, and
            identified by a digest: other arrays make another run.
        runs: folder of the run folders; None: $BNEXP_RUNS, or runs/ here.
        device: auto, cpu, cuda, cuda:i or mps.
        engine: local: this machine; ray: a Ray cluster.
        workers: processes of this machine that train side by side; None: as many as save time.
        rerun: train again; the old run is kept under a number.
        retry_failed: train trials again that failed.
        fail_fast: stop at the first trial that fails.
        progress: show how training goes; None: in a terminal or a notebook only.

    Raises:
        InputError: what was asked for can't be done as written; nothing has been changed on disk.
        BnexpError: the machine failed the run; the same call continues it.
        KeyboardInterrupt: SIGINT or SIGTERM came; how far training got is saved.
    """
    from bnexp.engines.engine import EngineChoice
    from bnexp.plan import Options

    source, config = named_config(what, overrides, network)
    where = EngineChoice(device, engine, workers)
    options = Options(rerun, retry_failed, fail_fast)
    (trained,) = run_all([(source, _with_data(config, data))], runs_folder(runs), where, options, progress=progress)
    return trained


def _with_data(config: ExperimentConfig, data: Data | None) -> ExperimentConfig:
    if data is None:
        return config
    from bnexp.data.arrays import keep

    return config.model_copy(update={"data": keep(config.data, data)})


def run_all(
    experiments: "Sequence[tuple[str, ExperimentConfig]]",
    runs: Path,
    engine: "EngineChoice",
    options: "Options",
    *,
    progress: bool | None = None,
) -> "list[Run]":
    """Train several experiments, each with its name for messages; mistakes in any are reported first. See run.

    Raises:
        InputError, BnexpError, KeyboardInterrupt: as run.
    """
    from bnexp.runner.tuning import run_with_tuning

    engine.check()
    silent = not (is_watched() if progress is None else progress)

    def train(plan: "Plan") -> ComparedRun:
        from bnexp.runner.run import run

        with RunDisplay(plan, silent=silent) as display:
            trained = run(plan, display.see, display.begin)
        display.end(trained)
        return trained

    return [Run(record) for record in run_with_tuning(experiments, runs, engine, options, train)]


def load_run(name: str | Path, *, runs: str | Path | None = None) -> "Run":
    """Return a run by its folder, by its name, or by its experiment's name, which means the newest run of it.

    Raises:
        InputError: no such run, or it can't be read.
    """
    return Run(find_run(str(name), runs_folder(runs)))


def compare(
    compared: "Sequence[Run | str | Path]",
    *,
    metric: str | None = None,
    baseline: str | None = None,
    by: Sequence[str] | None = None,
    filter: str | None = None,
    threshold: float = 0.9,
    runs: str | Path | None = None,
) -> "Comparison":
    """Compare the arms over several runs, which are joined by their settings.

    Args:
        compared: runs, or what load_run takes.
        metric: column of trials.csv; None: final test accuracy, where there is one.
        baseline: arm that the others are compared to; None: the one without norm layers.
        by: grid keys with rows of their own; the others are averaged over. None: all.
        filter: trials to compare, e.g. "train.lr>0.1 and arm!=after".
        threshold: accuracy to reach; the time until then is reported.
        runs: folder of the run folders; None: $BNEXP_RUNS, or runs/ here.

    Raises:
        InputError: no such run, metric, baseline or key, or nothing is left to compare.
    """
    found = [each if isinstance(each, Run) else load_run(each, runs=runs) for each in compared]
    study = study_of([each.record for each in found], condition=filter, metric=metric, probed=True)
    return Comparison(study, compare_study(study, metric=metric, baseline=baseline, threshold=threshold, by=by))


def describe(
    what: What,
    overrides: Mapping[str, Any] | None = None,
    *,
    network: "Callable[..., nn.Module] | None" = None,
    data: Data | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> "Overview":
    """Describe an experiment without training it: settings, layers, trials, groups, memory and time.

    Raises:
        InputError: it can't be trained so.
    """
    source, config = named_config(what, overrides, network)
    from bnexp.engines.local import Local  # imports torch
    from bnexp.runner.dry_run import overview

    return overview(_with_data(config, data), Local.on(device, workers), source)


class Run:
    """A run folder: its tables, the comparison of its arms, its pictures and its trained networks."""

    def __init__(self, record: RunRecord):
        self.record = record if isinstance(record, ComparedRun) else ComparedRun(record.path)

    def __repr__(self) -> str:
        return f"<Run {self.name}: {self.record.finished} of {len(self.trials)} trials have ended>"

    def _repr_html_(self) -> str:
        return self.compare()._repr_html_()

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.record.path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def config(self) -> ExperimentConfig:
        """The experiment, with every default and everything that was tuned filled in."""
        return self.record.config

    @property
    def trials(self) -> pd.DataFrame:
        """A row per trial: arm, seed, a column per swept setting under its dotted name, outcome and final numbers."""
        return self.record.trials

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row per trial and record: arm, seed, swept settings, epoch, step, losses, accuracies, lr, seconds."""
        return self._labelled(self.record.curves)

    @cached_property
    def probes(self) -> pd.DataFrame:
        """A row per trial and measurement inside the network: arm, seed, swept settings, epoch, layer, probe, value."""
        return self._labelled(self.record.probes)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row per trial that has ended and test image: arm, seed, swept settings, image, label, predicted class.

        Images are counted from 0. The label is missing before the run has ended, and where trials are tested on
        different images. There are no rows without test images, and in runs of earlier versions.
        """
        images = self.record.images
        tables = [pd.DataFrame({name: np.empty(0, int) for name in ("trial", "image", "label", "predicted")})]
        for trial, predicted_N in sorted(self.record.predictions.items()):
            known = images is not None and len(images.labels_N) == len(predicted_N)
            labels = images.labels_N.astype(int) if images is not None and known else np.nan
            columns = {"trial": trial, "image": range(len(predicted_N)), "label": labels, "predicted": predicted_N}
            tables.append(pd.DataFrame(columns).astype({"predicted": int}))
        return self._labelled(pd.concat(tables, ignore_index=True))

    def _labelled(self, table: pd.DataFrame) -> pd.DataFrame:
        return self.trials[["trial", "arm", "seed", *self.config.swept]].merge(table, on="trial")

    def compare(
        self,
        *,
        metric: str | None = None,
        baseline: str | None = None,
        by: Sequence[str] | None = None,
        filter: str | None = None,
        threshold: float = 0.9,
    ) -> "Comparison":
        """Compare the arms; see bnexp.compare."""
        return compare([self], metric=metric, baseline=baseline, by=by, filter=filter, threshold=threshold)

    def plot(self, kind: str = "curves", *, metric: str | None = None) -> "Figure":
        """Return one of the pictures of bnexp report; see Comparison.plot."""
        return self.compare(metric=metric).plot(kind)

    def network(self, trial: int) -> "nn.Module":
        """Return the network of a trial with its final weights, a plain module in evaluation mode.

        It takes images of shape (B, C, H, W) as they are in the data, pixels from 0 to 255 where these are bytes, and
        returns logits (B, classes). Rows of a table may have the shape (B, features).

        Raises:
            InputError: no such trial, or it has no weights.
        """
        from bnexp.deploy.export import plain_network  # imports torch

        return plain_network(self.record, trial)


class Comparison:
    """A comparison of the arms of one or several runs: as tables of numbers, and as text.

    Every interval (`low` to `high`) covers 95 %; `None` or NaN: it can't be known or, at the baseline, doesn't apply.
    docs/comparing.md explains the columns.
    """

    def __init__(self, study: Study, result: records.Comparison):
        self.study, self.result = study, result

    @property
    def metric(self) -> str:
        """The column of trials.csv that is compared."""
        return self.result.metric

    @property
    def warnings(self) -> tuple[str, ...]:
        """Where the tables could mislead."""
        return self.result.warnings

    @property
    def equal(self) -> pd.DataFrame:
        """At equal settings: a row per grid point and arm, with the paired difference to the baseline."""
        return frame(self.result, "equal")

    @property
    def overall(self) -> pd.DataFrame:
        """Over all grid points: a row per arm."""
        return frame(self.result, "overall")

    @property
    def best(self) -> pd.DataFrame:
        """Each arm at the grid point that is best on validation images; empty without a grid."""
        return frame(self.result, "best")

    @property
    def robustness(self) -> pd.DataFrame:
        """A row per swept axis of numbers and arm: worst, best, spread, usable range."""
        return frame(self.result, "robust")

    @property
    def time(self) -> pd.DataFrame:
        """A row per grid point and arm: epochs and seconds to the threshold, cost of a step, gap to training."""
        return frame(self.result, "time")

    @property
    def tuning(self) -> pd.DataFrame:
        """Expected best accuracy after 1, 2, 4, … tries of a tuning, a row per arm; empty where nothing was tuned.

        It is empty, too, where the run in which the arms tried their settings isn't beside this one any more.
        """
        return frame(with_tuning(self.result, self.study), "tuning")

    @property
    def diverged(self) -> pd.DataFrame:
        """A row per arm at the grid points where a trial diverged: how many, and the means with and without them."""
        return frame(self.result, "diverged")

    def plan(self, width: float, difference: float | None = None) -> pd.DataFrame:
        """Return how many seeds narrow the interval of a difference to ± width: a row per grid point and arm.

        Args:
            width: half-width to reach, in units of the metric.
            difference: a true difference; how often the pairs at hand settle it, and how many seeds would.

        Raises:
            InputError: a width or a difference that isn't above 0.
        """
        return frame(with_plan(self.result, width, difference), "plan")

    def plot(self, kind: str = "curves") -> "Figure":
        """Return one of the pictures of bnexp report, by the name of its file: curves, over_lr, differences, …

        Raises:
            InputError: no such picture (the message lists all), or nothing to show in it yet.
        """
        from bnexp.report.figures.pictures import draw

        show_figures()
        return draw(kind, self.study, with_tuning(self.result, self.study))

    def __str__(self) -> str:
        return "\n".join([*map(to_text, self._tables()), *remarks(self.result)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "\n".join([*map(to_html, self._tables()), *(f"<p>{escape(line)}</p>" for line in remarks(self.result))])

    def _tables(self) -> Iterable[Any]:
        return tables(self.result, "main", self.study.question or self.study.name)
