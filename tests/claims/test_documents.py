"""The page and the document, and what is told in them: sentences, surprises, settings."""

import re
from collections.abc import Sequence

import pytest

from bnexp.claims.documents import claims_page, document, setting_text, surprises, verdict_sentence
from bnexp.claims.evidence import Chosen, Evidence
from bnexp.claims.pages import page_files, page_html
from bnexp.claims.runs import Finding
from tests.claims.made_up import a_claim, a_study, by_seed, from_check, from_data, judged, measure
from tests.helpers import experiment

LOW, HIGH = (0.5, 0.51, 0.52), (0.7, 0.71, 0.72)


def page(reports: Sequence[Evidence], tier: str, command: str) -> str:
    """The page of these claims."""
    return page_html(claims_page(reports, tier, command))


def test_a_verdict_has_its_colour() -> None:
    of_data = [(HIGH, "good", "SUPPORTED"), (LOW, "small", "EQUIVALENT"), ((0.2, 0.9, 0.5), "unclear", "INCONCLUSIVE")]
    reports = [from_data(judged(LOW, values)) for values, _, _ in of_data]
    reports += [from_data(judged(HIGH, LOW)), *(from_check(Finding("a", "b", e, 1.0)) for e in (2.0, 1.0))]
    shown = re.findall(r'<span class="word (\w+)">([^<]+)<', page(reports, "small", "bnexp claims show"))
    expected = [(kind, word) for _, kind, word in of_data]
    assert shown == [*expected, ("bad", "OPPOSITE"), ("bad", "FAILS"), ("good", "HOLDS")]


def test_the_page_marks_what_decides_and_shows_all_verdicts_at_the_top() -> None:
    text = page([from_data(judged(LOW, HIGH), expect="It <may> lose.")], "full", "bnexp claims show --html")
    assert text.index('alt="The mean change of every claim') < text.index("<details")
    assert text.count('<tr class="decides">') == 1
    assert "Expected before the run: It &lt;may&gt; lose." in text
    assert "Made by <code>bnexp claims show --html</code> from the runs of the full tier." in text
    assert "**" not in text.partition("<script")[0]
    assert 'src="' not in text.replace('src="data:', "")  # it asks nobody for anything


def test_the_page_writes_a_minus_and_a_dash_as_other_pages_do() -> None:
    checked = from_check(Finding("a-1", "-0.5 to -1e-3", None, None), Finding("b", "-", None, None))
    text = page([from_data(judged(HIGH, LOW)), checked], "small", "bnexp claims show")
    assert ">−0.5 to −1e-3</td>" in text
    assert ">a-1</td>" in text
    assert ">–</td>" in text
    assert "[−0." in text
    assert "-0." not in text.partition("<script")[0].partition("<main")[2]


def test_a_class_gets_a_command_to_try_questions_and_a_picture_as_slide_and_in_files() -> None:
    report = from_data(judged(LOW, HIGH), discuss=["Is it <so>?", "Why?"])
    files = page_files(claims_page([report], "small", "bnexp"), "claims")
    text = files["claims.html"].decode()
    assert "<li>Is it &lt;so&gt;?</li><li>Why?</li>" in text
    assert "<code>bnexp claims run folder/made_up.yaml</code>" in text
    assert set(files) == {"claims.html", "slides/made_up.svg", "slides/made_up.pdf"}
    shape = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', files["slides/made_up.svg"].decode())
    assert shape
    assert float(shape[1]) / float(shape[2]) == pytest.approx(16 / 9, abs=0.01)
    assert text.count('class="slide"') == 1


def test_the_document_says_what_was_expected_before_and_the_setting() -> None:
    report = from_data(judged(LOW, HIGH), expect="It may lose.", tested="The mean.")
    text = document([report], "small", "bnexp claims show --docs x")["claims.md"].decode()
    assert "\n\nExpected before the run: It may lose.\n\n" in text
    assert "Made by `bnexp claims run --tier small` and `bnexp claims show --docs x`." in text
    assert "- Setting: data: mnist; model: family mlp, depth 10, width 100" in text
    assert "| [So it is.](#made_up) | SUPPORTED |" in text
    assert "- **EQUIVALENT**: it makes no difference that matters" in text
    assert "- **S2**: notes on *Deep Learning from Scratch*" in text
    parts = ("> So it is. (S0)", "**What was done.** The mean.", "**Answer: SUPPORTED.** The data agree", "![made_up]",
             "**In numbers.** Made up: +0.2")  # fmt: skip
    assert sorted(parts, key=text.index) == list(parts)
    assert "\n\n\n" not in text


BETTER, WORSE = ((0.5, 0.5, 0.5), (0.7, 0.71, 0.72)), ((0.7, 0.71, 0.72), (0.5, 0.5, 0.5))
SWEPT = a_study(
    *by_seed("none", [0.5, 0.51, 0.52], **{"train.lr": 0.1}),
    *by_seed("before", [0.7, 0.71, 0.72], **{"train.lr": 0.1}),
    *by_seed("none", [0.9, 0.91, 0.92], **{"train.lr": 0.01}),
    *by_seed("before", [0.6, 0.61, 0.62], **{"train.lr": 0.01}),
)


