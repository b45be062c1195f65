"""The verdict names the winner, the loser, and what can't be told."""

from dataclasses import replace

import pytest

from bnexp.analysis.study import Study
from bnexp.report.html.verdict import Verdict, verdict
from tests.report.html.made_up_study import compared, study


def verdict_of(made: Study, **options: object) -> Verdict:
    return verdict(compared(made, **options), made.settings)


@pytest.mark.parametrize(
    ("gain", "seeds", "tone", "heading"),
    [
        (0.3, 6, "better", "Batch normalization wins here."),
        (-0.3, 6, "worse", "Batch normalization loses here."),
        (0.3, 5, "unclear", "Batch normalization is ahead here, but that is not settled."),
        (-0.3, 3, "unclear", "Batch normalization is behind here, but that is not settled."),
        (0.0, 6, "unclear", "No difference shown."),
    ],
)
def test_who_wins(gain: float, seeds: int, tone: str, heading: str) -> None:
    found = verdict_of(study(gains={"before": gain}, seeds=seeds))
    assert (found.tone, found.heading) == (tone, heading)
    assert ("The interval contains zero: either arm may be the better one." in found.sentences) == (gain == 0)
    few = f"With {seeds} seeds no exact p can fall below 0.05. Ask for more with seeds: 6."
    assert (few in found.sentences) == (seeds < 6)


def test_the_sentence_has_the_means_the_interval_and_the_pairs() -> None:
    made = study(seeds=6)
    (row,) = (row for row in compared(made).overall if row.arm == "before")
    assert verdict_of(made).sentences == (
        f"Final test accuracy: before {row.mean:.3f}, none {row.baseline_mean:.3f}; difference {row.difference:+.3f}, "
        f"95\u00a0% interval [{row.difference_low:+.3f}, {row.difference_high:+.3f}], "
        f"paired over 6 seeds (better in 6, p\u00a0=\u00a00.031).",
    )


def test_of_a_loss_the_lower_one_wins() -> None:
    found = verdict_of(study(seeds=6), metric="final_train_loss")
    assert found.tone == "better"
    assert found.sentences[0].startswith("Final train loss (lower is better): before 0.")
    assert "difference −0." in found.sentences[0]


def test_one_seed_has_no_interval_and_can_not_tell() -> None:
    found = verdict_of(study(seeds=1))
    assert (found.tone, found.heading) == ("unknown", "One seed can’t tell.")
    assert found.sentences[0].endswith(", from one seed.")
    assert "no interval" in found.sentences[1]


def test_over_different_data_sets_there_is_no_single_answer() -> None:
    made = study(seeds=6)
    found = verdict(replace(compared(made), overall=(), data_sets=("mnist", "digits")), made.settings)
    assert (found.tone, found.heading) == ("unknown", "No single answer over different data sets.")
    assert found.sentences == ("The trials are about 2 data sets: each has rows of its own.",)


def test_nothing_finished() -> None:
    found = verdict_of(study(outcomes=dict.fromkeys(range(6), "")))
    assert (found.heading, found.sentences) == ("Nothing has finished yet.", ("None of 6 trials has ended.",))


@pytest.mark.parametrize(
    ("arms", "missing", "reason"),
    [
        (("none",), (), "none is the only arm, so there is no difference to speak of."),
        (("none", "before"), (0, 1, 2), "No trial of none, the baseline, has a result"),
        (("none", "before"), (3, 4, 5), "No trial of another arm has a partner in none"),
    ],
)
@pytest.mark.parametrize("how", ["", "failed"])
def test_nothing_to_compare(arms: tuple[str, ...], missing: tuple[int, ...], reason: str, how: str) -> None:
    found = verdict_of(study(arms=arms, outcomes=dict.fromkeys(missing, how)))
    assert (found.tone, found.heading) == ("unknown", "Nothing to compare.")
    assert found.sentences[0].startswith(reason)
    assert ("3 of 6 trials failed." in found.sentences) == bool(missing and how == "failed")
    assert (found.sentences[-1] == "So far 3 of 6 trials have ended.") == bool(missing and how == "")


def test_a_run_in_progress_says_how_far_it_is() -> None:
    assert verdict_of(study(outcomes={5: ""})).sentences[-1] == "So far 5 of 6 trials have ended."


def test_where_it_loses_is_named_beside_the_average() -> None:
    made = study(grid={"train.lr": [0.1, 1.0, 10.0]}, gains={"before": 0.3}, seeds=6)
    made.trials.loc[(made.trials["arm"] == "before") & (made.trials["train.lr"] == 10.0), "final_test_accuracy"] = 0.3
    found = verdict_of(made)
    assert found.heading == "Batch normalization wins on average, not everywhere."
    counts = "before wins at 2 (lr 0.1; lr 1), loses at 1 (lr 10)."
    assert f"Point by point, {counts} This is not adjusted for multiple comparisons." in found.sentences
    assert ", mean over 3 grid points: before" in found.sentences[0]
    assert any(sentence.startswith("With each arm at its own best settings the") for sentence in found.sentences)


def test_another_arm_that_loses_is_named() -> None:
    found = verdict_of(study(arms=("none", "before", "after"), gains={"before": 0.3, "after": -0.3}, seeds=6))
    assert found.heading == "Batch normalization wins here."
    assert found.sentences[1].startswith("after loses against none: −0.3")
    assert found.sentences[2] == "It is the best of 2 arms against none; its p is not adjusted for that."


def test_a_tuned_comparison_says_what_its_interval_leaves_out() -> None:
    made = study()
    found = verdict(replace(compared(made), tuned=True), made.settings)
    assert any("The interval leaves out the noise of that choice" in sentence for sentence in found.sentences)
    assert not any("tune" in sentence for sentence in verdict_of(made).sentences)


def test_arms_go_by_their_labels() -> None:
    made = study(arms=("none", "before", "after"), gains={"before": 0.3, "after": -0.3}, seeds=6)
    labelled = replace(compared(made), labels={"none": "without", "before": "with BN"})
    sentences = verdict(labelled, made.settings).sentences
    assert sentences[0].startswith("Final test accuracy: with BN 0.8")
    assert ", without 0.5" in sentences[0]
    assert sentences[1].startswith("after loses against without: −0.3")


def test_other_treatments_go_by_their_names() -> None:
    made = study(arms=("none", "wide"), seeds=6)
    plain = replace(made, settings=dict.fromkeys(made.arms, made.settings["none"]))
    assert verdict_of(plain).heading == "The arm wide wins here."
    assert verdict(compared(plain), {}).heading == "The arm wide wins here."


def test_a_difference_that_is_not_finite_is_not_given() -> None:
    made = study()
    made.trials.loc[3, "final_train_loss"] = float("inf")
    found = verdict_of(made, metric="final_train_loss")
    assert found.heading == "No difference to none can be given."
    assert "not finite in every trial" in found.sentences[0]
