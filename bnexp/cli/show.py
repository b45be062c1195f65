"""`bnexp show`: what a configuration or a run means, without training it."""

from typing import Annotated

import typer

from bnexp.cli.options import (
    DEFAULT_RUNS,
    Device,
    Json,
    Quiet,
    Runs,
    Workers,
    complete_config_or_setting,
    config_or_run,
)

Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG|RUN [KEY=VALUE]...",
        help="A YAML file, a shipped configuration's name or a run folder; then settings to override.",
        autocompletion=complete_config_or_setting,
    ),
]


def show(
    arguments: Arguments,
    runs: Runs = DEFAULT_RUNS,
    device: Device = "auto",
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the resolved configuration, the layers with parameter counts, the trials, and what they will take."""
    from bnexp.cli.output import print_json, print_table
    from bnexp.config.experiment import momentum_questions
    from bnexp.config.load import load
    from bnexp.screen import print_line, warn

    word, *overrides = arguments
    path = config_or_run(word, runs)
    config = load(path, overrides)
    for question in momentum_questions(config):
        warn(question)
    from bnexp.engines.local import Local  # imports torch
    from bnexp.runner.dry_run import overview

    seen = overview(config, Local.on(device, workers), str(path))
    for line in seen.warnings():
        warn(line)
    if as_json:
        print_json(seen.as_json())
    elif not quiet:
        print_line(seen.yaml())
        for table in seen.tables():
            print_table(table)
            print_line()
        print_line(seen.summary())
