"""Claims as one HTML page, readable from a file without network: the verdicts first, each opening to its evidence."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from bnexp.claims.evidence import Evidence
from bnexp.claims.verdicts import Word
from bnexp.config.claims import ClaimSettings
from bnexp.report.claims.document import findings_table, measures_table
from bnexp.report.claims.pictures import claim_figure
from bnexp.report.claims.rows import rows
from bnexp.report.claims.words import cost, setting, surprises, verdict_sentence
from bnexp.report.figures.sheet import picture
from bnexp.report.html.templates import asset, template
from bnexp.report.table import Table

PACKAGE = "bnexp.report.claims"
KINDS = {
    Word.supported: "good",
    Word.holds: "good",
    Word.opposite: "bad",
    Word.fails: "bad",
    Word.inconclusive: "unclear",
    Word.too_small: "small",
}
"""How a verdict is coloured; the word stands in the colour."""


@dataclass(frozen=True)
class Item:
    """One claim of the page."""

    id: str
    settings: ClaimSettings
    word: str
    kind: str
    sentence: str
    surprises: tuple[str, ...]
    setting: str
    cost: str
    published: tuple[str, ...]
    tables: tuple[Table, ...]
    picture: str
    """An SVG as a data URI, so that no name in it is more than text; empty without one."""


def page(found: Sequence[Evidence], tier: str) -> str:
    """Return the page; every text from a configuration is escaped by the template."""
    items = [_item(each) for each in found]
    counts = {word: sum(item.word == word for item in items) for word in dict.fromkeys(item.word for item in items)}
    style = asset("bnexp.report.html", "page.css") + asset(PACKAGE, "claims.css")  # the look of all pages, and its own
    return template(PACKAGE, "claims.html.j2").render(items=items, tier=tier, counts=counts, style=style)


def _item(evidence: Evidence) -> Item:
    told = rows([evidence])
    tables = [measures_table([row for row in told if row.arms])] if evidence.rows else []
    if evidence.result:
        tables.append(findings_table(evidence))
    figure = claim_figure(evidence)
    return Item(
        id=evidence.claim.id,
        settings=evidence.claim.settings,
        word=told[0].verdict,
        kind=KINDS[evidence.word] if evidence.word else "none",
        sentence=verdict_sentence(evidence),
        surprises=tuple(surprises(evidence)),
        setting=setting(evidence),
        cost=cost(evidence) if evidence.studies or evidence.result else "",
        published=told[0].published,
        tables=tuple(tables),
        picture="data:image/svg+xml;base64," + b64encode(picture(figure, "svg")).decode() if figure else "",
    )
