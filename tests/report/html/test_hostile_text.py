"""Whatever text a configuration or a run folder brings, the page is built of the same elements, and shows the text."""

import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest

from bnexp.analysis.study import Study
from bnexp.config.data import DataSettings
from bnexp.config.load import resolve
from bnexp.config.trial import TrialSettings
from bnexp.report.html.page import page
from tests.report.html.made_up_study import HOSTILE, compared, study

HARMLESS = "harmless"
QUOTING = "'{"
"""How a command and a mapping begin in which a shell or JSON would write the text another way."""
TEXTS = [
    *HOSTILE,
    "</script><script>alert(1)</script>",
    "</SCRIPT ><svg/onload=alert(1)>",
    "<!--<script>",
    "--><script>alert(1)</script><!--",
    "</style><script>alert(1)</script>",
    "</title></head><body onload=alert(1)>",
    "' onmouseover='alert(1)' x='",
    '" autofocus onfocus="alert(1)',
    "]]><script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "javascript:alert(1)",
    "{% for x in y %}{{ config }}{# #}",
    "${alert(1)}`'\"\\",
    "\\u003cscript\\u003e\u2028\u2029",
    "<a href=javascript:alert(1)>%{x}</a>",
]


class Elements(HTMLParser):
    """The elements of a page in their order, each with the names of its attributes, and the texts between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []
        self.attributes: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))
        self.attributes += [value or "" for name, value in attrs if name != "content"]

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", data))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@cache
def everywhere(text: str) -> str:
    """A page with the text in every place that a configuration, a table or a file of a run can fill."""
    # A configuration refuses some of these texts; the page has to bear them all.
    roots = [DataSettings().model_copy(update={"root": f"{text} {i}"}) for i in range(2)]
    settings = {
        arm: TrialSettings().model_copy(update={"data": data}) for arm, data in zip(("none", text), roots, strict=True)
    }
    made = study(
        arms=("none", text), question=text, name=text, runs=(text, f"{text} 2"), differs=(text,), left_out=(text,),
        grid={"data.root": [text, f"{text} 2"], "model.width": [3, 4]}, outcomes={0: "failed", 1: "diverged", 2: text},
        environments={text: {text: text, "command": [f"{text} x"], "packages": {text: [text]}, "threads": text}},
        settings=settings,
    )  # fmt: skip
    made.trials["reason"] = made.trials["reason"].astype(object)
    made.trials.loc[0, "reason"] = text
    made.trials["run"] = text
    return page(made, replace(compared(made), warnings=(text,), differs=(text,), left_out=(text,)))


@pytest.fixture(scope="module")
def harmless() -> Elements:
    return Elements(everywhere(HARMLESS))


def script_data(html: str) -> str:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return text


@pytest.mark.parametrize("text", TEXTS)
def test_text_adds_no_element_no_attribute_and_no_comment(harmless: Elements, text: str) -> None:
    seen = Elements(everywhere(text))
    assert seen.found == harmless.found
    assert not [names for names in seen.found if any(name.startswith("on") for name in names[1:])]
    assert not [value for value in seen.attributes if text in value]


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_shown_as_it_is_wherever_it_stands(harmless: Elements, text: str) -> None:
    seen = Elements(everywhere(text))
    last = harmless.texts.index("What the numbers mean")
    places = [i for i, plain in enumerate(harmless.texts[:last]) if HARMLESS in plain and plain[0] not in QUOTING]
    assert len(places) > 40
    assert [seen.texts[i] for i in places] == [harmless.texts[i].replace(HARMLESS, text) for i in places]


@pytest.mark.parametrize("text", TEXTS)
def test_text_in_the_numbers_of_the_charts_ends_no_script(text: str) -> None:
    data = script_data(everywhere(text))
    assert not set("<>&\u2028\u2029") & set(data)
    found = json.loads(data)
    assert found["arms"][1]["name"] == text
    assert [axis["names"] for axis in found["axes"] if "names" in axis] == [[text, f"{text} 2"]]


def test_what_a_configuration_may_say_is_what_the_page_shows() -> None:
    text = "</script><script>alert(1)</script> & <b>"
    config = resolve({"name": "exp", "question": text, "grid": {"data.root": [text]}}, "exp.yaml")
    assert (config.question, config.grid["data.root"]) == (text, (text,))
    made: Study = study(question=config.question, grid=config.grid)
    html = page(made, compared(made))
    assert text not in html
    assert f"<h1>{'&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;'}</h1>" in html
