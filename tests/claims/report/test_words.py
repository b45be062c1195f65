"""What is told of a claim: the sentence with its numbers, and surprises in the claim's own direction."""

import pytest

from bnexp.claims.evidence import Chosen, Evidence
from bnexp.claims.report.documents import surprises, verdict_sentence
from tests.claims.made_up import a_study, by_seed, measure
from tests.claims.report.made_up import a_claim, from_data, judged

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
