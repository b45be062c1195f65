"""`bnexp run`: train every trial of each configuration and write its run folder."""

from pathlib import Path
from typing import Annotated

import typer

from bnexp.cli.options import DEFAULT_RUNS, Device, Json, Quiet, Runs, complete_config

Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG... [KEY=VALUE]...",
        help="YAML files or names of shipped configurations, then settings to override, e.g. train.lr=0.5.",
        autocompletion=complete_config,
    ),
]
INTERRUPTED = 130


def run(
    arguments: Arguments,
    runs: Runs = DEFAULT_RUNS,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train every trial of each configuration; the same command again continues, or shows what is done."""
    from bnexp.analysis.runs import compare_run
    from bnexp.cli.output import print_json, print_table
    from bnexp.cli.progress import watching
    from bnexp.config.load import load
    from bnexp.report.comparison_table import comparison_table
    from bnexp.report.summary import comparison_json

    configs = [(path, load(path, overrides)) for paths, overrides in [split(arguments)] for path in paths]
    from bnexp.runner import prepare  # imports torch: only once the configurations are known to be good
    from bnexp.runner import run as train

    plans = [prepare(config, runs, device, str(path)) for path, config in configs]
    finished = []
    for plan in plans:
        try:
            with watching(plan, silent=quiet or as_json) as watch:
                finished.append(train(plan, watch))
        except KeyboardInterrupt:
            typer.echo(f"bnexp: interrupted; {plan.path} keeps what is done, the same command continues it", err=True)
            raise typer.Exit(INTERRUPTED) from None
    compared = [(record, compare_run(record)) for record in finished]
    if as_json:
        print_json([{"run": record.path.name, **comparison_json(comparison)} for record, comparison in compared])
    elif not quiet:
        for record, comparison in compared:
            print_table(comparison_table(comparison, title=record.config.question or record.path.name))
            typer.echo(f"\n{record.path}: summary.md, summary.csv, curves.png, trials.csv, curves.csv")
    if any((record.trials["outcome"] == "failed").any() for record in finished):
        raise typer.Exit(1)


def split(arguments: list[str]) -> tuple[list[Path], list[str]]:
    """Tell configurations from overrides: an override has a `=` and is no file.

    Raises:
        InputError: no configuration, or one that can't be found.
    """
    from bnexp.config.shipped import find
    from bnexp.errors import InputError

    overrides = [word for word in arguments if "=" in word and not Path(word).exists()]
    paths = [find(word) for word in arguments if word not in overrides]
    if not paths:
        raise InputError("no configuration given; try bnexp run configs/quickstart.yaml, or bnexp list configs")
    return paths, overrides
