"""`bnexp run`: train every trial of each configuration and write its run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp.cli.options import DEFAULT_RUNS, Device, Json, Quiet, Runs, Workers, complete_config_or_setting, split
from bnexp.cli.report import TensorBoard, write_tensorboard
from bnexp.runner.signals import EXIT_CODE, Interrupts

if TYPE_CHECKING:
    from bnexp.config.experiment import ExperimentConfig
    from bnexp.engines.engine import EngineChoice
    from bnexp.plan import Options
    from bnexp.runner.prepare import Plan
    from bnexp.store.reader import RunRecord

Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG... [KEY=VALUE]...",
        help="YAML files or names of shipped configurations, then settings to override, e.g. train.lr=0.5.",
        autocompletion=complete_config_or_setting,
    ),
]
Rerun = Annotated[
    bool, typer.Option("--rerun", help="Train anew; the run that is there is kept under a number: NAME-HASH.1.")
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Train trials again that failed.")]
EngineName = Annotated[
    str, typer.Option("--engine", help="local: this process; ray: a Ray cluster, or all devices of this machine.")
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="Ray cluster to join: auto or HOST:PORT. Default: start Ray on this machine."),
]
GpusPerGroup = Annotated[
    float | None,
    typer.Option("--gpus-per-group", help="With Ray: share of a GPU for each group, e.g. 0.5. Default: 1."),
]
CheckpointFolder = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        help="With Ray: a folder that all nodes see, for states of groups in training. Default: Ray's object store.",
    ),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first trial that fails.")]


def run(
    arguments: Arguments,
    runs: Runs = DEFAULT_RUNS,
    device: Device = "auto",
    rerun: Rerun = False,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    engine: EngineName = "local",
    workers: Workers = None,
    address: Address = None,
    gpus_per_group: GpusPerGroup = None,
    checkpoints: CheckpointFolder = None,
    tensorboard: TensorBoard = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train every trial of each configuration; the same command again continues, or shows what is done.

    Where values or seeds were added to an experiment, trials that an earlier run of it has are taken over.
    """
    from bnexp.cli.output import warn
    from bnexp.config.experiment import momentum_questions
    from bnexp.config.load import load
    from bnexp.engines.engine import EngineChoice
    from bnexp.errors import refuse_twice
    from bnexp.plan import Options, run_name

    choice = EngineChoice(device, engine, workers, address, gpus_per_group, checkpoints)
    choice.check()

    if tensorboard:
        from bnexp.report.tensorboard import check_installed

        check_installed()  # not after hours of training
    paths, overrides = split(arguments)
    configs = [(path, load(path, overrides)) for path in paths]
    refuse_twice((path, run_name(config)) for path, config in configs)
    for question in dict.fromkeys(each for _, config in configs for each in momentum_questions(config)):
        warn(question)
    options = Options(rerun, retry_failed, fail_fast)
    finished = _finished(configs, runs, options)
    if finished is None:
        finished = _train(configs, runs, choice, options, silent=quiet or as_json)
    if tensorboard:
        for record in finished:
            write_tensorboard(record)
    _report(finished, as_json=as_json, quiet=quiet)
    if any(map(_failed, finished)):
        raise typer.Exit(1)


def _finished(
    configs: "list[tuple[Path, ExperimentConfig]]", runs: Path, options: "Options"
) -> "list[RunRecord] | None":
    """Return the runs if there is nothing to train, which takes no torch."""
    from bnexp.plan import run_name
    from bnexp.runner.tuning import decided
    from bnexp.store.reader import finished_run

    ready = [config for _, written in configs if (config := decided(written, runs))]
    done = [record for config in ready if (record := finished_run(runs / run_name(config)))]
    again = options.rerun or (options.retry_failed and any(map(_failed, done)))
    return None if again or len(done) < len(configs) else done


def _train(
    configs: "list[tuple[Path, ExperimentConfig]]",
    runs: Path,
    choice: "EngineChoice",
    options: "Options",
    *,
    silent: bool,
) -> "list[RunRecord]":
    from bnexp.cli.output import print_line, warn

    path = runs
    try:
        from bnexp.analysis.tuning import choices_text
        from bnexp.cli.progress import Watching  # imports torch: not before there is something to train
        from bnexp.plan import same_trainings
        from bnexp.runner.run import run
        from bnexp.runner.tuning import run_staged

        def train(plan: "Plan") -> "RunRecord":
            nonlocal path
            path = plan.path
            if plan.config.tuned and not silent:
                print_line("chosen on validation images: " + choices_text(plan.config))
            for line in () if silent else same_trainings(plan.trials):
                print_line(f"{line}.")
            with Watching(plan, silent=silent) as watching:
                return run(plan, watching.see, watching.begin)

        with Interrupts(), choice.entered() as engine:  # while data are loaded, too
            named = [(str(source), config) for source, config in configs]
            return list(run_staged(named, runs, engine, options, train))
    except KeyboardInterrupt:
        again = "the same command without --rerun" if options.rerun else "the same command"
        warn(f"interrupted; {path} keeps what is done, {again} continues it")
        raise typer.Exit(EXIT_CODE) from None


def _failed(record: "RunRecord") -> bool:
    return bool((record.trials["outcome"] == "failed").any())


def _report(finished: "list[RunRecord]", *, as_json: bool, quiet: bool) -> None:
    if quiet:
        return
    from bnexp.analysis.runs import compare_study, study_of
    from bnexp.cli.output import print_comparisons, print_line, print_views
    from bnexp.store.layout import PICTURE, SUMMARIES

    studies = [study_of([record]) for record in finished]
    compared = [(study, compare_study(study)) for study in studies]
    if as_json:
        print_comparisons(compared, form="json")
        return
    for record, (study, comparison) in zip(finished, compared, strict=True):
        print_views(comparison, "main", study.question or study.name)
        print_line(f"\n{record.path}: {', '.join((*SUMMARIES, PICTURE))}, trials.csv, curves.csv")
        if failed := int((record.trials["outcome"] == "failed").sum()):
            print_line(f"{failed} of {len(record.trials)} trials failed, see log.txt; --retry-failed trains them again")
