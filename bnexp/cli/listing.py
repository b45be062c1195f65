"""`bnexp list`, `rm`, `show` and `settings`: what there is and what it means, and removing runs."""

import shutil
import sys
from dataclasses import asdict
from enum import StrEnum
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
    complete_key,
    complete_run,
    config_or_run,
)
from bnexp.cli.output import freeze_imports, print_json, print_table, say_code
from bnexp.errors import InputError
from bnexp.screen import plain, print_line, warn


class What(StrEnum):
    """What can be listed."""

    runs = "runs"
    configs = "configs"


Whats = Annotated[What, typer.Argument(help="runs, or the shipped configs.")]


def list_runs(what: Whats = What.runs, runs: Runs = DEFAULT_RUNS, as_json: Json = False, quiet: Quiet = False) -> None:
    """List runs with state, date, size, differences and result, or the shipped configurations with their questions."""
    if what is What.configs:
        _list_configs(as_json=as_json, quiet=quiet)
        return
    from bnexp.report.listings import list_runs
    from bnexp.report.summary import without_nan

    freeze_imports()
    listed = list_runs(runs)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if as_json:
        print_json([without_nan(asdict(each)) for each in listed])
    elif not quiet:
        for each in listed:
            print_line("\n".join(each.lines(width)))
        if not listed:
            print_line(f"No runs in {runs.absolute()} yet: bnexp run configs/quickstart.yaml trains one.")


def _list_configs(*, as_json: bool, quiet: bool) -> None:
    from bnexp.report.listings import list_configs
    from bnexp.report.table import plain_table

    listed = list_configs()
    if as_json:
        print_json(list(map(asdict, listed)))
    elif not quiet:
        print_table(plain_table(("name", "data", "question"), [(row.name, row.data, row.question) for row in listed]))


Names = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...", help="Run folders or their names; 'base-*' means all that match.", autocompletion=complete_run
    ),
]


def remove(
    names: Names,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    runs: Runs = DEFAULT_RUNS,
    quiet: Quiet = False,
) -> None:
    """Remove runs with all their files. A run that is being trained is refused."""
    from bnexp.store.files import remove_run
    from bnexp.store.finding import find_folders

    paths = find_folders(names, runs)
    listed = plain("\n".join(f"  {path}" for path in paths))
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(f"rm removes these for good; add --yes:\n{listed}")
        typer.confirm(f"{listed}\nRemove for good?", abort=True)
    for path in paths:
        remove_run(path)
        if not quiet:
            print_line(plain(f"removed {path}"))


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
    from bnexp.config.experiment import momentum_questions
    from bnexp.config.load import load, with_sources
    from bnexp.config.source import placed_in
    from bnexp.store.files import SOURCES

    word, *overrides = arguments
    path = config_or_run(word, runs)
    config = with_sources(load(path, overrides), placed_in(path.parent / SOURCES))
    for question in momentum_questions(config):
        warn(question)
    say_code(config, silent=as_json or quiet)
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


Key = Annotated[
    str | None,
    typer.Argument(
        metavar="[KEY]",
        help="A setting, a section or a word. Default: all settings.",
        autocompletion=complete_key,
    ),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown; docs/settings.md is made by it.")]


def settings(key: Key = None, as_json: Json = False, as_markdown: Markdown = False) -> None:
    """Print settings with their meaning, default and possible values."""
    from bnexp.config.documentation import all_sections, find_settings, to_json, to_markdown, to_text

    found = find_settings(key) if key else all_sections()
    if as_json:
        print_json(to_json(found))
    elif as_markdown:
        print(to_markdown(found))
    else:
        print_line(to_text(found))
