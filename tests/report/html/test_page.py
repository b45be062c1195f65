"""The page says what the comparison holds, asks nobody for anything, and takes every name for text."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bnexp.analysis.study import Study
from bnexp.report.html.charts import ON_DARK, arm_looks, chart_data, embedded
from bnexp.report.html.page import page
from bnexp.report.html.tables import comparison_tables, environment_table, settings_table, trials_table
from bnexp.report.style import KNOWN, arm_styles
from tests.report.html.made_up_study import HOSTILE, compared, settings, study

LARGEST = 8_000_000
"""Bytes of a page with 1,000 trials of 100 records."""
SCRIPTS = 4
"""The numbers, plotly.js, and the page's own two."""
VOID = {"meta", "input", "line", "use", "link", "img", "br", "hr"}
DARK_GROUND = "#1b1f24"
CONTRAST = 4.5


class Parsed(HTMLParser):
    """Elements with their attributes, and the text in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

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


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_anything_but_text(name: str) -> None:
    made = study(
        arms=("none", name), question=name, name=name, runs=(name,), grid={"data.name": [name, "b"]}, differs=(name,),
        environments={name: {name: name, "command": [name]}},
    )  # fmt: skip
    comparison = replace(compared(made), warnings=(name,), differs=(name,), left_out=(name,))
    plain = Parsed(page_of(study(grid={"data.name": ["a", "b"]}, differs=("a",))))
    parsed = Parsed(page(made, comparison))
    assert len(parsed.all("script")) == len(plain.all("script")) == SCRIPTS
    assert {tag for tag, _ in parsed.elements} <= {tag for tag, _ in plain.elements} | {"ul", "li"}
    assert {key for _, keys in parsed.elements for key in keys} == {key for _, keys in plain.elements for key in keys}
    for tag in ("h1", "code", "th", "li", "span", "title"):
        assert name in parsed.text(tag)
    assert data_in(page(made, comparison))["arms"][1]["name"] == name


def test_json_can_not_end_its_script() -> None:
    text = embedded({"name": "</script><!--<script>&\u2028"})
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
        ({"train.lr": [0.1 * i for i in range(1, 11)], "model.depth": range(1, 11)}, 5),
        pytest.param({"model.depth": range(500)}, 1, marks=pytest.mark.slow),
    ],
)
def test_a_thousand_trials_of_a_hundred_records_fit(grid: dict[str, Sequence[object]], seeds: int) -> None:
    made = study(grid=grid, seeds=seeds, records=100, outcomes=dict.fromkeys(range(0, 1000, 7), "diverged"))
    html = page_of(made)
    assert len(made.trials) == 1000
    assert 4_000_000 < len(html.encode()) < LARGEST
    points = len(made.trials) // 2 // seeds
    assert f"curves of 32 of {points} grid points" in Parsed(html).visible
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


def test_a_curve_has_a_cross_where_each_of_its_trials_diverged() -> None:
    made = study(outcomes={1: "diverged"})
    none, before = data_in(page_of(made))["curves"]["panels"][0]["curves"]["test_accuracy"]
    trial = made.curves[made.curves["trial"] == 1].set_index("epoch")["test_accuracy"]
    assert none["crosses"] == [[1, pytest.approx(trial[1], rel=1e-3)]]  # at step 2 of ten an epoch
    assert "crosses" not in before


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
    assert drawn["titles"] == ["lr 0.1", "lr 0.2"]
    rows = [row for row in comparison.rows if row.arm != "none"]
    assert [(row["point"], row["arm"]) for row in drawn["rows"]] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert [row["low"] for row in drawn["rows"]] == pytest.approx([row.difference_low for row in rows], rel=1e-3)
    assert [row["arm"] for row in drawn["overall"]] == [1, 2]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_arms_look_as_in_the_figures_and_can_be_seen_on_dark_ground() -> None:
    arms = [*KNOWN, *(f"arm{i}" for i in range(20))]
    looks = arm_looks(arms)
    assert [look.light for look in looks] == [style.colour for style in arm_styles(arms).values()]
    assert {look.light for look in looks} == set(ON_DARK)
    for look in looks:
        assert (luminance(look.dark) + 0.05) / (luminance(DARK_GROUND) + 0.05) >= CONTRAST
    assert len({(look.dark, look.dash) for look in looks}) == len(looks)
    assert [look.dash == "" for look in looks[:3]] == [False, True, False]


def tables_of(made: Study, **options: object) -> dict[str, Any]:
    numbers = {arm: i for i, arm in enumerate(made.arms)}
    return {table.id: table for table in comparison_tables(compared(made, **options), numbers)}


def column(table: Any, header: str) -> list[Any]:
    place = [name for name, _ in table.headers].index(header)
    return [row.cells[place] for row in table.rows]


def test_tables_stand_where_they_have_something_to_say() -> None:
    assert list(tables_of(study())) == ["equal", "time"]
    swept = tables_of(study(grid={"train.lr": [0.1, 1.0, 10.0]}, outcomes={0: "diverged"}))
    assert list(swept) == ["overall", "equal", "best", "robust", "time", "diverged"]
    assert [cell.text for cell in column(swept["diverged"], "diverged")] == ["1/3", "0/3"]
    assert column(swept["diverged"], "rate")[0].detail == "[0.06, 0.79]"
    assert [row.first for row in swept["equal"].rows] == [False, False, True, False, True, False]


def test_cells_are_read_as_text_and_sorted_as_numbers() -> None:
    equal = tables_of(study(gains={"before": -0.2}))["equal"]
    none, before = column(equal, "difference to none")
    assert (none.text, none.sort) == ("–", None)
    assert before.text.startswith("−0.")
    assert before.sort == pytest.approx(float(before.text.replace("−", "-")), abs=1e-3)
    assert before.detail.count("−") == 2
    assert column(equal, "better")[1].text == "0/3"
    assert [cell.text for cell in column(tables_of(study())["time"], "epochs to 0.9")] == ["not reached"] * 2


def test_columns_without_a_value_are_left_out() -> None:
    headers = [name for name, _ in tables_of(study(arms=("none",)))["equal"].headers]
    assert headers == ["arm", "n", "final test accuracy", "epochs to 0.9", "diverged"]
    made = study()
    made.trials[["final_val_accuracy", "best_val_accuracy"]] = np.nan
    assert "final val accuracy" not in [name for name, _ in trials_table(made, {}).headers]


def test_trials_of_several_runs_say_which() -> None:
    made = study(runs=("a-1", "b-1"))
    assert trials_table(made, {}).headers[0] == ("run", "text")
    assert trials_table(study(), {}).headers[0] == ("trial", "number")


def test_settings_are_held_against_the_baseline() -> None:
    table = settings_table({arm: settings(arm) for arm in ("before", "none", "after")}, "none")
    assert [name for name, _ in table.headers] == ["setting", "none", "before", "after"]
    assert {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in table.rows} == {
        "model.norm.kind": ["none", "batch", "batch"],
        "model.norm.placement": ["before", "before", "after"],
    }


def test_the_environment_is_a_column_per_run() -> None:
    table = environment_table({"a": {"format": 1, "torch": "2", "command": ["bnexp", "a b"]}, "b": {"commit": None}})
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["torch", "2", "–"],
        ["command", "bnexp 'a b'", "–"],
        ["commit", "–", "–"],
    ]


def test_a_study_without_a_result_has_a_page() -> None:
    made = study(outcomes=dict.fromkeys(range(6), ""))
    empty = replace(made, curves=made.curves[:0], question="")
    parsed = Parsed(page_of(empty))
    assert parsed.text("h1").strip() == "made-up-1"
    assert "Nothing has finished yet." in parsed.text("h2")
    assert "Nothing is recorded yet." in parsed.visible
