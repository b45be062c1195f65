"""`bnexp list`: the runs there are, or the shipped configurations."""

from enum import StrEnum
from typing import Annotated

import typer

from bnexp.cli.options import DEFAULT_RUNS, Json, Quiet, Runs


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
    """List runs with state, progress and headline, or the shipped configurations with their questions."""
    from bnexp.cli.output import print_json, print_table
    from bnexp.report.listings import config_rows, listing_table, run_rows

    rows = config_rows() if what is What.configs else run_rows(runs)
    if as_json:
        print_json(rows)
    elif not quiet:
        print_table(listing_table(rows, empty=f"No runs in {runs} yet: bnexp run configs/quickstart.yaml trains one."))
