"""The page in a browser: it draws, answers to mouse and keyboard, and asks nobody for anything."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bnexp.analysis.study import Study
from bnexp.report.figures.pictures import PROBE_FIGURES
from bnexp.report.html.page import page as page_of
from tests.report.html.made_up_study import HOSTILE, compared, study
from tests.report.html.test_page import probed_study

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright isn't installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH")

CHARTS = ("curves", "finals", "differences", "clock")
NARROW, WIDE = 360, 1280
PATIENCE = 60_000
"""Milliseconds that the browser may take for one thing; two busy cores are slow."""

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with three arms along a swept setting, with diverged and failed trials."""
    made = study(
        arms=("none", "before", "after"),
        grid={"train.lr": [0.01, 0.1, 10.0]},
        outcomes={0: "diverged", 1: "failed"},
    )
    return written(made, tmp_path_factory.mktemp("swept"))


def written(made: Study, folder: Path) -> Path:
    path = folder / "report.html"
    path.write_text(page_of(made, compared(made)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tab(opened: Open, swept: Path) -> Any:
    """A tab with the page of three arms along a swept setting; a test leaves it as it was."""
    return opened(swept)


def until(tab: Any, condition: str) -> None:
    """Wait for a condition; Playwright's own way of asking again and again is what the page forbids its scripts."""
    end = time.monotonic() + PATIENCE / 1000
    while not tab.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.05)


def click(tab: Any, place: Any) -> None:
    """Click on a point as a hand does: come near, rest until the chart knows of it, press and let go.

    A chart on a busy machine may miss a click, and two in quick succession would be a double one.
    """
    box = place.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2 - 2, box["y"] + box["height"] / 2)
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.locator("#finals .hoverlayer .hovertext").wait_for()
    tab.mouse.down()
    tab.mouse.up()
    time.sleep(1)


@pytest.fixture(scope="module")
def opened(browser: Any) -> Iterator[Open]:
    """Return a function that opens a file; afterwards nothing was complained about and nothing asked for."""
    events: list[str] = []
    asked: list[str] = []

    def open_(path: Path, width: int = WIDE, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        tab = context.new_page()
        tab.on("console", lambda message: events.append(message.text))
        tab.on("pageerror", lambda error: events.append(str(error)))
        tab.on("dialog", lambda dialog: (events.append(f"dialog {dialog.message}"), dialog.dismiss()))  # type: ignore[func-returns-value]
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        tab.locator("html[data-ready]").wait_for(state="attached")
        asked[:] = [url for url in asked if url != path.as_uri()]
        return tab

    yield open_
    assert events == []
    assert [url for url in asked if not url.startswith("data:")] == []


def visible_traces(tab: Any, chart: str) -> list[int]:
    """The arms of the traces that a chart shows."""
    found: list[int] = tab.evaluate(
        "id => document.getElementById(id).data.filter(t => t.visible !== false).map(t => t.meta.arm)", chart
    )
    return found


def column(tab: Any, table: str, place: int) -> list[str]:
    found: list[str] = tab.evaluate(
        "([id, i]) => [...document.getElementById(id).tBodies[0].rows].map(row => row.cells[i].innerText.trim())",
        [table, place],
    )
    return found


def overflow(tab: Any) -> int:
    found: int = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return found


def test_the_keyboard_comes_by_everything_in_order(tab: Any) -> None:
    tab.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
    met = []
    for _ in range(14):
        tab.keyboard.press("Tab")
        met.append(tab.evaluate("document.activeElement.innerText || document.activeElement.value"))
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert met[:2] == ["Skip to the answer", "Dark"]
    assert met[2:8] == ["Tables", "Charts", "Trials", "Settings", "Environment", "Definitions"]
    assert met[8:11] == ["0", "1", "2"]


def test_charts_are_drawn(tab: Any) -> None:
    for chart in ("curves", "clock"):
        lines = tab.locator(f"#{chart} .scatterlayer .js-line").evaluate_all("all => all.map(l => l.getAttribute('d'))")
        assert len(lines) == 3 * 3 * 2  # grid points, arms, line and band
        assert all(line.count("L") >= 1 or line.count("C") >= 1 for line in lines)
    assert tab.locator("#finals .scatterlayer .point").count() == 26
    assert tab.locator("#differences .scatterlayer .point").count() == 6
    assert tab.locator("#differences .errorbar").count() == 6
    assert tab.evaluate("document.getElementById('finals').layout.xaxis.type") == "log"


def test_a_switch_hides_an_arm_in_every_chart_and_table(tab: Any) -> None:
    assert [set(visible_traces(tab, chart)) for chart in CHARTS] == [{0, 1, 2}, {0, 1, 2}, {1, 2}, {0, 1, 2}]
    switch = tab.get_by_role("checkbox", name="before")
    switch.focus()
    tab.keyboard.press("Space")
    until(tab, "document.getElementById('clock').data.every(t => t.meta.arm !== 1 || t.visible === false)")
    assert [set(visible_traces(tab, chart)) for chart in CHARTS] == [{0, 2}, {0, 2}, {2}, {0, 2}]
    assert tab.locator("#curves .scatterlayer .js-line").count() == 3 * 2 * 2
    assert tab.locator("tr[data-arm='1']:visible").count() == 0
    assert tab.locator("#trials tr[data-arm='0']:visible").count() == 9
    switch.click()
    until(tab, "document.getElementById('clock').data.every(t => t.visible !== false)")
    assert tab.locator("#trials tr[data-arm='1']:visible").count() == 9


def test_a_table_sorts_numbers_by_mouse_and_by_keyboard(tab: Any) -> None:
    header = tab.locator("#trials thead th", has_text="final train loss")
    place = header.evaluate("cell => cell.cellIndex")
    original = column(tab, "trials", place)
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    values = [float(text) for text in column(tab, "trials", place)]
    assert values == sorted(map(float, original))
    header.get_by_role("button").focus()
    tab.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(tab, "trials", place)] == values[::-1]
    tab.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "none"
    assert column(tab, "trials", place) == original


