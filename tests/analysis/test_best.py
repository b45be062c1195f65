"""Each arm at its best: validation chooses, the test images measure, and nothing else is looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import BestRow
from bnexp.analysis.fairness import imbalance
from bnexp.analysis.stats import effect_size
from tests.analysis.conftest import a_study

ARMS = ["none", "before"]
KEY = "train.lr"
Scores = Mapping[tuple[str, object], Sequence[tuple[float, float]]]
"""By arm and grid value, each seed's validation and test accuracy."""


def trials(scores: Scores) -> list[dict]:
    return [
        {"arm": arm, "seed": seed, KEY: at, "val": val, "accuracy": test}
        for (arm, at), values in scores.items()
        for seed, (val, test) in enumerate(values)
    ]


def best(*rows: dict, **options) -> tuple[BestRow, ...]:
    return compare_arms(a_study(rows), **options).best


LURED: Scores = {
    ("none", 0.1): [(0.70, 0.60), (0.72, 0.62), (0.74, 0.64)],
    ("none", 1.0): [(0.60, 0.99), (0.62, 0.99), (0.61, 0.99)],  # what the test images would choose
    ("before", 0.1): [(0.50, 0.95), (0.52, 0.95), (0.51, 0.95)],
    ("before", 1.0): [(0.80, 0.70), (0.79, 0.75), (0.81, 0.68)],
}


def lured(**outcomes: Sequence[int]) -> list[dict]:
    """The trials of LURED, of which those of BN at 1.0 with some seeds ended otherwise."""
    rows = trials(LURED)
    for outcome, seeds in outcomes.items():
        for row in rows[9:]:
            row |= {"outcome": outcome} if row["seed"] in seeds else {}
    return rows


def test_validation_images_choose_and_test_images_measure() -> None:
    none, before = best(*trials(LURED))
    assert (none.point, before.point) == ({KEY: 0.1}, {KEY: 1.0})
    assert (none.validation, before.validation) == (pytest.approx(0.72), pytest.approx(0.80))
    assert (none.n, none.mean) == (3, pytest.approx(0.62))
    ours, theirs = [0.70, 0.75, 0.68], [0.60, 0.62, 0.64]
    test = stats.ttest_rel(ours, theirs).confidence_interval()
    assert (before.mean, before.difference) == (pytest.approx(0.71), pytest.approx(0.09))
    assert (before.low, before.high) == pytest.approx(tuple(stats.ttest_1samp(ours, 0).confidence_interval()))
    assert (before.difference_low, before.difference_high) == pytest.approx((test.low, test.high))
    assert (before.pairs, before.better, before.p) == (3, 3, 0.25)
    assert before.effect == pytest.approx(effect_size(np.subtract(ours, theirs)))
    assert (none.baseline, none.difference, none.p, none.pairs, none.better) == ("none", None, None, 0, 0)


def test_points_are_compared_over_the_seeds_that_finished_all_of_them() -> None:
    row = best(*lured(failed=[1]))[1]
    assert (row.point, row.candidates, row.excluded) == ({KEY: 1.0}, 2, ())
    assert (row.seeds, row.seeds_left_out, row.n, row.pairs) == (2, 1, 2, 2)
    assert row.validation == pytest.approx((0.80 + 0.81) / 2)
    row = best(*lured(diverged=[1]))[1]  # measured like any other
    assert (row.point, row.seeds, row.seeds_left_out) == ({KEY: 1.0}, 3, 0)
    # A lucky seed that only one point has doesn't help that point.
    row = best(*lured(), {"arm": "before", "seed": 7, KEY: 0.1, "val": 1.0, "accuracy": 0.1})[1]
    assert (row.point, row.seeds, row.seeds_left_out, row.n) == ({KEY: 1.0}, 3, 1, 3)


def test_points_without_enough_seeds_in_common_are_no_candidates_and_are_named() -> None:
    row = best(*lured(failed=[0, 1, 2]))[1]
    assert (row.point, row.candidates, row.excluded, row.seeds) == ({KEY: 0.1}, 1, ("train.lr 1.0",), 3)
    for row in best(*(row | {"seed": row["seed"] + 3 * (row[KEY] == 1.0)} for row in trials(LURED))):
        assert (row.point, row.excluded, row.seeds, row.seeds_left_out) == ({KEY: 0.1}, ("train.lr 1.0",), 3, 3)
    # On the only seed that both points share the other one would win.
    comparison = compare_arms(a_study(lured(failed=[1, 2])))
    row = comparison.best[1]
    assert (row.point, row.candidates, row.excluded, row.seeds) == ({KEY: 0.1}, 1, ("train.lr 1.0",), 3)
    assert list(imbalance(comparison)) == [
        "unbalanced: means of before are over 1 of 2 grid points; at the others too few seeds have pairs",
        "candidates: the best of before is not looked for at train.lr 1.0, where too few of the other "
        "points' seeds have finished",
    ]
    many = replace(comparison, best=(replace(row, excluded=("lr 1", "lr 2", "lr 3", "lr 4", "lr 5")),))
    assert "not looked for at lr 1; lr 2; lr 3; and 2 more, where" in list(imbalance(many))[-1]


