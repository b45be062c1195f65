"""Claims as one HTML page, readable from a file without network: the verdicts first, each opening to its evidence."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from bnexp.claims.evidence import Evidence
from bnexp.claims.verdicts import Word
from bnexp.config.claims import ClaimSettings
from bnexp.report.claims.document import findings_table, measures_table
from bnexp.report.claims.pictures import claim_figure
from bnexp.report.claims.rows import rows
from bnexp.report.claims.words import cost, headline, setting, surprises, verdict_sentence
from bnexp.report.figures.sheet import picture
from bnexp.report.table import Table

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
    return _template().render(items=items, tier=tier, counts=counts, style=_style())


def _item(evidence: Evidence) -> Item:
    told = rows([evidence])
    tables = [measures_table([row for row in told if row.arms])] if evidence.rows else []
    if evidence.result:
        tables.append(findings_table(evidence))
    figure = claim_figure(evidence)
    return Item(
        id=evidence.claim.id,
        settings=evidence.claim.settings,
        word=headline(evidence),
        kind=KINDS[evidence.word] if evidence.word else "none",
        sentence=verdict_sentence(evidence),
        surprises=tuple(surprises(evidence)),
        setting=setting(evidence),
        cost=cost(evidence) if evidence.studies or evidence.result else "",
        published=told[0].published,
        tables=tuple(tables),
        picture="data:image/svg+xml;base64," + b64encode(picture(figure, "svg")).decode() if figure else "",
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("bnexp.report.claims", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("claims.html.j2")


def _style() -> Markup:
    """Return the look that all pages share, and what only this one has."""
    shared = files("bnexp.report.html").joinpath("assets", "page.css").read_text(encoding="utf-8")
    return Markup(shared + files("bnexp.report.claims").joinpath("assets", "claims.css").read_text(encoding="utf-8"))
