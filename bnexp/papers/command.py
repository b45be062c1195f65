"""`bnexp papers`: what papers and lessons published about batch normalization, repeated."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bnexp.claims.command import Html, Rerun, Tier, Tiers, completion, run_missing, write_files, write_page
from bnexp.cli.options import DEFAULT_RUNS, Address, Device, EngineName, Json, Quiet, Runs, Workers

app = typer.Typer(name="papers", help="What papers and lessons published about BN, repeated.", no_args_is_help=True)


Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]... [ID.key=value]...",
        help="Names of papers, or files of your own. Default: all. ID.key=value changes an experiment.",
        autocompletion=completion("papers"),
    ),
]
Docs = Annotated[
    Path | None, typer.Option("--docs", help="Also write papers.md and its pictures into a folder.", file_okay=False)
]


@app.command("run", short_help="Repeat what has not run yet, beside what was published.")
def run_papers(
    words: Words = None,
    tier: Tiers = Tier.small,
    rerun: Rerun = False,
    runs: Runs = DEFAULT_RUNS,
    device: Device = "auto",
    engine: EngineName = "local",
    workers: Workers = None,
    address: Address = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Repeat what has not run yet, and show it beside what was published; the same command again continues."""
    from bnexp.engines.engine import EngineChoice
    from bnexp.papers.catalogue import find_papers

    papers, choice = find_papers(words or []), EngineChoice(device, engine, workers, address)
    run_missing(papers, tier, runs, choice, rerun=rerun, silent=as_json or quiet)
    show_papers(words, tier, False, None, runs, as_json, quiet)


@app.command("show")
def show_papers(
    words: Words = None,
    tier: Tiers = Tier.small,
    html: Html = False,
    docs: Docs = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show published numbers beside ours, from the runs so far."""
    from bnexp.cli.output import print_json, print_table
    from bnexp.config.text import escaped
    from bnexp.errors import InputError
    from bnexp.papers.catalogue import find_papers
    from bnexp.papers.documents import document, paper_table, papers_page, results_json
    from bnexp.papers.results import results
    from bnexp.screen import print_line, warn

    if docs and (named := [word for word in words or [] if "=" not in word]):
        raise InputError(f"--docs: the document is of all papers; leave out {' '.join(named)}")
    papers = find_papers(words or [])
    found = results(papers, tier.value, runs)
    for each in found:
        if each.unreadable:
            warn(f"left out: {each.unreadable}")
    if as_json:
        print_json(results_json(found))
    elif not quiet:
        print_table(*map(paper_table, found))
    command = escaped(shlex.join(["bnexp", *sys.argv[1:]]))
    written = write_page(papers_page(found, tier.value, command), "papers", tier, runs) if html else []
    if docs:
        others = {other.value: results(papers, other.value, runs) for other in Tier if other is not tier}
        files = {docs / name: content for name, content in document(found, tier.value, command, others).items()}
        write_files(files)
        written += files
    if written and not (as_json or quiet):
        print_line("\n" + "\n".join(map(str, written)))
