"""Printing: tables drawn for a terminal, plain lines in a pipe, JSON for scripts."""

import json
import sys
from typing import Any

from bnexp.report.table import Table, to_rich, to_text


def print_table(table: Table) -> None:
    """Print a table as the place it goes to can show it."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(to_rich(table))
    else:
        print(to_text(table), end="")


def print_json(value: Any) -> None:
    """Print a value as JSON; an infinity or NaN in it would be a fault, not output."""
    print(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))
