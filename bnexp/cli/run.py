"""`bnexp run`: train every trial of each configuration and write its run folder."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp.cli.compare import TensorBoard, write_tensorboard
from bnexp.cli.options import (
    DEFAULT_RUNS,
    Address,
    Device,
    EngineName,
    Json,
    Quiet,
    Runs,
    Workers,
    complete_config_or_setting,
    split,
)
from bnexp.cli.output import print_comparisons, print_json, print_text, print_views, say_code
from bnexp.errors import check_installed, refuse_twice
from bnexp.runner.signals import EXIT_CODE
from bnexp.screen import warn

if TYPE_CHECKING:
    from bnexp.api import Run
    from bnexp.config.experiment import ExperimentConfig
    from bnexp.plan import Options

Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG... [KEY=VALUE]...",
        help="YAML files or names of shipped configurations, then settings to override, e.g. train.lr=0.5.",
        autocompletion=complete_config_or_setting,
    ),
]
Rerun = Annotated[bool, typer.Option("--rerun", help="Train again; the old run is kept under a number: NAME-HASH.1.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Train failed trials again.")]
GpusPerGroup = Annotated[
    float | None,
    typer.Option("--gpus-per-group", help="With Ray: share of a GPU for each group, e.g. 0.5. Default: 1."),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Train nothing; print each trial of the run that comes next as a line of JSON."),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first trial that fails.")]


def run(
    arguments: Arguments,
    runs: Runs = DEFAULT_RUNS,
    device: Device = "auto",
    rerun: Rerun = False,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    dry_run: DryRun = False,
    engine: EngineName = "local",
    workers: Workers = None,
    address: Address = None,
    gpus_per_group: GpusPerGroup = None,
    tensorboard: TensorBoard = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train every trial of each configuration; the same command again continues, or shows the result.

    If values or seeds were added to an experiment, the trials of its earlier runs are reused.
    """
    from bnexp.api import run_all
    from bnexp.config.experiment import momentum_questions
    from bnexp.config.load import load
    from bnexp.engines.engine import EngineChoice
    from bnexp.plan import Options, run_name

    if tensorboard:
        check_installed("tensorboard")  # not after hours of training
    paths, overrides = split(arguments)
    configs = [(str(path), load(path, overrides)) for path in paths]
    refuse_twice((path, run_name(config)) for path, config in configs)
    for question in dict.fromkeys(each for _, config in configs for each in momentum_questions(config)):
        warn(question)
    options = Options(rerun, retry_failed, fail_fast)
    if dry_run:
        _print_trials(configs, runs, options, quiet=quiet)
        return
    say_code(*(config for _, config in configs), silent=as_json or quiet)
    choice = EngineChoice(device, engine, workers, address, gpus_per_group)
    try:
        finished = run_all(configs, runs, choice, options, progress=not (quiet or as_json))
    except KeyboardInterrupt as stopped:
        again = "the same command without --rerun" if rerun else "the same command"
        warn(f"interrupted; {str(stopped) or runs} keeps what is done, {again} continues it")
        raise typer.Exit(EXIT_CODE) from None
    if tensorboard:
        for each in finished:
            write_tensorboard(each.record)
    _report(finished, as_json=as_json, quiet=quiet)
    if any(map(_failed, finished)):
        raise typer.Exit(1)


def _print_trials(
    configs: "list[tuple[str, ExperimentConfig]]", runs: Path, options: "Options", *, quiet: bool
) -> None:
    """Print every trial that would be trained next in a line of its own."""
    from bnexp.runner.planned import planned_trials

    found = [trial for source, config in configs for trial in planned_trials(config, runs, options, source)]
    for trial in () if quiet else found:
        print_json(asdict(trial), indent=None)


def _failed(run: "Run") -> int:
    """Return how many trials failed."""
    return int((run.trials["outcome"] == "failed").sum())


def _report(finished: "list[Run]", *, as_json: bool, quiet: bool) -> None:
    """Show what came of it, where it is written, and what can be done with it."""
    if quiet:
        return
    from bnexp.store.files import CURVES, PICTURE, PROBES, SUMMARIES, TRIALS

    if as_json:
        print_comparisons([(run.record.study, run.record.comparison) for run in finished], form="json")
        return
    for run in finished:
        study = run.record.study
        print_views(run.record.comparison, "main", study.question or study.name)
        files = (*SUMMARIES, PICTURE, TRIALS, CURVES, *([PROBES] if run.config.probes else []))
        print_text(f"\n{run.path}: {', '.join(files)}")
        if failed := _failed(run):
            print_text(f"{failed} of {len(run.trials)} trials failed, see log.txt; --retry-failed trains them again")
    names = " ".join(run.name for run in finished)
    print_text(f"Next: bnexp report {names} draws pictures and writes a page")
