"""`bnexp list` and `bnexp rm`: the runs there are, or the shipped configurations; removing runs."""

import shutil
import sys
from enum import StrEnum
from typing import Annotated

import typer

from bnexp.cli.options import DEFAULT_RUNS, Json, Quiet, Runs, complete_run


class What(StrEnum):
    """What can be listed."""

    runs = "runs"
    configs = "configs"


def list_runs(
    what: Annotated[What, typer.Argument(help="runs, or the shipped configs.")] = What.runs,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List runs with state, date, size, what differs and headline, or the shipped configurations with questions."""
    from bnexp.cli.output import print_json, print_table
    from bnexp.report.listings import config_rows, listing_table
    from bnexp.report.run_list import list_runs
    from bnexp.screen import print_line

    if what is What.configs:
        rows = config_rows()
        if as_json:
            print_json(rows)
        elif not quiet:
            print_table(listing_table(rows))
        return
    listed = list_runs(runs)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if as_json:
        print_json([each.as_json() for each in listed])
    elif not quiet:
        for each in listed:
            print_line("\n".join(each.lines(width)))
        if not listed:
            print_line(f"No runs in {runs.absolute()} yet: bnexp run configs/quickstart.yaml trains one.")


def remove(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Run folders or their names; 'base-*' means all.", autocompletion=complete_run
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    runs: Runs = DEFAULT_RUNS,
    quiet: Quiet = False,
) -> None:
    """Remove runs with all their files. One that is being trained is refused."""
    from bnexp.errors import InputError
    from bnexp.screen import plain, print_line
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
