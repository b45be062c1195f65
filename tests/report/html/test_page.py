"""The page says what the comparison holds, asks nobody for anything, and takes every name for text."""

import json
import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from gzip import decompress
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.analysis.comparison import Rung
from bnexp.analysis.misclassified import misclassified
from bnexp.analysis.study import Study
from bnexp.analysis.tuning_curve import Tried, Tuning, tuning_rows
from bnexp.config.data import DataSettings
from bnexp.config.model import ModelSettings
from bnexp.config.trial import TrialSettings
from bnexp.report.figures import ladder
from bnexp.report.figures.frame import new_figure
from bnexp.report.figures.pictures import PROBE_FIGURES
from bnexp.report.html.charts import chart_data
from bnexp.report.html.page import (
    baseline_table,
    comparison_tables,
    environment_table,
    page,
    settings_table,
    trials_table,
)
from bnexp.report.html.pictures import MISCLASSIFIED, TUNING, WORDS
from bnexp.report.html.templates import script_json
from bnexp.report.misclassified import images_table, shown_table
from bnexp.report.style import KNOWN, ON_DARK, arm_styles
from bnexp.report.table import in_print
from tests.helpers import crossed, keep_predictions
from tests.report.figures.made_up import probe_tables
from tests.report.html.made_up_study import HOSTILE, compared, settings, study

LARGEST = 5_000_000
"""Bytes of a page with 1,000 trials of 100 records."""
PLOTLY = 2_500_000
"""Bytes of these at most that every page has, whatever it shows."""
VOID = {"meta", "input", "line", "use", "link", "img", "br", "hr"}
CONTRAST = 4.5
HARMLESS = "harmless"
QUOTING = "'{"
"""How a command and a mapping begin in which a shell or JSON would write the text another way."""
TEXTS = [
    *HOSTILE,
    "</SCRIPT ><svg/onload=alert(1)>",
    "--><script>alert(1)</script><!--",
    "</style><script>alert(1)</script>",
    "' onmouseover='alert(1)' x='",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "{% for x in y %}{{ config }}{# #}",
    "${alert(1)}`'\"\\",
    "\\u003cscript\\u003e\u2028\u2029",
]


