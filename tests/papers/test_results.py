"""Published numbers beside ours: which trials and records they are compared with, and what the tables show."""

from dataclasses import replace
from pathlib import Path

import pytest

from bnexp.analysis.stats import Interval
from bnexp.claims.pages import page_files
from bnexp.claims.runs import run_entries
from bnexp.config.origin import Origin
from bnexp.engines.engine import EngineChoice
from bnexp.papers import results as module
from bnexp.papers.agreement import Agreement
from bnexp.papers.catalogue import Paper, PublishedSettings, load_paper
from bnexp.papers.documents import document, paper_table, papers_page, published_text, results_json
from bnexp.papers.pictures import paper_figure
from bnexp.papers.results import Result, Row, results
from tests.claims.made_up import a_study, by_seed
from tests.papers.made_up import written


def rows(*trials: dict[str, object], same: bool = True, **published: object) -> list[Row]:
    """The rows of published test accuracies beside those of a study."""
    settings = PublishedSettings.model_validate({"metric": "test_accuracy"} | published)
    return list(module._rows(settings, a_study(*trials), same=same))


TRIALS = (
    *by_seed("none", [0.5, 0.52, 0.1], **{"train.lr": 1}),
    *by_seed("before", [0.7, 0.72, 0.74], **{"train.lr": 1}),
    *by_seed("none", [0.3, 0.3, 0.3], **{"train.lr": 2}),
)


def test_arms_are_compared_at_the_grid_point_and_differences_by_seed() -> None:
    none, before, change = rows(*TRIALS, where={"train.lr": 1}, values={"none": 0.51, "before": [0.73, 0.2]})
    assert (none.ours, none.at_chance) == ((0.5, 0.52, 0.1), 1)
    assert none.interval.mean == pytest.approx(0.51)  # of those that learned
    assert (none.agreements, before.agreements) == (("yes",), ("yes", "no"))
    assert change.ours == pytest.approx((0.2, 0.2, 0.64))
    assert change.published == pytest.approx((0.465 - 0.51,))
    assert (change.arm, change.baseline, change.agreements) == ("before", "none", ("can't tell",))


def test_where_none_learned_there_is_a_mean_and_no_interval() -> None:
    (row,) = rows(*by_seed("none", [0.1, 0.098]), values={"none": 0.114})
    assert (row.at_chance, row.agreements) == (2, ("yes",))
    assert row.interval == Interval(pytest.approx(0.099), None, None)


def test_in_another_setting_only_signs_are_compared() -> None:
    found = rows(*TRIALS, same=False, where={"train.lr": 1}, values={"none": 0.51, "before": 0.73})
    assert [len(row.agreements) for row in found] == [0, 0, 1]


def test_what_is_from_memory_is_not_compared() -> None:
    found = rows(*TRIALS, where={"train.lr": 1}, values={"none": 0.51, "before": 0.73}, unverified=True)
    assert [row.agreements for row in found] == [(), (), ()]


def test_where_only_an_order_was_published_each_arm_is_compared_with_the_next() -> None:
    trials = [*by_seed("a", [0.9, 0.91]), *by_seed("b", [0.7, 0.7]), *by_seed("c", [0.8, 0.79])]
    *arms, a_b, b_c = rows(*trials, same=False, ahead=["a", "b", "c"])
    assert [(row.arm, row.published, row.agreements) for row in arms] == [(arm, (), ()) for arm in "abc"]
    assert [(row.arm, row.baseline, row.agreements) for row in (a_b, b_c)] == [
        ("a", "b", ("yes",)),
        ("b", "c", ("no",)),
    ]
    assert [published_text(row) for row in (arms[0], a_b, replace(a_b, unverified=True))] == [
        "-",
        "above 0",
        "above 0†",
    ]


CURVES = [{"arm": arm, "seed": seed, "curve": [0.1, 0.4, 0.6]} for arm in ("none", "before") for seed in (0, 1)]


@pytest.mark.parametrize(("step", "value", "same"), [(10, 0.4, True), (20, 0.6, True), (500, 0.6, False)])
def test_a_step_is_compared_with_its_record_and_one_beyond_the_training_with_the_last(
    step: int, value: float, same: bool
) -> None:
    for row in rows(*CURVES, step=step, values={"none": 0.5, "before": 0.5})[:2]:
        assert (row.ours, row.at, row.same_setting) == ((value, value), min(step, 20), same)


def test_failed_trials_are_left_out() -> None:
    trials = [*by_seed("none", [0.5, 0.6]), {"arm": "none", "seed": 2, "accuracy": 0.9, "outcome": "failed"}]
    assert rows(*trials, values={"none": 0.5})[0].ours == (0.5, 0.6)


# A run, and the page that is made from it


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Paper:
    return load_paper(written(tmp_path_factory.mktemp("lesson")))


@pytest.fixture(scope="module")
def found(paper: Paper) -> Result:
    runs = Path(paper.source).parent / "runs"
    run_entries([paper], "small", runs, lambda line: None, EngineChoice("cpu"))
    (result,) = results([paper], "small", runs)
    return result


def test_a_paper_that_ran_is_shown_beside_the_published_numbers(found: Result) -> None:
    table = paper_table(found)
    cells = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    assert [row["arm"] for row in cells] == ["none", "before", "before - none"] * 2
    assert [row["published"] for row in cells[:3]] == ["0.1", "0.9, 0.8", "+0.750"]
    assert [row["same setting?"] for row in cells] == ["yes"] * 3 + ["no, after 20 steps"] * 3
    assert [row["agrees?"] for row in cells[3:]] == ["-"] * 3
    assert [row["published"] for row in cells[3:]] == ["0.1†", "0.9, 0.8†", "+0.750†"]
    assert {row["n"] for row in cells} == {"2"}


