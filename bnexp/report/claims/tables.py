"""The tables of claims: of all of them, of what was measured for one, and of what a check found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bnexp.report.claims.cells import change_text, margin_text, spread_text
from bnexp.report.claims.rows import NOT_RUN, UNREADABLE, Account, Row, written
from bnexp.report.comparison_table import DIVERGED, DIVERGED_NOTE, filled, number_text, p_text
from bnexp.report.table import Table

NOTES = {
    "regime": "regime: equal, all arms with the same settings; tuned, every arm with what it chose on validation "
    "images, with seeds of its own; measured, side by side by a check; exact, a check that holds or fails",
    "rates": "rates: what each arm chose, or its learning rate; (edge): the end of what was tried, so that better may "
    "lie beyond",
    "Δ [interval]": "Δ: mean and 95 % t interval over the paired seeds; a number above 0 agrees with the claim, a "
    "ratio (×) above 1; margin: the least Δ that counts, written down before the runs",
    "p (Holm)": "p (Holm): of the paired t test, and adjusted for the number of claims that are judged together",
    "diverged": f"epochs to threshold: median, censored; diverged: of all trials; {DIVERGED}",
    "s/step": "s/step: arm / baseline, from the runs as they went, on one clock and not in turns; left out below a "
    "second; costs_per_step measures it properly",
    "verdict": "verdict: OPPOSITE, the interval is below 0; SUPPORTED, above 0 and its mean at least the margin; TOO "
    "SMALL, its upper end is below the margin; INCONCLUSIVE, else. It holds for the setting that was tested, and no "
    "other",
    "published": "published: † from memory of the paper, unverified",
}
"""What columns mean, by the column that a note belongs to."""


def claims_table(told: Sequence[Account], title: str = "", *, wide: bool = False, everything: bool = False) -> Table:
    """Return the table of claims: a line for each regime.

    Args:
        told: as from bnexp.report.claims.rows.
        title: above the table.
        wide: all columns, not only what a verdict is judged by.
        everything: also the measures that stand beside those that decide.
    """
    shown = [row for each in told for row in each.rows if everything or row.measure == each.head.measure]
    headers = WIDE if wide or everything else NARROW
    notes = [note for header, note in NOTES.items() if header in headers]
    if "diverged" not in headers and _counts_diverged(told, shown):
        notes.append(DIVERGED_NOTE)
    return filled([(header, CELLS[header]) for header in headers], shown, title, [*notes, *not_run(told)])


def _counts_diverged(told: Sequence[Account], shown: Sequence[Row]) -> bool:
    """Whether a row is about how many trials diverged."""
    measures = [measure for each in told for measure in each.claim.settings.measures]
    labels = {measure.label for measure in measures if measure.value == "diverged"}
    return any(row.measure in labels for row in shown)


def not_run(told: Sequence[Account]) -> list[str]:
    """Return the line that names the command for what has not run, if something has not."""
    missing = [each for each in told if each.head.verdict in (NOT_RUN, UNREADABLE)]
    if not missing:
        return []
    every = len(missing) == len(told) and len(told) > 1
    return [f"not run: bnexp claims run{'' if every else ' ' + ' '.join(written(each.claim) for each in missing)}"]


def verdicts_table(tiers: Mapping[str, Sequence[Account]]) -> Table:
    """Return the verdicts, a column for each tier, and what was tested; every claim links to its section."""
    lines = tuple(
        (
            f"[{each[0].claim.id}](#{each[0].claim.id})",
            *(account.head.verdict for account in each),
            " ".join((each[0].claim.settings.tested or each[0].claim.settings.claim).split()),
        )
        for each in zip(*tiers.values(), strict=True)
    )
    return Table(("claim", *(f"{tier} tier" for tier in tiers), "what was tested"), lines)


def measures_table(told: Account) -> Table:
    """Return what is known about one claim: a line for each measure and regime, the deciding one marked."""
    table = filled([(header, CELLS[header]) for header in OF_ONE], told.measured, "")
    return replace(table, marked=tuple(place for place, row in enumerate(told.measured) if row.decides))


def findings_table(told: Account) -> Table:
    """Return what a check found, line by line."""
    findings = told.evidence.result.findings if told.evidence.result else ()
    lines = [
        (
            each.what,
            each.found,
            "told" if each.error is None else f"{each.error:.2g} of {each.tolerance or 0:.2g}",
            "" if each.error is None else "holds" if each.holds else "FAILS",
        )
        for each in findings
    ]
    return Table(("what", "found", "error", ""), tuple(lines))


def _verdict(row: Row) -> str:
    return "; ".join((row.verdict, *row.reasons))


def _named(row: Row, place: int) -> str:
    values = (row.baseline, row.treated)[place]
    return "-" if row.arms is None else f"{row.arms[place]} {spread_text(values)}"


CELLS: dict[str, Callable[[Row], str]] = {
    "claim": lambda row: row.claim,
    "measure": lambda row: row.measure or "-",
    "regime": lambda row: row.regime,
    "rates": lambda row: " | ".join(row.rates) or "-",
    "n": lambda row: number_text(row.n, "d"),
    "baseline": lambda row: _named(row, 0),
    "arm": lambda row: _named(row, 1),
    "Δ [interval]": lambda row: change_text(row.change, row.ratio),
    "margin": lambda row: margin_text(row.margin, row.ratio),
    "d_z": lambda row: number_text(row.effect, ".2f"),
    "p (Holm)": lambda row: "-" if row.p is None else f"{p_text(row.p)} ({p_text(row.p_holm)})",
    "epochs to threshold": lambda row: " | ".join(row.time_to) or "-",
    "diverged": lambda row: " | ".join(row.diverged) or "-",
    "s/step": lambda row: "-" if row.step_ratio is None else f"×{row.step_ratio:.2f}",
    "verdict": _verdict,
    "published": lambda row: "; ".join(row.published) or "-",
}
"""Every column by its header."""
WIDE = tuple(CELLS)
NARROW = ("claim", "measure", "regime", "Δ [interval]", "margin", "n", "verdict")
"""What a verdict is judged by."""
OF_ONE = ("measure", "regime", "n", "baseline", "arm", "Δ [interval]", "margin", "d_z", "p (Holm)", "verdict")
"""Of a claim by itself."""
