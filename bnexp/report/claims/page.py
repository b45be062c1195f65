"""Claims as one HTML page, readable from a file without network: the verdicts first, each opening to its evidence."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from bnexp.claims.verdicts import Word
from bnexp.config.claims import ClaimSettings
from bnexp.report.claims.pictures import claim_figure
from bnexp.report.claims.rows import Account
from bnexp.report.claims.settings import setting_text
from bnexp.report.claims.tables import findings_table, measures_table, not_run
from bnexp.report.claims.verdicts_picture import verdicts_figure
from bnexp.report.claims.words import cost, measured_on, surprises, verdict_sentence
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
    """As from `_embedded`; empty without one."""


def page(told: Sequence[Account], tier: str, command: str) -> str:
    """Return the page; every text from a configuration is escaped by the template."""
    items = [_item(each) for each in told]
    counts = {word: sum(item.word == word for item in items) for word in dict.fromkeys(item.word for item in items)}
    style = asset("bnexp.report.html", "page.css") + asset(PACKAGE, "claims.css")  # the look of all pages, and its own
    return template(PACKAGE, "claims.html.j2").render(
        items=items,
        tier=tier,
        counts=counts,
        style=style,
        command=command,
        measured=measured_on(told),
        missing=not_run(told),
        overview=_embedded(verdicts_figure([each.evidence for each in told])),
    )


def _item(told: Account) -> Item:
    tables = [measures_table(told)] if told.measured else []
    if told.evidence.result:
        tables.append(findings_table(told))
    return Item(
        id=told.claim.id,
        settings=told.claim.settings,
        word=told.head.verdict,
        kind=KINDS[told.evidence.word] if told.evidence.word else "none",
        sentence=verdict_sentence(told),
        surprises=tuple(surprises(told)),
        setting=setting_text(told.evidence.experiment) if told.evidence.experiment else "",
        cost=cost(told),
        published=told.head.published,
        tables=tuple(tables),
        picture=_embedded(claim_figure(told.evidence)),
    )


def _embedded(figure: Figure | None) -> str:
    """Return a figure as an SVG in a data URI, so that no name in it is more than text."""
    return "data:image/svg+xml;base64," + b64encode(picture(figure, "svg")).decode() if figure else ""