def test_a_change_on_the_command_line_is_said_beside_the_setting(found: Result) -> None:
    changed = replace(found, experiment=found.experiment.made_from(Origin(("train.momentum=0.5",))))
    table = paper_table(changed)
    assert table.rows[0][table.headers.index("same setting?")] == "yes, except for changes"
    text = document([changed], "small", "bnexp papers show --docs docs", {})["papers.md"].decode()
    assert "- Changed for these runs: `train.momentum=0.5`\n" in text


def test_the_page_has_the_rule_the_sources_and_the_numbers_of_the_runs(found: Result) -> None:
    missing = replace(found, study=None)
    files = document([found], "small", "bnexp papers show --docs docs", {"full": [missing]})
    text = files["papers.md"].decode()
    assert files["papers/lesson.png"].startswith(b"\x89PNG")
    assert "](papers/lesson.png)" in text
    (change,) = [row for row in found.rows if row.baseline and not row.unverified]
    assert f"{change.interval.mean:+.3f} [" in text
    assert "Made by `bnexp papers run --tier small` and `bnexp papers show --docs docs`." in text
    assert "This is the small tier. Of the full tier (`--tier full`), made for a GPU, none of 1 have been run." in text
    assert "| [A lesson \\| about BN](#lesson) |" in text
    assert "\n## lesson\n" in text
    for line in ("Why they differ is open.", "- Source: Somebody's notebook.", "- Different: The seeds."):
        assert f"\n{line}\n" in text
    assert "- Cost: 8 measured trials, " in text
    assert "Measured on " in text
    assert "\n\n\n" not in text


def test_the_page_for_a_class_has_the_answer_the_picture_and_questions(found: Result) -> None:
    asked = replace(found.paper, settings=found.paper.settings.model_copy(update={"discuss": ("Is it so?",)}))
    page = papers_page([replace(found, paper=asked)], "small", "bnexp papers show --html")
    (item,) = page.items
    assert page.summary == "1 paper or lesson, small tier"
    compared = [*found.values(), *found.signs()]
    assert item.word == f"{compared.count(Agreement.yes)} of {len(compared)} agree"
    assert item.found.startswith("Published: BN helps. Ours: accuracies that agree ")
    files = page_files(page, "papers")
    assert set(files) == {"papers.html", "slides/lesson.svg", "slides/lesson.pdf"}
    assert "<li>Is it so?</li>" in files["papers.html"].decode()
    missing = papers_page([replace(found, study=None, rows=())], "small", "bnexp")
    assert (missing.items[0].word, missing.items[0].figure) == ("not run", None)


def test_the_picture_has_the_published_numbers_on_our_runs(found: Result) -> None:
    figure = paper_figure(found)
    assert figure
    (axes,) = (axes for part in figure.subfigs for axes in part.axes)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[:2] == ["lr 1, test, step 20, none", "lr 1, test, step 20, before"]
    drawn = [list(line.get_xdata()) for line in axes.lines]
    rows = [row for row in found.rows if row.baseline is None]
    for row in rows:
        assert list(row.published) in drawn
        assert list(row.ours) in drawn
    assert paper_figure(replace(found, rows=())) is None


def test_an_arm_that_is_compared_twice_has_one_line_and_without_numbers_no_cross_is_explained(found: Result) -> None:
    rows = [row for row in found.rows if row.baseline is None]
    bare = [replace(row, published=()) for row in rows]

    def lines_and_legend(*shown: Row) -> tuple[int, list[str]]:
        figure = paper_figure(replace(found, rows=shown))
        assert figure
        legends = [legend for part in (figure, *figure.subfigs) for legend in part.legends]
        axes = [axes for part in figure.subfigs for axes in part.axes]
        return len(axes[0].get_yticks()), [text.get_text() for legend in legends for text in legend.get_texts()]

    lines, legend = lines_and_legend(*bare, *rows, *bare)
    assert (lines, legend[0]) == (len(rows), "published")
    lines, legend = lines_and_legend(*bare, *bare)
    assert (lines, legend[0]) == (len(rows), "a run of ours")


def test_a_paper_that_has_not_run_shows_what_was_published(paper: Paper, tmp_path: Path) -> None:
    (missing,) = results([paper], "full", tmp_path)
    table = paper_table(missing)
    assert table.notes == (f"not run: bnexp papers run {paper.source}",)
    assert table.headers[-1] == "published"
    assert results_json([missing])[0]["ours"] == []


def test_the_table_explains_its_signs(found: Result) -> None:
    verified = paper_table(replace(found, rows=tuple(replace(row, unverified=False) for row in found.rows)))
    assert any(line.startswith("agrees?: an accuracy does if it is in our interval") for line in verified.lines)
    assert not any(line.startswith("†") for line in verified.lines)
    from_memory = replace(found, rows=tuple(replace(row, unverified=True, agreements=()) for row in found.rows))
    lines = paper_table(from_memory).lines
    assert "†: from memory; shown, but not compared" in lines
    assert not any(line.startswith("agrees?") for line in lines)


def test_the_page_says_what_is_not_compared_and_names_what_has_not_run_once(found: Result) -> None:
    bare = replace(found, rows=tuple(replace(row, agreements=()) for row in found.rows), orders=())
    missing = replace(found, study=None, rows=())
    page = papers_page([bare, missing, missing], "small", "bnexp")
    assert page.summary == "3 papers and lessons, small tier"
    assert [item.word for item in page.items] == ["not compared", "not run", "not run"]
    name = found.paper.command_line_name
    assert page.missing == [f"not run: bnexp papers run {name} {name}"]
    assert [len(item.paragraphs) for item in page.items[1:]] == [0, 0]  # remarks are about numbers that are not there