class Parsed(HTMLParser):
    """Elements with their attributes, the names of these in order, and the texts in the elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.structure: list[tuple[str, ...]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.structure.append((tag, *(name for name, _ in attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.structure.append((f"/{tag}",))
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_comment(self, data: str) -> None:
        self.structure.append(("comment", data))

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, *tags: str) -> str:
        return " ".join(text for tag, text in self.texts if not tags or tag in tags)

    @property
    def visible(self) -> str:
        return " ".join(text for tag, text in self.texts if tag not in ("script", "style", "title"))


def page_of(made: Study, **options: object) -> str:
    return page(made, compared(made, **options))


def data_in(html: str) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return found


@pytest.fixture(scope="module")
def html() -> str:
    """A page of a swept study with diverged, failed and unfinished trials."""
    made = study(
        arms=("none", "before", "after"),
        grid={"train.lr": [0.01, 0.1, 1.0]},
        outcomes={0: "diverged", 4: "failed", 8: ""},
        differs=("train.lr: 0.1 in a, 0.3 in b",),
        left_out=("c: nothing in it",),
    )
    comparison = replace(compared(made), warnings=("few seeds: three",), differs=made.differs, left_out=made.left_out)
    return page(made, comparison)


@pytest.fixture(scope="module")
def parsed(html: str) -> Parsed:
    return Parsed(html)


def test_headings_come_in_order_under_one_title(parsed: Parsed) -> None:
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert parsed.text("h1").strip() == "Does it help?"


def test_tables_have_captions_and_scopes(parsed: Parsed) -> None:
    assert len(parsed.all("caption")) == len(parsed.all("table")) >= 6
    assert all(header["scope"] in ("col", "row") for header in parsed.all("th"))
    regions = [attributes for attributes in parsed.all("div") if attributes.get("role") == "region"]
    assert len(regions) == len(parsed.all("table"))
    assert all(region["tabindex"] == "0" for region in regions)


def test_ids_are_unique_and_links_lead_to_them(parsed: Parsed) -> None:
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    targets = {attributes["href"] for _, attributes in parsed.elements if "href" in attributes}
    assert targets <= {f"#{name}" for name in ids}
    labels = {attributes["aria-labelledby"] for _, attributes in parsed.elements if "aria-labelledby" in attributes}
    assert labels <= set(ids)


def test_nothing_is_asked_for_from_anywhere(parsed: Parsed) -> None:
    assert parsed.all("link") == parsed.all("img") == parsed.all("iframe") == []
    assert not any("src" in attributes for _, attributes in parsed.elements)
    assert not any("http" in str(value) for _, attributes in parsed.elements for value in attributes.values())
    assert not re.search(r"@import|url\(", parsed.text("style"))
    policies = [meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"]


def test_plotly_comes_compressed(html: str) -> None:
    (packed,) = re.findall(r'<script type="text/plain" id="plotly">([\w+/=]+)</script>', html)
    assert decompress(b64decode(packed)).startswith(b"/**\n* plotly.js")
    assert len(html.encode()) < PLOTLY


def test_what_could_mislead_and_what_is_missing_is_said(parsed: Parsed) -> None:
    for text in ("few seeds: three", "train.lr: 0.1 in a, 0.3 in b", "c: nothing in it", "26 of 27 trials have ended"):
        assert text in parsed.visible


def test_every_trial_has_a_row_that_points_lead_to(parsed: Parsed, html: str) -> None:
    rows = {row["id"]: row for row in parsed.all("tr") if "id" in row}
    assert list(rows) == [f"trial-{i}" for i in range(27)]
    assert all(row["tabindex"] == "-1" and row["data-arm"] in ("0", "1", "2") for row in rows.values())
    drawn = data_in(html)["trials"]
    assert set(drawn["trial"]) == set(range(27)) - {4, 8}
    assert [drawn["trial"][i] for i, diverged in enumerate(drawn["diverged"]) if diverged] == [0]
    for text in ("diverged at step 2", "failed", "not finished"):
        assert text in parsed.visible
    # A line above the rows of every other rate.
    assert [row.get("class") for row in parsed.all("tr") if "data-arm" in row and "id" not in row][3:12] == [
        *(None, None, None, "first", None, None, "first", None, None)
    ]


@cache
def everywhere(text: str) -> str:
    """A page with the text in every place that a configuration, a table or a file of a run can fill."""
    # A configuration refuses some of these texts; the page has to bear them all.
    roots = [DataSettings().model_copy(update={"root": f"{text} {i}"}) for i in range(2)]
    changed = [TrialSettings().model_copy(update={"data": data}) for data in roots]
    made = study(
        arms=("none", text), question=text, name=text, runs=(text, f"{text} 2"), differs=(text,), left_out=(text,),
        grid={"data.root": [text, f"{text} 2"], "model.width": [3, 4]}, outcomes={0: "failed", 1: "diverged", 2: text},
        environments={text: {text: text, "command": [f"{text} x"], "packages": {text: [text]}, "threads": text}},
        settings=dict(zip(("none", text), changed, strict=True)),
    )  # fmt: skip
    made.trials["reason"] = made.trials["reason"].astype(object)
    made.trials.loc[0, "reason"] = text
    made.trials["run"] = text
    return page(made, replace(compared(made), warnings=(text,), differs=(text,), left_out=(text,)))


@pytest.fixture(scope="module")
def harmless() -> Parsed:
    return Parsed(everywhere(HARMLESS))


@pytest.mark.parametrize("text", crossed(TEXTS, fast=3))
def test_text_is_shown_as_it_is_and_adds_no_element_no_attribute_and_no_comment(harmless: Parsed, text: str) -> None:
    seen = Parsed(everywhere(text))
    assert seen.structure == harmless.structure
    values = [value for tag, keys in seen.elements for key, value in keys.items() if key != "content"]
    assert not [value for value in values if text in (value or "")]
    texts, plain = ([text for _, text in parsed.texts] for parsed in (seen, harmless))
    last = plain.index("What the numbers mean")
    places = [i for i, harmless in enumerate(plain[:last]) if HARMLESS in harmless and harmless[0] not in QUOTING]
    assert len(places) > 40
    assert [texts[i] for i in places] == [plain[i].replace(HARMLESS, text) for i in places]
    found = data_in(everywhere(text))
    assert found["arms"][1]["name"] == text
    assert [axis["names"] for axis in found["axes"] if "names" in axis] == [[text, f"{text} 2"]]


def test_json_can_not_end_its_script() -> None:
    text = script_json({"name": "</script><!--<script>&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"name": "</script><!--<script>&\u2028"}


def test_numbers_that_are_not_finite_stay_out() -> None:
    made = study(outcomes={0: "diverged", 3: "diverged"})
    made.trials.loc[[0, 3], ["final_train_loss", "final_test_accuracy"]] = [[np.inf, 0.1], [np.nan, np.nan]]
    made.curves.loc[3:, "train_loss"] = np.inf
    made.curves.loc[made.curves["trial"] == 3, ["test_accuracy", "train_loss"]] = np.nan
    for metric in ("final_test_accuracy", "final_train_loss"):
        html = page_of(made, metric=metric)
        data_in(html)
        assert not re.search(r"\b(nan|inf|NaN|Infinity|None)\b", Parsed(html).visible)


@pytest.mark.parametrize(
    ("grid", "seeds"),
    [
        ({"train.lr": [0.1 * i for i in range(1, 11)], "model.depth": range(1, 11)}, 1),
        pytest.param({"model.depth": range(100)}, 5, marks=pytest.mark.slow),
        pytest.param({"model.depth": range(500)}, 1, marks=pytest.mark.slow),
    ],
)
def test_a_thousand_trials_of_a_hundred_records_fit(grid: dict[str, Sequence[object]], seeds: int) -> None:
    made = study(grid=grid, seeds=seeds, records=100, outcomes=dict.fromkeys(range(0, 1000, 7), "diverged"))
    html = page_of(made)
    assert len(html.encode()) - PLOTLY < (LARGEST - PLOTLY) * len(made.trials) / 1000
    points = len(made.trials) // 2 // seeds
    assert f"curves of 36 of {points} grid points" in Parsed(html).visible
    assert f"60 of {points} grid points, evenly spaced" in Parsed(html).visible


def test_long_curves_are_thinned_evenly_with_both_ends() -> None:
    made = study(records=1000)
    html = page_of(made)
    curves = data_in(html)["curves"]
    curve = curves["panels"][0]["curves"]["test_accuracy"][1]
    x = curves["arrays"][curve["x"]]
    assert (len(x), x[0], x[-1]) == (100, 0, 999)
    assert set(np.diff(x)) <= {10, 11}
    mean = made.curves[made.curves["trial"] > 2].groupby("epoch")["test_accuracy"].mean()
    assert curves["arrays"][curve["mean"]] == pytest.approx(mean.loc[x], rel=1e-3)
    assert curves["arrays"][curve["seconds"]] == pytest.approx(0.4 * np.array(x), rel=1e-3)
    assert "100 of up to 1000 records per curve, evenly spaced, with the first and the last" in Parsed(html).visible
    assert "every record" in Parsed(page_of(study())).visible


def test_a_single_seed_has_no_band() -> None:
    curves = data_in(page_of(study(seeds=1)))["curves"]
    assert all("low" not in curve for curve in curves["panels"][0]["curves"]["test_accuracy"])


def test_swept_axes_are_logarithmic_where_values_span_decades() -> None:
    made = study(
        grid={"train.lr": [0.01, 0.2], "model.depth": [0, 20], "model.width": [5, 50], "data.name": ["a", "b"]}
    )
    axes = chart_data(made, compared(made))["axes"]
    assert [(axis["name"], axis.get("log")) for axis in axes] == [
        ("lr", True), ("depth", False), ("width", False), ("name", None),
    ]  # fmt: skip
    assert axes[3]["names"] == ["a", "b"]
    made = study(grid={"train.clip": [None, 1.0]})
    assert chart_data(made, compared(made))["axes"][0]["names"] == ["null", "1"]


def test_differences_are_those_of_the_comparison() -> None:
    made = study(arms=("none", "before", "after"), grid={"train.lr": [0.1, 0.2]})
    comparison = compared(made)
    drawn = chart_data(made, comparison)["differences"]
    assert drawn["titles"] == ["lr\u00a00.1", "lr\u00a00.2"]
    rows = [row for row in comparison.rows if row.arm != "none"]
    assert [(row["point"], row["arm"]) for row in drawn["rows"]] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert [row["low"] for row in drawn["rows"]] == pytest.approx([row.difference_low for row in rows], rel=1e-3)
    assert [row["arm"] for row in drawn["overall"]] == [1, 2]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_arms_can_be_told_apart_and_seen_on_dark_ground() -> None:
    styles = arm_styles([*KNOWN, *(f"arm{i}" for i in range(20))]).values()
    for style in styles:
        assert (luminance(style.dark) + 0.05) / (luminance(ON_DARK["#FFFFFF"]) + 0.05) >= CONTRAST
    assert len({(style.dark, style.dash) for style in styles}) == len(styles)
    assert [style.dash == "" for style in list(styles)[:3]] == [False, True, False]


# What the probes measured.


def probed_study(arms: tuple[str, ...] = ("none", "before"), only: str = "", **fields: object) -> Study:
    _, probes = probe_tables(arms, seeds=1, depth=1, steps=(0, 10))
    return study(arms=arms, seeds=1, probes=probes[probes["probe"].str.startswith(only)], **fields)


def test_every_picture_of_a_probe_has_words_and_is_part_of_the_page() -> None:
    assert set(WORDS) == set(PROBE_FIGURES)
    parsed = Parsed(page_of(probed_study()))
    assert "Inside the networks" in parsed.text("h2")
    assert [attributes["alt"] for attributes in parsed.all("img")] == [words.kind for words in WORDS.values()]
    for words in WORDS.values():
        assert words.heading in parsed.text("h3")
        assert words.reading in parsed.visible
        assert words.trap in parsed.visible
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    sources = [attributes["src"] or "" for attributes in parsed.all("img")]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "Inside" not in Parsed(page_of(study())).visible


def test_tries_of_a_tuning_have_a_picture_a_table_and_a_definition() -> None:
    made = study()
    tried = Tried(np.linspace(0.1, 0.9, 8)[None], np.full((1, 8), np.nan))
    rows = tuple(row for arm in made.arms for row in tuning_rows(Tuning(made.name, {}, arm, (tried,))))
    html = page(made, replace(compared(made), tuning=rows))
    assert TUNING.trap in html
    assert f'alt="{TUNING.kind}"' in html
    assert TUNING.trap not in page(made, compared(made))


def test_the_ladder_has_a_picture_with_a_heading_and_without_a_title_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    titles: set[str] = set()

    def noted(title: str, **rest: Any) -> Any:
        titles.add(title)
        return new_figure(title=title, **rest)

    monkeypatch.setattr(ladder, "new_figure", noted)
    made, numbers = study(), dict.fromkeys(field.name for field in fields(Rung))
    rungs = tuple(Rung(**numbers | {"arm": arm, "baseline": "none", "full": "before"}) for arm in made.arms)
    parsed = Parsed(page(made, replace(compared(made), ladder=rungs)))
    assert "What takes BN apart" in parsed.text("h3")
    (picture,) = parsed.all("img")
    assert "differences to none at the left" in str(picture["alt"])
    assert titles == {""}


def test_misclassified_images_have_a_section_with_counts_a_picture_and_their_numbers(tmp_path: Path) -> None:
    predicted = [[0, 1, 2], [0, 1, 1], [1, 1, 1], [0, 2, 1]]  # by two seeds of none, then by two of before
    records = {"made-up-1": keep_predictions(tmp_path / "run", [0, 1, 2], predicted)}
    made = replace(study(seeds=2), records=records)
    parsed, comparison = Parsed(page_of(made)), compared(made)
    assert "Test images" in parsed.text("h2")
    assert [attributes["alt"] for attributes in parsed.all("img")] == [MISCLASSIFIED.kind]
    assert MISCLASSIFIED.trap in parsed.visible
    found = misclassified(made, comparison)
    assert found is not None
    counts, shown = images_table(made, comparison, found.arms), shown_table(made, found)
    assert counts.rows == (("before", "2", "1.5 [0.0, 3.0]", "0.0 [0.0, 0.0]", "0.5 [0.0, 3.0]", "0.5"),)
    assert counts.notes == ("Of 3 test images; mean over the pairs with its 95 % interval.",)
    assert shown.rows == (
        ("before", "0", "0", "1", "1 of 2", "0 of 2"),
        ("before", "1", "1", "2", "1 of 2", "0 of 2"),
        ("before", "2", "2", "1", "2 of 2", "1 of 2"),
    )
    assert "Test images" not in Parsed(page_of(study())).visible


def test_the_counts_say_which_point_was_chosen_and_how_many_pairs_are_lacking(tmp_path: Path) -> None:
    record = keep_predictions(tmp_path / "run", [0, 1], [[0, 1]] * 7)
    made = replace(study(seeds=2, grid={"train.lr": [0.1, 0.2]}), records={"made-up-1": record})
    comparison = compared(made)
    found = misclassified(made, comparison)
    assert found is not None
    assert images_table(made, comparison, found.arms).notes == (
        "Of 2 test images; mean over the pairs, at lr\u00a00.2, which none chose on validation images. "
        "Predictions of 1 of 2 pairs are kept.",
    )


@pytest.mark.parametrize("name", HOSTILE[:2])
def test_a_picture_leaves_its_title_to_the_page_and_names_are_text_in_it(name: str) -> None:
    text = page_of(probed_study(("none", name), only="loss_variation", question=name))
    (picture,) = re.findall(r'<img src="data:image/svg\+xml;base64,([\w+/=]+)" alt="[^"<>]+">', text)
    svg = b64decode(picture)
    assert svg.startswith(b"<?xml")
    assert name.encode() not in svg


# Tables.


def tables_of(made: Study, **options: object) -> dict[str, Any]:
    return {table.name: table for table in comparison_tables(compared(made, **options))}


def column(table: Any, header: str) -> list[Any]:
    place = table.headers.index(header)
    return [row[place] for row in table.cells]


def test_tables_stand_where_they_have_something_to_say() -> None:
    assert list(tables_of(study())) == ["equal", "time"]
    swept = tables_of(study(grid={"train.lr": [0.1, 1.0, 10.0]}, outcomes={0: "diverged"}))
    assert list(swept) == ["overall", "equal", "best", "robust", "time", "diverged"]
    assert [cell.text for cell in column(swept["diverged"], "diverged")] == ["1/3", "0/3"]
    assert column(swept["diverged"], "rate")[0].detail == "[0.06, 0.79]"


def test_cells_are_read_as_text_and_sorted_as_numbers() -> None:
    equal = tables_of(study(gains={"before": -0.2}))["equal"]
    none, before = column(equal, "difference to none")
    assert (none.text, none.sort) == ("-", None)
    assert before.sort == pytest.approx(float(before.text), abs=1e-3)
    html = page_of(study(gains={"before": -0.2}))
    assert f">{in_print(before.text)} <small>{in_print(before.detail)}</small></td>" in html
    assert "<td>–</td>" in html
    assert column(equal, "better")[1].text == "0/3"
    assert [cell.text for cell in column(tables_of(study())["time"], "epochs to 0.9")] == ["not reached"] * 2


def test_columns_without_a_value_are_left_out() -> None:
    headers = tables_of(study(arms=("none",)))["equal"].headers
    assert headers == ("arm", "n", "final test accuracy", "epochs to 0.9", "diverged")
    made = study()
    made.trials[["final_val_accuracy", "best_val_accuracy"]] = np.nan
    assert "final val accuracy" not in trials_table(made).headers


def test_trials_of_several_runs_say_which() -> None:
    made = study(runs=("a-1", "b-1"))
    assert trials_table(made).headers[0] == "run"
    assert trials_table(study()).headers[0] == "trial"


def test_settings_are_held_against_the_baseline() -> None:
    table = settings_table({arm: settings(arm) for arm in ("before", "none", "after")}, "none")
    assert table.headers == ("setting", "none", "before", "after")
    assert table.rows == (
        ("model.norm.kind", "none", "batch", "batch"),
        ("model.norm.placement", "before", "before", "after"),
    )


def test_every_argument_of_an_own_network_has_a_row() -> None:
    def with_arguments(**given: object) -> TrialSettings:
        model = ModelSettings(family="module", source="my_net.py:Net#1a2b3c4d5e6f", arguments=given)
        return settings("none").model_copy(update={"model": model})

    wide, narrow = with_arguments(width=16, groups=[1, 2]), with_arguments(width=8)
    table = settings_table({"wide": wide, "narrow": narrow}, "narrow")
    assert table.rows == (("model.arguments.width", "8", "16"), ("model.arguments.groups", "-", "[1, 2]"))
    assert ("model.arguments.width", "16") in baseline_table({"wide": wide}, "wide").rows


def test_the_environment_is_a_column_per_run() -> None:
    table = environment_table(
        {
            "a": {"format": 1, "torch": "2", "command": ["bnexp", "a b", "\udcfc"], "groups": ["3 4", "0 1"]},
            "b": {"commit": None},
        }
    )
    assert table.rows == (
        ("torch", "2", "-"),
        ("command", r"bnexp 'a b' '\udcfc'", "-"),  # of a file whose name is no UTF-8
        ("groups", "3 4; 0 1", "-"),
        ("commit", "-", "-"),
    )


def test_a_study_without_a_result_has_a_page() -> None:
    made = study(outcomes=dict.fromkeys(range(6), ""))
    empty = replace(made, curves=made.curves[:0], question="")
    parsed = Parsed(page_of(empty))
    assert parsed.text("h1").strip() == "made-up-1"
    assert "Nothing has finished yet." in parsed.text("h2")
    assert "Nothing is recorded yet." in parsed.visible


def test_a_page_of_an_unfinished_run_says_so_and_reads_itself_again_where_it_is_followed() -> None:
    made = study(outcomes={1: ""})
    followed = page(made, compared(made), reload=10)
    assert "Not finished" in followed
    assert "5 of 6 trials have ended. Everything here is as far as it was on " in followed
    assert '<meta http-equiv="refresh" content="10">' in followed
    assert "This page reads itself again every 10 seconds." in followed
    assert 'http-equiv="refresh"' not in page_of(made)
    assert "Not finished" not in page_of(study())


def test_of_very_many_trials_the_page_shows_some_with_a_row_and_a_point_each() -> None:
    made = study(seeds=1500)
    table, points = trials_table(made), chart_data(made, compared(study()))["trials"]
    assert table.title == "2000 trials"
    assert table.notes[-1] == "Of 3000 trials, evenly spaced; trials.csv has all."
    assert [f"trial-{trial}" for trial in points["trial"]] == [record.id for record in table.records]
    assert (points["trial"][0], points["trial"][-1]) == (0, 2999)