def test_the_sentence_has_the_change_the_arms_the_margin_and_the_choices() -> None:
    choices = (Chosen("none", {}, "train.lr", 0.1), Chosen("before", {}, "train.lr", 3.0, at_edge=True))
    tuned = judged(*BETTER, "tuned", of=measure(label="test accuracy"), choices=choices)
    assert verdict_sentence(from_data(tuned)) == (
        "Test accuracy: +0.21 [+0.185, +0.235], before against none (positive agrees; the margin is 0.01), n = 3; "
        "each with what it chose: none: lr 0.1; before: lr 3 (edge)."
    )
    logs = judged((1, 1, 1), (0.5, 0.51, 0.49), of=measure(log=True, better="lower", margin=0.2))
    assert "before against none (above 1 agrees; the margin is ×1.22), n = 3; with equal settings." in verdict_sentence(
        from_data(logs)
    )


def test_the_sentence_says_what_the_verdict_depends_on_and_the_numbers_of_each_row() -> None:
    of = measure(label="test accuracy", each="model.depth")
    rows = [
        judged(*values, of=of, point={"model.depth": depth}) for depth, values in ((2, (LOW, LOW)), (9, (LOW, HIGH)))
    ]
    assert verdict_sentence(from_data(*rows)) == (
        "Test accuracy, before against none (positive agrees; the margin is 0.01), n = 3. "
        "Depth 2: 0 [0, 0]; depth 9: +0.2 [+0.2, +0.2]. The table says what to be careful about."
    )


def test_what_has_not_run_or_is_described_is_said_so() -> None:
    described = a_claim(experiment={}, tiers={"small": {}, "full": {}})
    assert verdict_sentence(Evidence(described)) == "It has no verdict: what was seen is described."
    assert verdict_sentence(Evidence(described, missing=True)) == "It has not run, or not to its end."


def test_the_points_at_which_the_arm_loses_are_told() -> None:
    found = from_data(judged(*BETTER), studies={"equal": SWEPT})
    assert surprises(found) == [
        "At 1 of 2 grid points (equal) before is behind none in final test accuracy: lr 0.01 by 0.300."
    ]


@pytest.mark.parametrize("value", ["final_test_accuracy", "final_val_accuracy"])
def test_that_the_arm_loses_is_no_surprise_where_the_claim_says_so(value: str) -> None:
    claimed = judged(*WORSE, of=measure(value=value, better="lower"))
    assert surprises(from_data(claimed, studies={"equal": SWEPT})) == []
    steps = judged(*WORSE, of=measure(value="steps_to", better="lower"))
    assert len(surprises(from_data(steps, studies={"equal": SWEPT}))) == 1


def test_regimes_that_disagree_are_told() -> None:
    equal, tuned = judged(*WORSE, decides=False), judged(*BETTER, "tuned")
    said = "With equal settings it is OPPOSITE, with each arm's own SUPPORTED."
    assert surprises(from_data(equal, tuned)) == [said]
    alike = judged(*BETTER, decides=False)
    assert surprises(from_data(alike, tuned)) == []


def test_of_measures_against_the_claim_three_are_told() -> None:
    labels = ("first", "second", "later", "third", "fourth")
    rows = [judged(*(WORSE if i else BETTER), of=measure(label=label), decides=not i) for i, label in enumerate(labels)]
    assert surprises(from_data(*rows)) == [
        "OPPOSITE, equal: second: -0.21 [-0.235, -0.185].",
        "OPPOSITE, equal: later: -0.21 [-0.235, -0.185].",
        "OPPOSITE, equal: third: -0.21 [-0.235, -0.185].",
        "OPPOSITE in 1 more rows of the table.",
    ]


def test_everything_that_is_not_as_by_default_is_told_and_the_basics_anyway() -> None:
    config = experiment(
        data={"name": "digits", "normalize": "unit", "val_size": 300},
        model={"depth": 7, "residual": True, "init": "he", "norm": {"groups": 5}},
        train={"lr": 0.1, "clip": {"norm_global": 1.0}, "record_at": [1, 2], "steps": 20},
    )
    assert setting_text(config) == (
        "data: digits, val_size 300, normalize unit; "
        "model: family mlp, depth 7, width 100, activation sigmoid, residual true, init.scheme he, norm.groups 5; "
        "train: steps 20, batch_size 128, optimizer sgd, lr 0.1, clip.norm_global 1"
    )


def test_what_is_swept_chosen_or_differs_between_arms_is_no_shared_setting() -> None:
    config = experiment(
        data={"name": "digits"},
        arms={"none": {}, "small": {"train.batch_size": 8}},
        grid={"model.depth": [2, 10, 20], "model.init": ["he", "xavier"]},
        tune={"grid": {"train.lr": [0.1, 0.3, 1, 3, 10]}},
    )
    assert setting_text(config) == (
        "data: digits; model: family mlp, width 100, activation sigmoid; train: epochs 10, optimizer sgd; "
        "over depth 2 / 10 / 20, init he / xavier; every arm chose of lr 0.1 … 10 (5)"
    )
