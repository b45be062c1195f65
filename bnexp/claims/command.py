"""`bnexp claims`: what is claimed about batch normalization, tested, with verdicts."""

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnexp.cli.options import DEFAULT_RUNS, Address, Device, EngineName, Json, Quiet, Runs, Workers
from bnexp.runner.signals import EXIT_CODE, Interrupts

if TYPE_CHECKING:
    from bnexp.claims.catalogue import Claim
    from bnexp.claims.entries import Entry
    from bnexp.claims.evidence import Evidence
    from bnexp.claims.pages import Page
    from bnexp.engines.engine import EngineChoice

WIDE_FROM = 160
"""The whole table needs a terminal with this many columns; others, and pipes, get the columns that verdicts rest on."""

app = typer.Typer(name="claims", help="What is claimed about BN, tested, with verdicts.", no_args_is_help=True)


class Tier(StrEnum):
    """How much computing a claim may take."""

    small = "small"
    full = "full"


class Format(StrEnum):
    """How the table is written."""

    table = "table"
    md = "md"
    json = "json"


def completion(catalogue: str) -> Callable[[str], list[str]]:
    """Return the shell completion for the names of shipped claims or papers."""

    def complete(incomplete: str) -> list[str]:
        from bnexp.config.load import shipped

        return [name for name in shipped(catalogue) if name.startswith(incomplete)]

    return complete


Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...",
        help="Names of claims, or files of your own. Default: all.",
        autocompletion=completion("claims"),
    ),
]
Tiers = Annotated[Tier, typer.Option("--tier", help="small: minutes on two CPU cores; full: for a GPU.")]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 if an exact claim fails, or has not run.")]
Rerun = Annotated[bool, typer.Option("--rerun", help="Run again; the old runs are kept under a number.")]
All = Annotated[bool, typer.Option("--all", help="Show every column, and also the measures that don't decide.")]
Html = Annotated[
    bool, typer.Option("--html", help="Also write a page for a class, and its pictures as files, beside the runs.")
]
Docs = Annotated[
    Path | None, typer.Option("--docs", help="Also write claims.md and its pictures into a folder.", file_okay=False)
]
Formats = Annotated[Format, typer.Option("--format", help="How to write the table.")]


