"""Results on claims in tables: for terminals, documents and the page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bnexp.claims.evidence import Evidence
from bnexp.claims.rows import UNREADABLE, Row, change_cell, headline, margin_text, rows_of, spread_text
from bnexp.claims.verdicts import VerdictLabel
from bnexp.report.columns import DIVERGED, DIVERGED_NOTE, number, p_value
from bnexp.report.table import MISSING, Cell, Column, Table, plain_table

MOST_NAMED = 8
"""Up to this many claims or papers that have not run are named; of more only the number is given."""


def not_run(found: Sequence[Evidence]) -> list[str]:
    """Return the line that names the command for what has not run, if something has not."""
    missing = [each.claim.command_line_name for each in found if each.missing or each.unreadable]
    return command_for("claims", missing, len(found))


def command_for(kind: str, missing: Sequence[str], total: int) -> list[str]:
    """Return the line that names the command for claims or papers that have not run, if some have not.

    Args:
        kind: claims or papers.
        missing: what the command line calls those that have not run.
        total: how many there are.
    """
    if not missing:
        return []
    every = len(missing) == total and total > 1
    if not every and len(missing) > MOST_NAMED:
        return [f"not run: {len(missing)} of {total} {kind}, such as {missing[0]}; bnexp {kind} run runs them all"]
    return [f"not run: {' '.join([f'bnexp {kind} run', *([] if every else missing)])}"]


def claims_table(found: Sequence[Evidence], title: str = "", *, wide: bool = False, everything: bool = False) -> Table:
    """Return the table of claims: a line for each regime.

    Args:
        found: what is known about each claim.
        title: above the table.
        wide: all columns; otherwise what fits a terminal, with the wording of claims that the data contradict below.
        everything: also the measures that stand beside those that decide.
    """
    rows = {each.claim.id: rows_of(each) for each in found}
    shown = [row for some in rows.values() for row in some if everything or row.measure == some[0].measure]
    if wide or everything:
        return Table(COLUMNS, shown, title, tuple(not_run(found)))
    counting = {m.label for each in found for m in each.claim.settings.measures if m.value == "diverged"}
    notes = [DIVERGED_NOTE] if any(row.measure in counting for row in shown) else []
    return Table(NARROW, shown, title, (*notes, *_contradicted(found), *not_run(found))).known()


def _contradicted(found: Sequence[Evidence]) -> Iterator[str]:
    """Yield the wording of claims that fail or are opposite, what others depend on, and unreadable files."""
    for evidence in found:
        row = rows_of(evidence)[0]
        whole = "; ".join((row.verdict, *row.reasons))
        if row.verdict == UNREADABLE or evidence.label is VerdictLabel.depends:
            yield f"{row.claim}: {whole}"
        elif evidence.label in (VerdictLabel.opposite, VerdictLabel.fails):
            verdict = whole if evidence.result else row.verdict
            yield f"{row.claim}: {verdict}. The claim: {' '.join(evidence.claim.settings.claim.split())}"


def verdicts_table(tiers: Mapping[str, Sequence[Evidence]]) -> Table:
    """Return the verdicts, a column for each tier; the wording of each claim links to its section."""
    lines = [
        (f"[{' '.join(each[0].claim.settings.claim.split())}](#{each[0].claim.id})", *map(headline, each))
        for each in zip(*tiers.values(), strict=True)
    ]
    return plain_table(("claim", *(f"{tier} tier" for tier in tiers)), lines)


def evidence_tables(evidence: Evidence) -> list[Table]:
    """Return the tables of one claim: its measures in each regime, the deciding ones marked, and its findings."""
    tables = []
    if rows := [row for row in rows_of(evidence) if row.arms]:
        hidden = ("claim", "rates", "epochs to threshold", "diverged", "s/step", "published")
        columns = tuple(replace(column, legend="") for column in COLUMNS if column.header not in hidden)
        marked = tuple(place for place, row in enumerate(rows) if row.decides)
        tables.append(Table(columns, rows, marked=marked).known())
    if evidence.result:
        lines = []
        for each in evidence.result.findings:
            tested = ("told", "")
            if each.error is not None:
                tested = f"{each.error:.2g} of {each.tolerance or 0:.2g}", "holds" if each.holds else "FAILS"
            lines.append((each.what, each.found, *tested))
        tables.append(plain_table(("what", "found", "error", ""), lines))
    return tables


def _arm(row: Row, place: int) -> str:
    return MISSING if row.arms is None else f"{row.arms[place]} {spread_text((row.baseline, row.treated)[place])}"


def _pairs(row: Row) -> Cell:
    """Return the number of pairs; with several looks, also which look it is."""
    looks = "" if row.looks is None else f"(look {row.looks[0]} of {row.looks[1]})"
    return replace(number(row.n, "d"), detail=looks)


def _listed(header: str, field: str, sign: str = " | ", legend: str = "") -> Column[Row]:
    return Column(header, lambda row: sign.join(getattr(row, field)) or MISSING, kind="text", legend=legend)


COLUMNS: tuple[Column[Row], ...] = (
    Column("claim", lambda row: row.claim, kind="text"),
    Column("measure", lambda row: row.measure or MISSING, kind="text", shared=True),
    Column("where", lambda row: row.where or MISSING, kind="text"),
    Column(
        "regime",
        lambda row: row.regime,
        kind="text",
        legend="regime: equal, all arms with the same settings; tuned, every arm with what it chose on validation "
        "images, with seeds of its own; measured, side by side by a check; exact, a check that holds or fails",
    ),
    _listed(
        "rates",
        "rates",
        legend="rates: what each arm chose, or its learning rate; (edge): the end of what was tried, so that better "
        "may lie beyond",
    ),
    Column("n", _pairs),
    Column("baseline", lambda row: _arm(row, 0), kind="text"),
    Column("arm", lambda row: _arm(row, 1), kind="text"),
    Column(
        "Δ [interval]",
        lambda row: change_cell(row.change, row.ratio),
        legend="Δ: mean and 95 % interval over n pairs, each of a seed or of a tuning with its seeds; a number above 0 "
        "agrees with the claim, a ratio (×) above 1; margin: the least Δ that counts, written down before the runs; "
        "look: a claim that is INCONCLUSIVE looks again with more pairs, and its interval is valid over all looks",
    ),
    Column("margin", lambda row: margin_text(row.margin, row.ratio)),
    Column("d_z", lambda row: number(row.effect, ".2f")),
    Column(
        "p (Holm)",
        lambda row: MISSING if row.p is None else f"{p_value(row.p)} ({p_value(row.p_holm)})",
        legend="p (Holm): of the paired t test, and adjusted for the number of rows by which all claims are judged",
    ),
    _listed("epochs to threshold", "time_to"),
    _listed(
        "diverged", "diverged", legend=f"epochs to threshold: median, censored; diverged: of all trials; {DIVERGED}"
    ),
    Column(
        "s/step",
        lambda row: MISSING if row.step_ratio is None else f"×{row.step_ratio:.2f}",
        legend="s/step: arm / baseline, from the runs as they went, on one clock and not in turns; left out below a "
        "second; costs_per_step measures it properly",
    ),
    Column(
        "verdict",
        lambda row: "; ".join((row.verdict, *row.reasons)),
        kind="text",
        legend="verdict: SUPPORTED, the interval is above 0 and its mean at least the margin; OPPOSITE, the same in "
        "the other direction; EQUIVALENT, the whole interval is within the margin, on both sides of 0; TOO SMALL, it "
        "is on one side of 0 but its mean within the margin; INCONCLUSIVE, else; "
        "DEPENDS, not the same in all its rows. It holds for the setting that was tested, and no other",
    ),
    _listed("published", "published", sign="; ", legend="published: † from memory of the paper, unverified"),
)
NARROW: tuple[Column[Row], ...] = (
    *(column for column in COLUMNS if column.header in ("claim", "measure", "where", "regime", "Δ [interval]")),
    *(replace(column, drop=1) for column in COLUMNS if column.header in ("margin", "n")),
    *(replace(column, cell=lambda row: row.verdict) for column in COLUMNS if column.header == "verdict"),
)
"""The columns that a verdict rests on, without remarks."""
