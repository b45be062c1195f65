"""The `bnexp` command: its sub-commands, and the one place where errors become text and exit codes."""

import atexit
import gc
import io
import logging
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
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


app.command("run", short_help="Train the trials of experiments, or continue them.")(run.run)
app.command("compare", short_help="Compare the arms of runs, with intervals over seeds.")(compare.compare)
app.command("report", short_help="Draw pictures and write a page that works offline.")(compare.report)
app.command("watch", short_help="Watch a run while it trains.")(watch.watch)
app.command("probe", short_help="Measure inside the networks that a run ended with.")(networks.probe)
app.command("fold", short_help="Fold batch norm into the weights beside it.")(networks.fold)
app.command("export", short_help="Write a network as a model.py that needs no bnexp.")(networks.export)
app.add_typer(claims.app)
app.add_typer(papers.app)
app.command("show", short_help="Show settings, layers, memory and time; train nothing.")(listing.show)
app.command("list", short_help="List your runs, or the experiments of bnexp.")(listing.list_runs)
app.command("rm")(listing.remove)
app.command("settings")(listing.settings)
app.command("schema", short_help="Print the JSON schema of files, or of an output.")(schema.schema)
app.command("doctor", short_help="Show what this machine has, and check its devices.")(doctor.doctor)


CLOSE = 0.75
"""Likeness of a misspelt word to the one that was meant."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 a trial or the machine failed, 2 wrong input, 130 interrupted."""
    write_everywhere()
    atexit.register(_leave_garbage)
    logging.disable(logging.WARNING)  # what libraries warn programmers about
    try:
        sys.exit(app(standalone_mode=False))
    except TyperException as error:
        _end_usage(error)
    except BnexpError as error:
        _end(str(error), error.exit_code)
    except OSError as error:  # outside of training, whose own message says more
        _end(f"{error.filename}: {error.strerror}" if error.filename else str(error), BnexpError.exit_code)


def _leave_garbage() -> None:
    """Spare Python its last look for garbage, a tenth of a short command; Triton would complain about what is left."""
    if "triton" not in sys.modules:
        gc.freeze()


def _end_usage(error: TyperException) -> NoReturn:
    """Show a mistake in the command itself, in the encoding that standard error has."""
    from bnexp.config.problems import in_our_words

    error.message = in_our_words(error.message)
    usage = cast(typer.BadParameter, error)
    option = re.fullmatch(r"No such option: --([\w.]+)", error.message)
    if option and usage.ctx and usage.ctx.info_name in ("run", "show"):
        options = [name.removeprefix("--") for param in usage.ctx.command.params for name in param.opts]
        if meant := _setting_meant(option[1], options):
            error.message += f"; a setting is written without dashes: {meant}=VALUE"
            usage.possibilities = ()  # type: ignore[attr-defined]
    shown = io.StringIO()  # by itself typer writes UTF-8 even where the encoding is ASCII
    usage.show(shown)
    print(fitted(shown.getvalue(), sys.stderr), end="", file=sys.stderr)
    sys.exit(error.exit_code)


def _setting_meant(word: str, options: Sequence[str]) -> str:
    """Return the setting that was written as an option; nothing if the word is closer to an option, or to neither."""
    from bnexp.config.experiment import ExperimentConfig
    from bnexp.config.keys import leaf_keys

    keys = sorted(leaf_keys(ExperimentConfig), key=lambda key: key.count("."))
    named = {key.rpartition(".")[2]: key for key in reversed(keys)} | {key: key for key in keys}
    close = [word] if word in named else get_close_matches(word, [*options, *named], n=1, cutoff=CLOSE)
    return named.get(close[0], "") if close else ""


def _end(message: str, code: int) -> NoReturn:
    print(fitted(f"bnexp: {plain(message)}", sys.stderr), file=sys.stderr)
    sys.exit(code)
