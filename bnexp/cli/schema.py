"""`bnexp schema`: JSON schemas of the files that people write."""

from enum import StrEnum
from pkgutil import resolve_name
from typing import Annotated

import typer

from bnexp.cli.output import print_json


class What(StrEnum):
    """Things that have a schema."""

    experiment = "experiment"
    claim = "claim"
    paper = "paper"


FILES = {
    What.experiment: "bnexp.config.experiment:ExperimentConfig",
    What.claim: "bnexp.claims.catalogue:ClaimSettings",
    What.paper: "bnexp.papers.catalogue:PaperSettings",
}
"""The models that files are read into."""

Whats = Annotated[What, typer.Argument(help="What the files describe.")]


def schema(what: Whats = What.experiment) -> None:
    """Print the JSON schema of configuration files, with which editors complete and check them.

    A file names it in its first line: # yaml-language-server: $schema=schema.json
    """
    from bnexp.config.schema import file_schema

    print_json(file_schema(resolve_name(FILES[what])))
