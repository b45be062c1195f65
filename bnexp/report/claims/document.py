"""docs/claims.md: what is claimed and what was found, in Markdown, with a picture for each claim from data."""

from collections.abc import Iterator, Mapping, Sequence

from bnexp.report.claims.pictures import claim_figure
from bnexp.report.claims.rows import Account
from bnexp.report.claims.settings import setting_text
from bnexp.report.claims.tables import claims_table, findings_table, measures_table, verdicts_table
from bnexp.report.claims.verdicts_picture import verdicts_figure
from bnexp.report.claims.words import cost, measured_on, surprises, verdict_sentence
from bnexp.report.figures.sheet import picture
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
    files = {f"{PICTURES}/{name}.png": picture(figure, "png") for name, figure in drawn.items()}
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
