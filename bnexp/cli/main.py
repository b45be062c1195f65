"""The `bnexp` command: its sub-commands, and the one place where errors become text and exit codes."""

import logging
import re
import sys
from typing import Annotated, NoReturn, cast

import typer
from typer.exceptions import TyperException

from bnexp import __version__
from bnexp.claims import command as claims
from bnexp.cli import compare, doctor, listing, networks, run, schema, watch
from bnexp.cli.output import write_everywhere
from bnexp.errors import BnexpError
from bnexp.papers import command as papers
from bnexp.screen import fitted, plain

app = typer.Typer(
    name="bnexp",
    help="What does batch normalization do here? Train with and without it, and compare.",
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


app.command("run")(run.run)
app.command("compare")(compare.compare)
app.command("report")(compare.report)
app.command("watch")(watch.watch)
app.command("probe")(networks.probe)
app.command("fold")(networks.fold)
app.command("export")(networks.export)
app.add_typer(claims.app)
app.add_typer(papers.app)
app.command("show")(listing.show)
app.command("list")(listing.list_runs)
app.command("rm")(listing.remove)
app.command("settings")(listing.settings)
app.command("schema")(schema.schema)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line and exit: 0 done, 1 a trial or the machine failed, 2 wrong input, 130 interrupted."""
    write_everywhere()
    logging.disable(logging.WARNING)  # what libraries warn programmers about
    try:
        sys.exit(app(standalone_mode=False))
    except TyperException as error:
        _end_usage(error)
    except BnexpError as error:
        _end(str(error), error.exit_code)
    except OSError as error:  # outside of training, whose own message says more
        _end(f"{error.filename}: {error.strerror}" if error.filename else str(error), BnexpError.exit_code)


def _end_usage(error: TyperException) -> NoReturn:
    """Show a mistake in the command itself, in the encoding that standard error has."""
    from bnexp.config.problems import in_our_words

    error.message = in_our_words(error.message)
    usage = cast(typer.BadParameter, error)
    option = re.fullmatch(r"No such option: --([\w.]+)", error.message)
    if option and usage.ctx and usage.ctx.info_name in ("run", "show"):
        error.message += _without_dashes(option[1])
    # Without the file, typer writes UTF-8 even where the encoding is ASCII.
    usage.show(sys.stderr)
    sys.exit(error.exit_code)


def _without_dashes(word: str) -> str:
    """Return how to write a setting that was written as an option; nothing if there is no such setting."""
    from bnexp.config.experiment import ExperimentConfig
    from bnexp.config.keys import leaf_keys

    keys = sorted(leaf_keys(ExperimentConfig), key=lambda key: key.count("."))
    meant = next((key for key in keys if key == word or key.endswith(f".{word}")), None)
    return f"; a setting is written without dashes: {meant}=VALUE" if meant else ""


def _end(message: str, code: int) -> NoReturn:
    print(fitted(f"bnexp: {plain(message)}", sys.stderr), file=sys.stderr)
    sys.exit(code)
