"""`bnexp schema`: JSON schemas of the files that people write, and of what commands print."""

from pkgutil import resolve_name
from typing import Annotated

import typer

from bnexp.cli.output import print_json
from bnexp.errors import InputError, nearest

FILES = {
    "experiment": "bnexp.config.experiment:ExperimentConfig",
    "claim": "bnexp.claims.catalogue:ClaimSettings",
    "paper": "bnexp.papers.catalogue:PaperSettings",
}
"""The models that files are read into."""


def complete_what(incomplete: str) -> list[str]:
    """All that has a schema."""
    from bnexp.cli.outputs import OUTPUTS

    return [name for name in (*FILES, *OUTPUTS) if name.startswith(incomplete)]


What = Annotated[
    str,
    typer.Argument(
        metavar="[NAME]",
        help="experiment, claim or paper: schema of files; list, compare, show, …: of what --json prints.",
        autocompletion=complete_what,
    ),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the page about --json; docs/json.md is made by it.")]


def schema(what: What = "experiment", as_markdown: Markdown = False) -> None:
    """Print the JSON schema of configuration files, which editors use to complete and check them, or of an output.

    A file names its schema in its first line: # yaml-language-server: $schema=schema.json
    """
    from bnexp.cli.outputs import OUTPUTS, to_markdown
    from bnexp.config.schema import file_schema

    known = [*FILES, *OUTPUTS]
    if as_markdown:
        print(to_markdown())
    elif what in FILES:
        print_json(file_schema(resolve_name(FILES[what])))
    elif what in OUTPUTS:
        print_json(OUTPUTS[what].schema())
    else:
        raise InputError(f"{what}: no such schema{nearest(what, known)}; there are {', '.join(known)}")
