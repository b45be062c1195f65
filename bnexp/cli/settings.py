"""`bnexp settings`: what can be set, and what it means."""

from typing import Annotated

import typer

from bnexp.cli.options import Json, complete_key

Word = Annotated[
    str | None,
    typer.Argument(
        metavar="[KEY]",
        help="A setting, a section or a word; none: all settings.",
        autocompletion=complete_key,
    ),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown; docs/settings.md is made by it.")]


def settings(word: Word = None, as_json: Json = False, as_markdown: Markdown = False) -> None:
    """Print settings with their meaning, default and possible values."""
    from bnexp.cli.output import print_json
    from bnexp.config.documentation import all_sections, find_settings, to_json, to_markdown, to_text
    from bnexp.screen import print_line

    found = find_settings(word) if word else all_sections()
    if as_json:
        print_json(to_json(found))
    else:
        print_line(to_markdown(found) if as_markdown else to_text(found))
