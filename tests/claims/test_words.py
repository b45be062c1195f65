"""Verdicts in plain words."""

import pytest

from bnexp.claims.evidence import Evidence
from bnexp.claims.runs import Finding
from bnexp.claims.verdicts import VerdictLabel
from bnexp.claims.words import MEANINGS, NOTES, answer, legend
from tests.claims.made_up import a_claim, from_check, from_data, judged, measure

SAME, MORE = (0.5, 0.5, 0.5), (0.7, 0.71, 0.72)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            from_data(judged(SAME, MORE, of=measure(label="test accuracy"))),
            "The data agree: the difference is clear and large enough to matter. "
            "Test accuracy: higher with BN before the activation than without BN, on average by 0.21.",
        ),
        (
            from_data(judged((8, 8, 8), (2, 2, 2), of=measure(label="steps", log=True, better="higher", arm="wide"))),
            "The data say the reverse, clearly and by enough to matter. "
            "Steps: lower with wide than without BN, on average by a factor of 4.",
        ),
        (from_data(judged(SAME, SAME)), "It makes no difference that matters."),
        (from_data(judged(SAME, (0.4, 0.5, 0.7))), "These runs can't tell."),
        (from_data(judged(SAME, (0.5080, 0.5085, 0.5120))), "There is a difference, but on average it is too small"),
        (
            from_data(
                judged(SAME, MORE, point={"model.activation": "tanh"}),
                judged(SAME, SAME, point={"model.activation": "relu"}),
            ),
            "It depends: SUPPORTED with tanh; EQUIVALENT with relu.",
        ),
        (
            from_data(
                judged(SAME, MORE, point={"model.activation": "tanh", "model.depth": 3}),
                judged(SAME, MORE, point={"model.activation": "tanh", "model.depth": 9}),
                judged(SAME, (0.4, 0.5, 0.7), point={"model.activation": "relu", "model.depth": 3}),
            ),
            "These runs can't tell everywhere: SUPPORTED with tanh · depth 3 and tanh · depth 9; "
            "INCONCLUSIVE with relu · depth 3.",
        ),
        (from_check(Finding("a", "b", 0.0, 1.0)), "It is exactly so."),
        (
            from_check(Finding("a", "b", 2.0, 1.0), as_worded=False, tested="Not quite."),
            "It is not so. The notes have it",
        ),
        (Evidence(a_claim(measure()), missing=True), "It has not run yet."),
        (Evidence(a_claim(experiment={}, tiers={"small": {}, "full": {}})), "No number decides this"),
    ],
)
def test_the_answer_is_one_plain_sentence(found: Evidence, said: str) -> None:
    assert answer(found).startswith(said)


def test_every_verdict_and_every_set_of_notes_is_explained() -> None:
    explained = {word for words in MEANINGS for word in words.split(", ")}
    assert explained == {str(label) for label in VerdictLabel}
    assert list(NOTES) == ["S0", "S1", "S2", "S3", "S4"]
    assert all(f"**{name}**" in legend() for name in (*MEANINGS, *NOTES))