@app.command("run", short_help="Run claims that have not run yet, and show the verdicts.")
def run_claims(
    ids: Ids = None,
    tier: Tiers = Tier.small,
    check: Check = False,
    rerun: Rerun = False,
    runs: Runs = DEFAULT_RUNS,
    device: Device = "auto",
    engine: EngineName = "local",
    workers: Workers = None,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run claims that have not run yet, and show the verdicts; the same command again continues."""
    from bnexp.claims.catalogue import find_claims
    from bnexp.claims.evidence import undecided
    from bnexp.engines.engine import EngineChoice

    claims = find_claims(ids or [])
    run_missing(
        claims,
        tier,
        runs,
        EngineChoice(device, engine, workers, address),
        rerun=rerun,
        silent=as_json or quiet,
        undecided=lambda claim: undecided(claim, tier.value, runs),
    )
    _check(_show(claims, tier, runs, form=Format.json if as_json else Format.table, quiet=quiet), check)


@app.command("show")
def show_claims(
    ids: Ids = None,
    tier: Tiers = Tier.small,
    check: Check = False,
    everything: All = False,
    form: Formats = Format.table,
    html: Html = False,
    docs: Docs = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the verdicts on claims, from the runs so far."""
    from bnexp.claims.catalogue import find_claims
    from bnexp.errors import InputError
    from bnexp.screen import print_line

    if ids and docs:
        raise InputError(f"--docs: the document is of all claims; leave out {' '.join(ids)}")
    claims, form = find_claims(ids or []), Format.json if as_json else form
    found = _show(claims, tier, runs, form=form, quiet=quiet, everything=everything, known=html or docs is not None)
    written = _write(found, tier, runs, html=html, docs=docs) if html or docs else []
    if written and form is Format.table and not quiet:
        print_line("\n" + "\n".join(map(str, written)))
    _check(found, check)


def run_missing(
    entries: "Sequence[Entry[Any]]",
    tier: Tier,
    runs: Path,
    engine: "EngineChoice",
    *,
    rerun: bool,
    silent: bool,
    undecided: Callable[[Any], bool] = lambda entry: False,
) -> None:
    """Run the claims or papers that have not run yet, and report progress; see run_entries."""
    from bnexp.cli.output import saying
    from bnexp.screen import warn

    try:
        from bnexp.claims.runs import run_entries

        say = saying(silent=silent)
        with Interrupts():
            run_entries(entries, tier.value, runs, say, engine, rerun=rerun, progress=not silent, undecided=undecided)
    except KeyboardInterrupt:
        warn(f"interrupted; {runs} keeps what is done, the same command continues it")
        raise typer.Exit(EXIT_CODE) from None


def _show(
    claims: "list[Claim]",
    tier: Tier,
    runs: Path,
    *,
    form: Format,
    quiet: bool,
    everything: bool = False,
    known: bool = False,
) -> "list[Evidence]":
    """Print the verdicts and return the evidence; with `known`, judge all measures, printed or not."""
    from bnexp.claims.evidence import evidence
    from bnexp.claims.rows import rows_json
    from bnexp.claims.tables import claims_table
    from bnexp.cli.output import print_json, print_table
    from bnexp.report.table import to_markdown
    from bnexp.screen import plain, warn

    found = evidence(claims, tier.value, runs, everything=everything or known or form is Format.json)
    for fault in dict.fromkeys(fault for each in found for fault in each.unreadable):
        warn(f"left out: {fault}")
    if form is Format.json:
        print_json(rows_json(found))
    elif not quiet:
        has_room = sys.stdout.isatty() and shutil.get_terminal_size().columns >= WIDE_FROM
        title = f"Claims about batch normalization, {tier.value} tier"
        table = claims_table(found, title, wide=form is Format.md or has_room, everything=everything)
        if form is Format.md:
            print(plain(to_markdown(table)), end="")
        else:
            print_table(table)
    return found


def _check(found: "list[Evidence]", check: bool) -> None:
    from bnexp.screen import warn

    if not check:
        return
    exact = [each for each in found if each.claim.settings.kind == "exact"]
    if missing := [each.claim.id for each in exact if each.result is None]:
        warn(f"--check: no result of {', '.join(missing)}")
    if missing or any(each.result and not each.result.holds for each in found):
        raise typer.Exit(1)


def _write(found: "list[Evidence]", tier: Tier, runs: Path, *, html: bool, docs: Path | None) -> list[Path]:
    """Write the page and the document, if they are wanted; return their files."""
    from bnexp.claims.documents import claims_page, document
    from bnexp.claims.evidence import evidence
    from bnexp.config.text import escaped

    command = escaped(shlex.join(["bnexp", *sys.argv[1:]]))
    pages = write_page(claims_page(found, tier.value, command), "claims", tier, runs) if html else []
    files: dict[Path, bytes] = {}
    if docs:
        claims, rest = [each.claim for each in found], [other for other in Tier if other is not tier]
        others = {other.value: evidence(claims, other.value, runs, everything=False) for other in rest}
        files |= {docs / name: content for name, content in document(found, tier.value, command, others).items()}
    write_files(files)
    return [*pages, *files]


def write_page(page: "Page", catalogue: str, tier: Tier, runs: Path) -> list[Path]:
    """Write a page and its slides beside the runs of a catalogue; return the page, and the folder of the slides."""
    from bnexp.claims.pages import SLIDES, page_files

    folder = runs / catalogue / tier.value
    files = page_files(page, catalogue)
    write_files({folder / name: content for name, content in files.items()})
    return [folder / f"{catalogue}.html", *([folder / SLIDES] if len(files) > 1 else [])]


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write files, and the folders that they need."""
    from bnexp.store.files import replace

    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, content)