def test_a_single_seed_chooses_where_there_is_no_other_and_that_is_said() -> None:
    comparison = compare_arms(a_study(row for row in trials(LURED) if row["seed"] == 0))
    chosen = [(row.point, row.candidates, row.seeds) for row in comparison.best]
    assert chosen == [({KEY: 0.1}, 2, 1), ({KEY: 1.0}, 2, 1)]
    assert list(imbalance(comparison)) == [
        "candidates: the best of none and before is chosen by a single seed, and so largely by chance"
    ]


def losing(**losses: Sequence[float]) -> tuple[BestRow, ...]:
    """The best by loss, of arms whose final validation losses at the rates 1, 2, … are given; accuracy says nothing."""
    rows = [
        {"arm": arm, "seed": seed, KEY: lr, "val": 1 - lr / 10, "accuracy": 0.5, "loss": 2 * loss}
        for arm, values in losses.items()
        for lr, loss in enumerate(values, start=1)
        for seed in range(3)
    ]
    study = a_study(rows)
    loss = study.curves["trial"].map(dict(enumerate(row["loss"] / 2 for row in rows)))  # type: ignore[operator]
    study = replace(study, curves=study.curves.assign(val_loss=loss.where(study.curves["step"] > 0, 9.0)))
    return compare_arms(study, metric="final_train_loss").best


def test_a_loss_is_chosen_by_the_validation_loss_and_measured_itself() -> None:
    none, before = losing(none=[0.5, 0.4, 0.3, 0.6], before=[0.5, 0.1, 0.3, 0.2])
    assert (none.point, none.validation, none.mean) == ({KEY: 3}, pytest.approx(0.3), pytest.approx(0.6))
    assert (before.point, before.validation, before.mean) == ({KEY: 2}, pytest.approx(0.1), pytest.approx(0.2))
    assert (before.difference, before.better) == (pytest.approx(-0.4), 3)
    # What isn't finite is never the best.
    none, before = losing(none=[np.nan, np.inf, 0.9], before=[np.nan, np.nan, np.nan])
    assert (none.point, none.mean) == ({KEY: 3}, pytest.approx(1.8))
    assert (before.point, before.validation, before.mean, before.better) == ({KEY: 1}, None, None, 0)


def test_what_validation_images_choose_they_do_not_measure() -> None:
    assert best(*trials(LURED), metric="final_val_accuracy") == ()
    assert best(*trials(LURED), metric="test_accuracy_at_best_val")[1].point == {KEY: 1.0}


def test_pairs_are_by_seed_across_different_points() -> None:
    rows = trials(LURED)[::-1]  # neither order nor place pairs
    gone = next(row for row in rows if (row["arm"], row[KEY], row["seed"]) == ("none", 0.1, 2))
    gone["outcome"] = "failed"
    _, before = best(*rows)
    assert (before.n, before.pairs, before.difference) == (3, 2, pytest.approx((0.75 - 0.62 + 0.70 - 0.60) / 2))


def test_of_equal_points_the_first_is_taken() -> None:
    scores = {(arm, lr): [(0.5, 0.1 * lr)] for arm in ARMS for lr in (3, 1, 2)}
    assert [row.point for row in best(*trials(scores))] == [{KEY: 3}, {KEY: 3}]


@pytest.mark.parametrize(
    ("values", "chosen", "edges"),
    [
        ([0.1, 1.0, 10.0], 0.1, (KEY,)),
        ([0.1, 1.0, 10.0], 1.0, ()),
        ([10.0, 0.1, 1.0], 10.0, (KEY,)),  # the order in the file doesn't matter
        ([10, 1, 100, 5], 1, (KEY,)),
        ([10, 1, 100, 0], 0, ()),  # no rate is smaller
        ([0.1, 10.0], 10.0, ()),  # two values have no middle
        (["he", "xavier", "normal"], "he", ()),
        ([True, False], True, ()),
        ([None, 1.0, 5.0], 5.0, ()),  # null may lie beyond
    ],
)
def test_the_end_of_an_axis_is_an_edge(values, chosen, edges) -> None:
    scores = {(arm, value): [(0.9 if value == chosen else 0.5, 0.5)] for arm in ARMS for value in values}
    for row in best(*trials(scores)):
        assert (row.point, row.edges) == ({KEY: chosen}, edges)


def test_what_an_arm_was_given_to_choose_from_is_counted() -> None:
    rows = lured(failed=[0])
    none, before = best(*({**row, "curve": [0.1] * (4 + row["seed"])} for row in rows))
    assert (none.candidates, none.epochs) == (2, 2 * (3 + 4 + 5))
    assert (before.candidates, before.epochs) == (2, 2 * (3 + 4 + 5) - 3)


def test_without_finished_trials_validation_images_or_a_choice_there_is_nothing() -> None:
    rows = trials(LURED)
    (before,) = best(*(row | ({"outcome": "failed"} if row["arm"] == "none" else {}) for row in rows))
    assert (before.arm, before.n, before.pairs, before.difference, before.better) == ("before", 3, 0, None, 0)
    for blank in ({"val": np.nan}, {"accuracy": np.nan}, {"outcome": None}, {KEY: 1.0}):
        assert best(*(row | blank for row in rows[:1] + rows[6:7])) == ()