def test_what_is_missing_sorts_last_and_ten_after_two(opened: Open, tmp_path: Path) -> None:
    tab = opened(written(study(grid={"model.depth": [2, 10, 1]}, outcomes={4: ""}), tmp_path))
    depth = tab.locator("#equal thead th", has_text="depth")
    depth.get_by_role("button").click()
    assert column(tab, "equal", 0) == ["1", "1", "2", "2", "10", "10"]
    difference = tab.locator("#equal thead th", has_text="difference")
    for _ in range(2):
        difference.get_by_role("button").click()
        texts = column(tab, "equal", difference.evaluate("cell => cell.cellIndex"))
        assert texts[3:] == ["–"] * 3
        assert "–" not in texts[:3]


def test_dark_follows_the_system_and_the_button(tab: Any) -> None:
    def colours() -> list[str]:
        found: list[str] = tab.evaluate(
            "[getComputedStyle(document.body).backgroundColor, document.getElementById('finals').data[0].line.color,"
            " getComputedStyle(document.querySelector('#arms svg')).stroke]"
        )
        return found

    light = colours()
    tab.emulate_media(color_scheme="dark")
    until(tab, "document.getElementById('theme').textContent === 'Light'")
    dark = colours()
    assert all(a != b for a, b in zip(light[:2], dark[:2], strict=True))
    assert (light[1], dark[1]) == ("rgba(51,51,51,1)", "rgba(211,214,218,1)")
    tab.emulate_media(color_scheme="light")
    tab.get_by_role("button", name="Dark", exact=True).click()
    assert colours()[:2] == dark[:2]
    tab.get_by_role("button", name="Light", exact=True).click()
    assert colours() == light
    tab.evaluate("delete document.documentElement.dataset.theme")


def test_a_point_leads_to_its_row(tab: Any) -> None:
    place = tab.locator("#finals .scatterlayer .point").last
    place.scroll_into_view_if_needed()
    end = time.monotonic() + PATIENCE / 1000
    while not tab.evaluate("document.activeElement.id.startsWith('trial-')"):
        assert time.monotonic() < end
        click(tab, place)
    row = tab.locator(":focus")
    assert row.get_attribute("data-arm") == "2"
    assert row.evaluate("row => row.cells[3].innerText") == "10"


def test_links_lead_to_the_rows_of_the_points_by_keyboard(tab: Any) -> None:
    tab.locator("#trial-links summary").focus()
    tab.keyboard.press("Enter")
    link = tab.get_by_role("link", name="before, seed 1, lr\u00a00.1 (trial 13)", exact=True)
    link.focus()
    tab.keyboard.press("Enter")
    row = tab.locator(":focus")
    assert row.get_attribute("id") == "trial-13"
    assert row.evaluate("row => row.cells[1].innerText.trim()") == "before"
    box = row.bounding_box()
    assert 0 <= box["y"] < 800
    assert tab.locator("#trial-links li").count() == 26


