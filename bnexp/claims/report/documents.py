"""Claims as documents: docs/claims.md, and one HTML page."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bnexp.claims.evidence import Word
from bnexp.claims.report.pictures import claim_figure, verdicts_figure
from bnexp.claims.report.rows import Account
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
    told: Sequence[Account], tier: str, command: str, others: Mapping[str, Sequence[Account]] | None = None
) -> dict[str, bytes]:
    """Return the document and its pictures by their paths.

    Args:
        told: what is told about the claims.
        tier: in which they ran.
        command: that made it.
        others: what is told about the same claims in other tiers, by their names: only the verdicts are shown.
    """
    drawn = {each.claim.id: figure for each in told if (figure := claim_figure(each.evidence))}
    if overview := verdicts_figure([each.evidence for each in told]):
        drawn["verdicts"] = overview
    parts = [
        *_head(told, {tier: told} | dict(others or {}), command, overview is not None),
        *(part for each in told for part in _claim(each, each.claim.id in drawn)),
    ]
    text = "\n\n".join(part.strip() for part in parts if part) + "\n"
    files = {f"{PICTURES}/{name}.png": figure_bytes(figure, "png") for name, figure in drawn.items()}
    return {"claims.md": text.encode()} | files


def _head(
    told: Sequence[Account], tiers: Mapping[str, Sequence[Account]], command: str, overview: bool
) -> Iterator[str]:
    tier = next(iter(tiers))
    yield "# What is claimed about batch normalization, and what was found"
    yield (
        f"Made by `bnexp claims run --tier {tier}` and `{command}`. A verdict holds for the setting under it, and no "
        "other."
    )
    yield measured_on(told)
    yield to_markdown(verdicts_table(tiers))
    if overview:
        yield f"![Mean change of every claim with its interval, in margins]({PICTURES}/verdicts.png)"
    yield to_markdown(claims_table(told, "All numbers", wide=True))


def _claim(told: Account, drawn: bool) -> Iterator[str]:
    settings = told.claim.settings
    yield f"## {told.claim.id}"
    yield f"> {settings.claim.strip()} ({', '.join(settings.notes)})"
    wrong = "" if settings.as_worded else "This is wrong as worded. "
    if settings.tested:
        yield f"{wrong}Tested: {settings.tested.strip()}"
    yield f"**{told.head.verdict}.** {verdict_sentence(told)}"
    if drawn:
        yield f"![{told.claim.id}]({PICTURES}/{told.claim.id}.png)"
    if told.measured:
        yield to_markdown(measures_table(told))
    if told.evidence.result:
        yield to_markdown(findings_table(told))
    yield "\n".join(f"- {line}" for line in surprises(told))
    if settings.expect:
        yield f"Expected before the run: {settings.expect.strip()}"
    facts = {
        "Setting": setting_text(told.evidence.experiment) if told.evidence.experiment else "",
        "Cost": cost(told),
        "Literature": "; ".join(settings.literature),
        "Published": "; ".join(told.head.published),
    }
    yield "\n".join(f"- {name}: {text}" for name, text in facts.items() if text)


PACKAGE = "bnexp.claims.report"
KINDS = {
    Word.supported: "good",
    Word.holds: "good",
    Word.opposite: "bad",
    Word.fails: "bad",
    Word.inconclusive: "unclear",
    Word.too_small: "small",
}
"""How a verdict is coloured; the word stands in the colour."""


def page(told: Sequence[Account], tier: str, command: str) -> str:
    """Return the page; every text from a configuration is escaped by the template."""
    items = [_item(each) for each in told]
    counts = Counter(item["word"] for item in items)
    overview = verdicts_figure([each.evidence for each in told])
    style = asset("bnexp.report.html", "page.css") + asset(PACKAGE, "claims.css")  # the look of all pages, and its own
    return template(PACKAGE, "claims.html.j2").render(
        items=items,
        tier=tier,
        counts=counts,
        style=style,
        on_dark=script_json(ON_DARK),
        script=asset("bnexp.report.html", "theme.js"),
        command=command,
        measured=measured_on(told),
        missing=not_run(told),
        overview=svg_uri(overview) if overview else "",
    )


def _item(told: Account) -> dict[str, Any]:
    """Return what the template shows of a claim."""
    figure = claim_figure(told.evidence)
    return {
        "id": told.claim.id,
        "settings": told.claim.settings,
        "word": told.head.verdict,
        "kind": KINDS[told.evidence.word] if told.evidence.word else "none",
        "sentence": verdict_sentence(told),
        "surprises": tuple(surprises(told)),
        "setting": setting_text(told.evidence.experiment) if told.evidence.experiment else "",
        "cost": cost(told),
        "published": told.head.published,
        "tables": [
            *([measures_table(told)] if told.measured else []),
            *([findings_table(told)] if told.evidence.result else []),
        ],
        "picture": svg_uri(figure) if figure else "",
    }
