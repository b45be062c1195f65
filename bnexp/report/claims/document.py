"""docs/claims.md: what is claimed and what was found, in Markdown, with a picture for each claim from data."""

from collections.abc import Iterator, Mapping, Sequence

from bnexp.claims.evidence import Evidence
from bnexp.report.claims.pictures import claim_figure, verdicts_figure
from bnexp.report.claims.rows import Row, rows
from bnexp.report.claims.table import change_text, claims_table, spread_text, verdict_text
from bnexp.report.claims.words import cost, setting, surprises, verdict_sentence
from bnexp.report.comparison_table import Column, filled, number_text, p_text
from bnexp.report.figures.sheet import picture
from bnexp.report.table import Table, to_markdown

PICTURES = "claims"
"""Folder of the pictures beside the document."""


def document(
    found: Sequence[Evidence], tier: str, command: str, others: Mapping[str, Sequence[Evidence]] | None = None
) -> dict[str, bytes]:
    """Return the document and its pictures by their paths.

    Args:
        found: what is known about the claims.
        tier: in which they ran.
        command: that made it.
        others: what is known about the same claims in other tiers, by their names: only the verdicts are told.
    """
    drawn = {each.claim.id: figure for each in found if (figure := claim_figure(each))}
    files = {f"{PICTURES}/{name}.png": picture(figure, "png") for name, figure in drawn.items()}
    if any(each.decisive for each in found):
        files[f"{PICTURES}/verdicts.png"] = picture(verdicts_figure(found), "png")
    verdicts = _verdicts({tier: found} | dict(others or {}))
    parts = [
        *_head(found, tier, command, verdicts),
        *(part for each in found for part in _claim(each, each.claim.id in drawn)),
    ]
    return {"claims.md": ("\n\n".join(part.strip() for part in parts) + "\n").encode()} | files


def _head(found: Sequence[Evidence], tier: str, command: str, verdicts: Table) -> Iterator[str]:
    yield "# What is claimed about batch normalization, and what was found"
    yield (
        f"Made by `{command}` from the runs of the {tier} tier; nothing here is typed. A verdict holds for the setting "
        "under it, and no other."
    )
    if machines := list(dict.fromkeys(text for each in found for text in _machines(each))):
        yield "Measured on " + "; ".join(machines) + "."
    yield to_markdown(verdicts)
    if any(each.decisive for each in found):
        yield f"![Mean change of every claim with its interval, in margins]({PICTURES}/verdicts.png)"
    yield to_markdown(claims_table(rows(found), "All numbers"))


def _machines(evidence: Evidence) -> Iterator[str]:
    for study in evidence.studies.values():
        for about in study.environments.values():
            yield (
                f"{about.get('device_name')} ({about.get('device')}, {about.get('cores')} cores), "
                f"torch {about.get('torch')}, bnexp {about.get('bnexp')}"
            )


def _verdicts(tiers: Mapping[str, Sequence[Evidence]]) -> Table:
    """Return the verdicts, a column for each tier."""
    lines = tuple(
        (
            f"[{each[0].claim.id}](#{each[0].claim.id})",
            *(rows([evidence])[0].verdict for evidence in each),
            " ".join(each[0].claim.settings.claim.split()),
        )
        for each in zip(*tiers.values(), strict=True)
    )
    return Table(("claim", *(f"{tier} tier" for tier in tiers), "as the notes put it"), lines)


def _claim(evidence: Evidence, drawn: bool) -> Iterator[str]:
    settings = evidence.claim.settings
    yield f"## {evidence.claim.id}"
    wrong = "" if settings.as_worded else " This is wrong as worded."
    yield f"> {settings.claim.strip()} ({', '.join(settings.notes)})"
    if settings.tested:
        yield f"{wrong.strip()} Tested: {settings.tested.strip()}".strip()
    yield f"**{rows([evidence])[0].verdict}.** {verdict_sentence(evidence)}"
    if drawn:
        yield f"![{evidence.claim.id}]({PICTURES}/{evidence.claim.id}.png)"
    if evidence.rows:
        yield to_markdown(measures_table([row for row in rows([evidence]) if row.arms]))
    if evidence.result:
        yield to_markdown(findings_table(evidence))
    if surprising := surprises(evidence):
        yield "\n".join(f"- {line}" for line in surprising)
    if settings.expect:
        yield settings.expect.strip()
    ran = evidence.studies or evidence.result
    facts = {
        "Setting": setting(evidence),
        "Cost": cost(evidence) if ran else "",
        "Literature": "; ".join(settings.literature),
    }
    facts["Published"] = "; ".join(rows([evidence])[0].published)
    yield "\n".join(f"- {name}: {text}" for name, text in facts.items() if text)


def measures_table(found: Sequence[Row]) -> Table:
    """Return what is known about one claim: a line for each regime and measure."""
    columns: list[Column[Row]] = [
        ("measure", lambda row: f"**{row.measure}**" if row.decides else row.measure),
        ("regime", lambda row: row.regime),
        ("n", lambda row: number_text(row.n, "d")),
        ("baseline", lambda row: f"{row.arms[0]} {spread_text(row.baseline)}" if row.arms else "-"),
        ("arm", lambda row: f"{row.arms[1]} {spread_text(row.treated)}" if row.arms else "-"),
        ("Δ [interval]", change_text),
        ("d_z", lambda row: number_text(row.effect, ".2f")),
        ("p (Holm)", lambda row: f"{p_text(row.p)} ({p_text(row.p_holm)})"),
        ("verdict", verdict_text),
    ]
    return filled(columns, found, "")


def findings_table(evidence: Evidence) -> Table:
    """Return what a check found, line by line."""
    findings = evidence.result.findings if evidence.result else ()
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
