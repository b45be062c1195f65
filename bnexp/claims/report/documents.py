"""Claims as documents: docs/claims.md, and one HTML page."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bnexp.claims.evidence import VerdictLabel
from bnexp.claims.report.pictures import claim_figure, verdicts_figure
from bnexp.claims.report.rows import ClaimReport
from bnexp.claims.report.words import (
    claims_table,
    cost,
    findings_table,
    measured_on,
    measures_table,
    not_run,
    setting_text,
    surprises,
    verdict_sentence,
    verdicts_table,
)
from bnexp.report.figures.frame import figure_bytes
from bnexp.report.html.templates import asset, script_json, svg_uri, template
from bnexp.report.style import ON_DARK
from bnexp.report.table import to_markdown

PICTURES = "claims"
"""Folder of the pictures beside the document."""


def document(
    reports: Sequence[ClaimReport], tier: str, command: str, others: Mapping[str, Sequence[ClaimReport]] | None = None
) -> dict[str, bytes]:
    """Return the document and its pictures by their paths.

    Args:
        reports: those of the claims, in order.
        tier: in which they ran.
        command: that made it.
        others: reports on the same claims in other tiers, by tier; only their verdicts are shown.
    """
    drawn = {each.claim.id: figure for each in reports if (figure := claim_figure(each.evidence))}
    if overview := verdicts_figure([each.evidence for each in reports]):
        drawn["verdicts"] = overview
    parts = [
        *_head(reports, {tier: reports} | dict(others or {}), command, overview is not None),
        *(part for each in reports for part in _claim(each, each.claim.id in drawn)),
    ]
    text = "\n\n".join(part.strip() for part in parts if part) + "\n"
    files = {f"{PICTURES}/{name}.png": figure_bytes(figure, "png") for name, figure in drawn.items()}
    return {"claims.md": text.encode()} | files


def _head(
    reports: Sequence[ClaimReport], tiers: Mapping[str, Sequence[ClaimReport]], command: str, overview: bool
) -> Iterator[str]:
    tier = next(iter(tiers))
    yield "# What is claimed about batch normalization, and what was found"
    yield (
        f"Made by `bnexp claims run --tier {tier}` and `{command}`. A verdict holds for the setting under it, and no "
        "other. (S0) to (S4) are the study notes that a claim comes from."
    )
    yield measured_on(reports)
    yield to_markdown(verdicts_table(tiers))
    if overview:
        yield f"![Mean change of every claim with its interval, in margins]({PICTURES}/verdicts.png)"
    yield to_markdown(claims_table(reports, "All numbers", wide=True))


def _claim(report: ClaimReport, drawn: bool) -> Iterator[str]:
    settings = report.claim.settings
    yield f"## {report.claim.id}"
    yield f"> {settings.claim.strip()} ({', '.join(settings.notes)})"
    wrong = "" if settings.as_worded else "This is wrong as worded. "
    if settings.tested:
        yield f"{wrong}Tested: {settings.tested.strip()}"
    yield f"**{report.head.verdict}.** {verdict_sentence(report)}"
    if drawn:
        yield f"![{report.claim.id}]({PICTURES}/{report.claim.id}.png)"
    if report.measured:
        yield to_markdown(measures_table(report))
    if report.evidence.result:
        yield to_markdown(findings_table(report))
    yield "\n".join(f"- {line}" for line in surprises(report))
    if settings.expect:
        yield f"Expected before the run: {settings.expect.strip()}"
    facts = {
        "Setting": setting_text(report.evidence.experiment) if report.evidence.experiment else "",
        "Cost": cost(report),
        "Literature": "; ".join(settings.literature),
        "Published": "; ".join(report.head.published),
    }
    yield "\n".join(f"- {name}: {text}" for name, text in facts.items() if text)


PACKAGE = "bnexp.claims.report"
KINDS = {
    VerdictLabel.supported: "good",
    VerdictLabel.holds: "good",
    VerdictLabel.opposite: "bad",
    VerdictLabel.fails: "bad",
    VerdictLabel.inconclusive: "unclear",
    VerdictLabel.too_small: "small",
}
"""How a verdict is coloured; the word stands in the colour."""


def page(reports: Sequence[ClaimReport], tier: str, command: str) -> str:
    """Return the page; every text from a configuration is escaped by the template."""
    items = [_item(each) for each in reports]
    counts = Counter(item["word"] for item in items)
    overview = verdicts_figure([each.evidence for each in reports])
    style = asset("bnexp.report.html", "page.css") + asset(PACKAGE, "claims.css")  # the look of all pages, and its own
    return template(PACKAGE, "claims.html.j2").render(
        items=items,
        tier=tier,
        counts=counts,
        style=style,
        on_dark=script_json(ON_DARK),
        script=asset("bnexp.report.html", "theme.js"),
        command=command,
        measured=measured_on(reports),
        missing=not_run(reports),
        overview=svg_uri(overview) if overview else "",
    )


def _item(report: ClaimReport) -> dict[str, Any]:
    """Return what the template shows of a claim."""
    figure = claim_figure(report.evidence)
    return {
        "id": report.claim.id,
        "settings": report.claim.settings,
        "word": report.head.verdict,
        "kind": KINDS[report.evidence.label] if report.evidence.label else "none",
        "sentence": verdict_sentence(report),
        "surprises": tuple(surprises(report)),
        "setting": setting_text(report.evidence.experiment) if report.evidence.experiment else "",
        "cost": cost(report),
        "published": report.head.published,
        "tables": [
            *([measures_table(report)] if report.measured else []),
            *([findings_table(report)] if report.evidence.result else []),
        ],
        "picture": svg_uri(figure) if figure else "",
    }
