"""`bnexp run`: train every trial of each configuration and write its run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp.cli.arguments import split
from bnexp.cli.options import DEFAULT_RUNS, Device, Json, Quiet, Runs, complete_config
from bnexp.cli.report import TensorBoard, write_tensorboard

if TYPE_CHECKING:
    from bnexp.config.experiment import ExperimentConfig
    from bnexp.store.reader import RunRecord

Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG... [KEY=VALUE]...",
        help="YAML files or names of shipped configurations, then settings to override, e.g. train.lr=0.5.",
        autocompletion=complete_config,
    ),
]
INTERRUPTED = 130
REPORT_FILES = ("summary.md", "summary.csv", "curves.png")


def run(
    arguments: Arguments,
    runs: Runs = DEFAULT_RUNS,
    device: Device = "auto",
    tensorboard: TensorBoard = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train every trial of each configuration; the same command again continues, or shows what is done."""
    from bnexp.config.load import load

    if tensorboard:
        from bnexp.report.tensorboard import check_installed

        check_installed()  # not after hours of training
    paths, overrides = split(arguments)
    configs = [(path, load(path, overrides)) for path in paths]
    finished = _train(configs, runs, device, silent=quiet or as_json)
    if tensorboard:
        for record in finished:
            write_tensorboard(record)
    _report(finished, as_json=as_json, quiet=quiet)
    if any((record.trials["outcome"] == "failed").any() for record in finished):
        raise typer.Exit(1)


def _train(
    configs: "list[tuple[Path, ExperimentConfig]]", runs: Path, device: str, *, silent: bool
) -> "list[RunRecord]":
    from bnexp.plan import run_name
    from bnexp.store.reader import finished_run

    done = [finished_run(runs / run_name(config)) for _, config in configs]
    if all(done):
        return [record for record in done if record]
    from bnexp.cli.progress import watching  # imports torch: not before there is something to train
    from bnexp.runner import prepare, run

    finished = []
    for plan in [prepare(config, runs, device, str(path)) for path, config in configs]:
        try:
            with watching(plan, silent=silent) as watch:
                finished.append(run(plan, watch))
        except KeyboardInterrupt:
            typer.echo(f"bnexp: interrupted; {plan.path} keeps what is done, the same command continues it", err=True)
            raise typer.Exit(INTERRUPTED) from None
    return finished


def _report(finished: "list[RunRecord]", *, as_json: bool, quiet: bool) -> None:
    if quiet:
        return
    from bnexp.analysis.runs import compare_study, study_of
    from bnexp.cli.output import print_comparisons, print_views

    studies = [study_of([record]) for record in finished]
    compared = [(study, compare_study(study)) for study in studies]
    if as_json:
        print_comparisons(compared, form="json")
        return
    for record, (study, comparison) in zip(finished, compared, strict=True):
        print_views(comparison, "main", study.question or study.name)
        typer.echo(f"\n{record.path}: {', '.join(REPORT_FILES)}, trials.csv, curves.csv")
