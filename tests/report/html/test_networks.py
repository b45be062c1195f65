"""The section about what the probes measured: a picture of each kind, with words, drawn apart from the page."""

import re
import shutil
from base64 import b64decode
from pathlib import Path

import pytest

from bnexp.analysis.study import Study
from bnexp.report.figures.pictures import FIGURES
from bnexp.report.html.page import WORDS, network_pictures, page
from tests.report.figures.made_up import probe_tables
from tests.report.html.made_up_study import HOSTILE, compared, study
from tests.report.html.test_page import LARGEST, Parsed

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NARROW, WIDE = 400, 1280


def probed_study(arms: tuple[str, ...] = ("none", "before"), only: str = "", **fields: object) -> Study:
    _, probes = probe_tables(arms, seeds=1, depth=1, steps=(0, 10))
    return study(arms=arms, seeds=1, probes=probes[probes["probe"].str.startswith(only)], **fields)


@pytest.fixture(scope="module")
def html() -> str:
    made = probed_study()
    return page(made, compared(made))


def test_every_picture_has_words_and_a_place_of_its_own(html: str) -> None:
    assert set(WORDS) == set(FIGURES)
    parsed = Parsed(html)
    assert "Inside the networks" in parsed.text("h2")
    assert [attributes["alt"] for attributes in parsed.all("img")] == [words.kind for words in WORDS.values()]
    for words in WORDS.values():
        assert words.heading in parsed.text("h3")
        assert words.reading in parsed.visible
        assert words.trap in parsed.visible
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {"#inside"} | {f"#{name}" for name in ("tables", "charts")} <= {link["href"] for link in parsed.all("a")}


def test_the_page_stays_one_file_that_is_not_large(html: str) -> None:
    sources = [attributes["src"] for attributes in Parsed(html).all("img")]
    assert all(source and source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert len(html.encode()) < LARGEST


def test_the_pictures_are_whole_and_leave_the_title_to_the_page() -> None:
    for shown in network_pictures(probed_study(only="saturation", question="Does it help?")):
        svg = b64decode(shown.source.partition(",")[2]).decode()
        assert svg.startswith("<?xml")
        assert "Does it help?" not in svg


def test_without_a_measurement_there_is_no_section() -> None:
    made = study()
    assert network_pictures(made) == ()
    assert "Inside" not in Parsed(page(made, compared(made))).visible
    assert [shown.id for shown in network_pictures(probed_study(only="saturation"))] == ["saturation"]


@pytest.mark.parametrize("name", HOSTILE[:2])
def test_no_name_is_anything_but_text(html: str, name: str) -> None:
    made = probed_study(("none", name), only="loss_variation", question=name)
    text = page(made, compared(made))
    pictures = re.findall(r'<img src="data:image/svg\+xml;base64,([\w+/=]+)" alt="[^"<>]+">', text)
    assert len(pictures) == Parsed(text).text("h3").count(WORDS["landscape_bands"].heading) == 1
    assert name.encode() not in b64decode(pictures[0])
    assert len(Parsed(text).all("script")) == len(Parsed(html).all("script"))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH")
def test_the_pictures_are_drawn_on_white_and_scroll_where_the_screen_is_narrow(html: str, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright isn't installed")
    path = tmp_path / "report.html"
    path.write_text(html, encoding="utf-8")
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_context(viewport={"width": WIDE, "height": 800}, color_scheme="dark").new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.goto(path.as_uri())
        tab.locator("html[data-ready]").wait_for(state="attached")
        for width in (WIDE, NARROW):
            tab.set_viewport_size({"width": width, "height": 800})
            drawn = tab.evaluate("[...document.images].map(image => [image.naturalWidth, image.clientWidth])")
            assert len(drawn) == len(FIGURES)
            assert all(natural == shown > NARROW for natural, shown in drawn)
            assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        grounds = "[...document.querySelectorAll('.picture')].map(box => getComputedStyle(box).backgroundColor)"
        assert set(tab.evaluate(grounds)) == {"rgb(255, 255, 255)"}
        browser.close()
    assert complaints == []