def test_selections_choose_what_is_drawn(tab: Any) -> None:
    tab.locator("#curves-controls select").nth(1).select_option(value="2")
    tab.locator("#curves-controls select").nth(0).select_option(label="train loss")
    assert tab.evaluate("['curves', 'clock'].map(id => document.getElementById(id).data.length)") == [6, 6]
    assert tab.evaluate("document.getElementById('curves').layout.yaxis.type") == "log"
    assert tab.locator("#clock-controls select").nth(1).input_value() == "2"
    tab.locator("#finals-controls select").select_option(label="arm")
    assert tab.evaluate("document.getElementById('finals').layout.xaxis.ticktext") == ["none", "before", "after"]
    tab.locator("#finals-controls select").select_option(label="lr")
    tab.locator("#curves-controls select").nth(0).select_option(label="test accuracy")
    tab.locator("#curves-controls select").nth(1).select_option(value="all")


def test_hostile_names_stay_text(opened: Open, tmp_path: Path) -> None:
    made = study(
        arms=("none", *HOSTILE), question=" ".join(HOSTILE), runs=HOSTILE, grid={"data.name": HOSTILE},
        differs=HOSTILE, left_out=HOSTILE, environments={name: {name: name} for name in HOSTILE},
    )  # fmt: skip
    tab = opened(written(made, tmp_path), width=NARROW)
    tab.locator("#trial-links summary").click()
    tab.locator("#finals-controls select").select_option(label="name")
    tab.locator("#finals-controls select").select_option(label="arm")
    assert tab.locator("img, iframe").count() == 0
    assert tab.evaluate("[...document.querySelectorAll('b')].every(b => b.closest('caption'))")
    assert tab.evaluate("[...document.links].every(link => link.getAttribute('href').startsWith('#'))")
    assert tab.locator("svg a, svg tspan[style*='bold']").count() == 0
    assert tab.locator("h1").inner_text() == " ".join(HOSTILE)
    headings = tab.locator("#curves .annotation-text").evaluate_all("all => all.map(text => text.textContent)")
    assert [text[:15] for text in headings] == [f"name\u00a0{name}"[:15].replace(" ", "\u00a0") for name in HOSTILE]
    ticks = tab.locator("#finals .xtick").evaluate_all("all => all.map(text => text.textContent)")
    assert [text[:20] for text in ticks] == [name[:20] for name in ("none", *HOSTILE)]
    assert overflow(tab) == 0


def test_a_narrow_screen_does_not_scroll_sideways_and_tables_fade_where_they_do(tab: Any) -> None:
    tab.set_viewport_size({"width": NARROW, "height": 800})
    until(tab, f"document.getElementById('curves').layout.width < {NARROW}")
    assert overflow(tab) == 0
    table = tab.locator(".scroll:has(#equal)")
    until(tab, "document.getElementById('equal').closest('.scroll').classList.contains('more-right')")
    table.evaluate("box => box.scrollTo(box.scrollWidth, 0)")
    until(tab, "!document.getElementById('equal').closest('.scroll').classList.contains('more-right')")
    table.evaluate("box => box.scrollTo(0, 0)")
    tab.set_viewport_size({"width": WIDE, "height": 800})
    until(tab, "document.getElementById('curves').layout.width > 900")
    assert overflow(tab) == 0


def test_pictures_of_probes_are_dark_on_a_dark_page_and_legible_on_a_narrow_screen(
    opened: Open, tmp_path: Path
) -> None:
    tab = opened(written(probed_study(), tmp_path), width=NARROW, scheme="dark")
    svgs = "[...document.images].map(image => atob(image.src.split(',')[1]))"
    assert all("#1B1F24" in svg and "#ffffff" not in svg for svg in tab.evaluate(svgs))
    drawn = tab.evaluate("[...document.images].map(image => [image.naturalWidth, image.clientWidth])")
    assert len(drawn) == len(PROBE_FIGURES)
    assert all(natural == shown > NARROW for natural, shown in drawn)
    assert overflow(tab) == 0
    tab.get_by_role("button", name="Light", exact=True).click()
    assert all("#1B1F24" not in svg and "#ffffff" in svg for svg in tab.evaluate(svgs))


def test_paper_is_light_and_shows_all_rows(tab: Any) -> None:
    tab.emulate_media(color_scheme="dark")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("document.getElementById('finals').data[0].line.color") == "rgba(51,51,51,1)"
    assert tab.locator("#theme, nav, .controls >> visible=true").count() == 0
    assert tab.evaluate("[...document.querySelectorAll('.scroll')].every(box => box.scrollHeight <= box.clientHeight)")
    tab.emulate_media(media="screen", color_scheme="dark")
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate("document.getElementById('finals').data[0].line.color") == "rgba(211,214,218,1)"
    tab.emulate_media(color_scheme="light")


def test_a_study_without_a_result_opens(opened: Open, tmp_path: Path) -> None:
    made = study(outcomes=dict.fromkeys(range(6), ""))
    tab = opened(written(made, tmp_path))
    assert tab.locator("#finals").inner_text() == "No trial has ended yet."
    assert tab.locator("#curves .scatterlayer .js-line").count() == 4
