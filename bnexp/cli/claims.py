"""`bnexp claims`: what is claimed about batch normalization, tested, with verdicts."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp.cli.options import DEFAULT_RUNS, Device, Json, Quiet, Runs
from bnexp.interrupts import EXIT_CODE, Interrupts

if TYPE_CHECKING:
    from bnexp.claims.evidence import Evidence
    from bnexp.config.claim_files import Claim
    from bnexp.preparing import Plan
    from bnexp.staged import Train
    from bnexp.store.reader import RunRecord

app = typer.Typer(name="claims", help="What is claimed about BN, tested, with verdicts.", no_args_is_help=True)


class Tier(StrEnum):
    """How much is spent on a claim."""

    small = "small"
    full = "full"


class Format(StrEnum):
    """How the table is written."""

    table = "table"
    md = "md"
    json = "json"


def complete_claim(incomplete: str) -> list[str]:
    """Shipped claims."""
    from bnexp.config.shipped import shipped

    return [name for name in shipped("claims") if name.startswith(incomplete)]


Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...", help="Names of claims, or files of your own; none: all.", autocompletion=complete_claim
    ),
]
Tiers = Annotated[Tier, typer.Option("--tier", help="small: minutes on two CPU cores; full: for a GPU.")]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 where an exact claim fails.")]
Rerun = Annotated[bool, typer.Option("--rerun", help="Run anew; runs that are there are kept under a number.")]
All = Annotated[bool, typer.Option("--all", help="Also the measures that stand beside those that decide.")]
Html = Annotated[bool, typer.Option("--html", help="Also write one page, claims.html, beside the claims' runs.")]
Docs = Annotated[
    Path | None,
    typer.Option("--docs", help="Also write claims.md and its pictures into a folder.", file_okay=False),
]
Formats = Annotated[Format, typer.Option("--format", help="How to write the table.")]


@app.command("run")
def run_claims(
    ids: Ids = None,
    tier: Tiers = Tier.small,
    check: Check = False,
    rerun: Rerun = False,
    runs: Runs = DEFAULT_RUNS,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run what is missing of claims, and show the verdicts; the same command again goes on where it was stopped."""
    from bnexp.cli.output import saying
    from bnexp.config.claim_files import find_claims

    claims = find_claims(ids or [])
    silent = as_json or quiet
    try:
        from bnexp import claim_runs  # imports torch

        with Interrupts():
            claim_runs.run_claims(
                claims, tier.value, runs, device, _trainer(silent), saying(silent=silent), rerun=rerun
            )
    except KeyboardInterrupt:
        typer.echo(f"bnexp: interrupted; {runs} keeps what is done, the same command continues it", err=True)
        raise typer.Exit(EXIT_CODE) from None
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
    """Show the verdicts on claims, from what has run."""
    from bnexp.config.claim_files import find_claims

    claims, form = find_claims(ids or []), Format.json if as_json else form
    found = _show(claims, tier, runs, form=form, quiet=quiet, everything=everything)
    written = [
        *(_write_page(found, tier, runs) if html else ()),
        *(_write_docs(found, tier, runs, docs) if docs else ()),
    ]
    if written and form is Format.table and not quiet:
        typer.echo("\n" + "\n".join(map(str, written)))
    _check(found, check)


def _trainer(silent: bool) -> "Train":
    from bnexp.cli.progress import Watching
    from bnexp.runner import run

    def train(plan: "Plan") -> "RunRecord":
        with Watching(plan, silent=silent) as watching:
            return run(plan, watching.see, watching.begin)

    return train


def _show(
    claims: "list[Claim]",
    tier: Tier,
    runs: Path,
    *,
    form: Format,
    quiet: bool,
    everything: bool = False,
) -> "list[Evidence]":
    from bnexp.claims.evidence import evidence
    from bnexp.cli.output import plain, print_json, print_table
    from bnexp.report.claims.rows import rows, rows_json
    from bnexp.report.claims.table import claims_table
    from bnexp.report.table import to_markdown

    found = evidence(claims, tier.value, runs)
    if form is Format.json:
        print_json(rows_json(found))
    elif not quiet:
        table = claims_table(rows(found), f"Claims about batch normalization, {tier.value} tier", everything=everything)
        if form is Format.md:
            print(plain(to_markdown(table)), end="")
        else:
            print_table(table)
    return found


def _check(found: "list[Evidence]", check: bool) -> None:
    if check and any(each.result is not None and not each.result.holds for each in found):
        raise typer.Exit(1)


def _write_page(found: "list[Evidence]", tier: Tier, runs: Path) -> list[Path]:
    from bnexp.report.claims.page import page

    return _written(runs / "claims" / tier.value, {"claims.html": page(found, tier.value).encode()})


def _write_docs(found: "list[Evidence]", tier: Tier, runs: Path, folder: Path) -> list[Path]:
    from bnexp.claims.evidence import evidence
    from bnexp.report.claims.document import document

    claims = [each.claim for each in found]
    others = {other.value: evidence(claims, other.value, runs) for other in Tier if other is not tier}
    command = f"bnexp claims show --tier {tier.value} --docs {folder}"
    return _written(folder, document(found, tier.value, command, others))


def _written(folder: Path, files: dict[str, bytes]) -> list[Path]:
    from bnexp.store.files import replace

    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        replace(folder / name, content)
    return [folder / name for name in files]
