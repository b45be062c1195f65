"""Pages for a class: claims or papers, each with a picture that fills a slide, a command to try, and questions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from bnexp.report.figures.frame import FileKind, figure_bytes, fit_slide, svg_uri
from bnexp.report.html.templates import asset, script_json, template
from bnexp.report.style import ON_DARK
from bnexp.report.table import Table

PACKAGE = "bnexp.claims"
SLIDES = "slides"
"""Folder of the pictures beside a page."""
KINDS: tuple[FileKind, ...] = ("svg", "pdf")


@dataclass(frozen=True)
class Item:
    """A claim or a paper as a page shows it."""

    id: str
    said: str
    """The claim, or the title of a paper."""
    word: str
    """The answer in a word or two."""
    colour: str
    """How the verdict is coloured: good, bad, unclear, small or none."""
    found: str
    """The answer in a sentence, with the numbers."""
    command: str
    """Runs it again."""
    discuss: Sequence[str] = ()
    """Questions for a class."""
    figure: Figure | None = None
    """None if nothing has run."""
    alt: str = ""
    """The picture in words."""
    paragraphs: Sequence[str] = ()
    surprises: Sequence[str] = ()
    tables: Sequence[Table] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    """The setting, the source and the like, by name."""


@dataclass(frozen=True)
class Page:
    """The content of a page."""

    title: str
    summary: str
    """One line: how many claims or papers, and how many answers of each kind."""
    items: Sequence[Item]
    intro: str
    """How to read the answers."""
    made_by: str
    """The command that wrote the page."""
    tier: str
    """The tier whose runs it shows."""
    overview: Figure | None = None
    overview_alt: str = ""
    missing: Sequence[str] = ()
    """Lines about what has not run."""
    notes: Sequence[str] = ()
    """Lines at the end."""


def page_files(page: Page, name: str) -> dict[str, bytes]:
    """Return the files of a page by their paths: `name`.html and, for every picture, an SVG and a PDF."""
    for item in page.items:
        if item.figure:
            fit_slide(item.figure)
    return {f"{name}.html": page_html(page).encode()} | dict(_slides(page.items))


def _slides(items: Sequence[Item]) -> Iterator[tuple[str, bytes]]:
    for item in items:
        if item.figure:
            for kind in KINDS:
                yield f"{SLIDES}/{item.id}.{kind}", figure_bytes(item.figure, kind)


def page_html(page: Page) -> str:
    """Return the page, which needs no other file; the template escapes every text from a configuration."""
    style = asset("bnexp.report.html", "page.css") + asset(PACKAGE, "lecture.css")  # the look of all pages, and its own
    script = asset("bnexp.report.html", "theme.js") + asset(PACKAGE, "lecture.js")
    return template(PACKAGE, "lecture.html.j2").render(
        page=page,
        pictures={item.id: svg_uri(item.figure) for item in page.items if item.figure},
        overview=svg_uri(page.overview) if page.overview else "",
        slides=SLIDES,
        kinds=KINDS,
        style=style,
        on_dark=script_json(ON_DARK),
        script=script,
    )
