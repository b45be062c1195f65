"""Each arm at its best: validation chooses, the test images measure, and nothing else is looked at."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy import stats

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import BestRow
from bnexp.analysis.fairness import imbalance
from bnexp.analysis.stats import effect_size
from bnexp.analysis.sweeps import FEWEST_VALUES

ARMS = ["none", "before"]
KEY = "train.lr"
Scores = Mapping[tuple[str, object], Sequence[tuple[float, float]]]
"""By arm and grid value, each seed's validation and test accuracy."""


def trials(scores: Scores, key: str = KEY) -> list[dict]:
    return [
        {"arm": arm, "seed": seed, key: at, "val": val, "accuracy": test}
        for (arm, at), values in scores.items()
        for seed, (val, test) in enumerate(values)
    ]


def best(make_run, *rows: dict, **options) -> tuple[BestRow, ...]:
    keys = [key for key in rows[0] if "." in key]
    return compare_arms(*make_run(*rows), grid_keys=keys, arms=ARMS, **options).best


LURED: Scores = {
    ("none", 0.1): [(0.70, 0.60), (0.72, 0.62), (0.74, 0.64)],
    ("none", 1.0): [(0.60, 0.99), (0.62, 0.99), (0.61, 0.99)],  # what the test images would choose
    ("before", 0.1): [(0.50, 0.95), (0.52, 0.95), (0.51, 0.95)],
    ("before", 1.0): [(0.80, 0.70), (0.79, 0.75), (0.81, 0.68)],
}


def test_validation_images_choose_and_test_images_measure(make_run) -> None:
    none, before = best(make_run, *trials(LURED))
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


def test_points_are_compared_over_the_seeds_that_finished_all_of_them(make_run) -> None:
    rows = trials(LURED)
    good = [row for row in rows if row["arm"] == "before" and row[KEY] == 1.0]
    for outcome in ("failed", None):
        good[1]["outcome"] = outcome
        row = best(make_run, *rows)[1]
        assert (row.point, row.candidates, row.excluded) == ({KEY: 1.0}, 2, ())
        assert (row.seeds, row.seeds_left_out, row.n, row.pairs) == (2, 1, 2, 2)
        assert row.validation == pytest.approx((0.80 + 0.81) / 2)
    good[1]["outcome"] = "diverged"  # measured like any other
    row = best(make_run, *rows)[1]
    assert (row.point, row.seeds, row.seeds_left_out) == ({KEY: 1.0}, 3, 0)


def test_more_seeds_at_one_point_do_not_make_it_the_best(make_run) -> None:
    more = [{"arm": arm, "seed": seed, KEY: 0.1, "val": 0.1, "accuracy": 0.1} for arm in ARMS for seed in (7, 8)]
    found = best(make_run, *trials(LURED), *more)
    assert [row.point for row in found] == [row.point for row in best(make_run, *trials(LURED))]
    assert [(row.seeds, row.seeds_left_out, row.n) for row in found] == [(3, 2, 5), (3, 2, 3)]
    # A lucky seed that only one point has doesn't help that point either.
    more = [{"arm": "before", "seed": 7, KEY: 0.1, "val": 1.0, "accuracy": 0.1}]
    assert best(make_run, *trials(LURED), *more)[1].point == {KEY: 1.0}


def test_a_point_without_a_finished_trial_is_no_candidate_and_is_named(make_run) -> None:
    rows = trials(LURED)
    for row in rows:
        if row["arm"] == "before" and row[KEY] == 1.0:
            row["outcome"] = "failed"
    row = best(make_run, *rows)[1]
    assert (row.point, row.candidates, row.excluded, row.seeds) == ({KEY: 0.1}, 1, ("train.lr 1.0",), 3)  # type: ignore[attr-defined]


def test_points_without_a_seed_in_common_are_not_compared(make_run) -> None:
    rows = [row | {"seed": row["seed"] + 3 * (row[KEY] == 1.0)} for row in trials(LURED)]
    for row in best(make_run, *rows):
        assert (row.point, row.excluded, row.seeds, row.seeds_left_out) == ({KEY: 0.1}, ("train.lr 1.0",), 3, 3)


def losing(make_run, **losses: Sequence[float]) -> tuple[BestRow, ...]:
    """The best by loss, of arms whose final validation losses at the rates 1, 2, … are given; accuracy says nothing."""
    rows = [
        {"arm": arm, "seed": seed, KEY: lr, "val": 1 - lr / 10, "accuracy": 0.5, "loss": 2 * loss}
        for arm, values in losses.items()
        for lr, loss in enumerate(values, start=1)
        for seed in range(3)
    ]
    frame, curves = make_run(*rows)
    loss = {i: row["loss"] / 2 for i, row in enumerate(rows)}  # type: ignore[operator]
    curves = curves.assign(val_loss=curves["trial"].map(loss).where(curves["step"] > 0, 9.0))
    return compare_arms(frame, curves, grid_keys=[KEY], arms=ARMS, metric="final_train_loss").best


def test_a_loss_is_chosen_by_the_validation_loss_and_measured_itself(make_run) -> None:
    none, before = losing(make_run, none=[0.5, 0.4, 0.3, 0.6], before=[0.5, 0.1, 0.3, 0.2])
    assert (none.point, none.validation, none.mean) == ({KEY: 3}, pytest.approx(0.3), pytest.approx(0.6))
    assert (before.point, before.validation, before.mean) == ({KEY: 2}, pytest.approx(0.1), pytest.approx(0.2))
    assert (before.difference, before.better) == (pytest.approx(-0.4), 3)


def test_a_loss_that_is_not_finite_is_never_the_best(make_run) -> None:
    none, before = losing(make_run, none=[np.nan, np.inf, 0.9], before=[np.nan, np.nan, np.nan])
    assert (none.point, none.mean) == ({KEY: 3}, pytest.approx(1.8))
    assert (before.point, before.validation, before.mean, before.better) == ({KEY: 1}, None, None, 0)


def test_what_validation_images_choose_they_do_not_measure(make_run) -> None:
    assert best(make_run, *trials(LURED), metric="final_val_accuracy") == ()
    assert best(make_run, *trials(LURED), metric="test_accuracy_at_best_val")[1].point == {KEY: 1.0}


def test_pairs_are_by_seed_across_different_points(make_run) -> None:
    rows = trials(LURED)[::-1]  # neither order nor place pairs
    gone = next(row for row in rows if (row["arm"], row[KEY], row["seed"]) == ("none", 0.1, 2))
    gone["outcome"] = "failed"
    _, before = best(make_run, *rows)
    assert (before.n, before.pairs, before.difference) == (3, 2, pytest.approx((0.75 - 0.62 + 0.70 - 0.60) / 2))


def test_a_point_of_one_seed_is_no_candidate_where_others_have_two(make_run) -> None:
    # On the only seed that both points share the other one would win.
    rows = trials(LURED)
    for row in rows:
        if (row["arm"], row[KEY]) == ("before", 1.0) and row["seed"] > 0:
            row["outcome"] = "failed"
    comparison = compare_arms(*make_run(*rows), grid_keys=[KEY], arms=ARMS)
    row = comparison.best[1]
    assert (row.point, row.candidates, row.excluded, row.seeds) == ({KEY: 0.1}, 1, ("train.lr 1.0",), 3)  # type: ignore[attr-defined]
    assert list(imbalance(comparison)) == [
        "unbalanced: means of before are over 1 of 2 grid points; at the others too few seeds have pairs",
        "candidates: the best of before is not sought at train.lr 1.0, where too few seeds have finished "
        "that the other points have too",
    ]


def test_a_single_seed_chooses_where_there_is_no_other_and_that_is_said(make_run) -> None:
    rows = [row for row in trials(LURED) if row["seed"] == 0]
    comparison = compare_arms(*make_run(*rows), grid_keys=[KEY], arms=ARMS)
    assert [(row.point, row.candidates, row.seeds) for row in comparison.best] == [
        ({KEY: 0.1}, 2, 1),
        ({KEY: 1.0}, 2, 1),
    ]
    assert list(imbalance(comparison)) == [
        "candidates: the best of none and before is chosen by a single seed, and so largely by chance"
    ]


def test_of_equal_points_the_first_is_taken(make_run) -> None:
    scores = {(arm, lr): [(0.5, 0.1 * lr)] for arm in ARMS for lr in (3, 1, 2)}
    assert [row.point for row in best(make_run, *trials(scores))] == [{KEY: 3}, {KEY: 3}]


def grid(values: Sequence[object], chosen: object) -> Scores:
    return {(arm, value): [(0.9 if value == chosen else 0.5, 0.5)] for arm in ARMS for value in values}


@pytest.mark.parametrize(
    ("values", "chosen", "edges"),
    [
        ([0.1, 1.0, 10.0], 0.1, (KEY,)),
        ([0.1, 1.0, 10.0], 10.0, (KEY,)),
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
def test_the_end_of_an_axis_is_an_edge(make_run, values, chosen, edges) -> None:
    for row in best(make_run, *trials(grid(values, chosen))):
        assert (row.point, row.edges) == ({KEY: chosen}, edges)


def test_every_axis_has_its_own_edges(make_run) -> None:
    rows = [
        {"arm": arm, "seed": 0, KEY: lr, "model.depth": depth, "val": lr - abs(depth - 2), "accuracy": 0.5}
        for arm in ARMS
        for lr in (0.1, 0.2, 0.3)
        for depth in (1, 2, 3)
    ]
    (row, _) = best(make_run, *rows)
    assert (row.point, row.edges) == ({KEY: 0.3, "model.depth": 2}, (KEY,))
    assert FEWEST_VALUES == 3


def test_what_an_arm_was_given_to_choose_from_is_counted(make_run) -> None:
    rows = trials(grid([0.1, 1.0, 10.0], 1.0))
    rows = [{**row, "curve": [0.1] * (4 + row["seed"])} for row in rows if (row["arm"], row[KEY]) != ("before", 10.0)]
    rows[0]["outcome"] = "failed"
    none, before = best(make_run, *rows)
    assert (none.candidates, none.epochs) == (2, 6)
    assert (before.candidates, before.epochs) == (2, 6)


def test_an_arm_without_a_finished_trial_has_no_row(make_run) -> None:
    rows = [row | ({"outcome": "failed"} if row["arm"] == "none" else {}) for row in trials(LURED)]
    (before,) = best(make_run, *rows)
    assert (before.arm, before.n, before.pairs, before.difference, before.better) == ("before", 3, 0, None, 0)


def test_without_validation_images_or_a_choice_there_is_nothing(make_run) -> None:
    rows = trials(LURED)
    assert best(make_run, *({**row, "val": np.nan} for row in rows)) == ()
    assert best(make_run, *({**row, "accuracy": np.nan} for row in rows)) == ()
    assert best(make_run, *(row for row in rows if row[KEY] == 1.0)) == ()
    frames = make_run(*({**row, "outcome": None} for row in rows))
    assert compare_arms(*frames, grid_keys=[KEY], arms=ARMS).best == ()
    frames = make_run(*({name: value for name, value in row.items() if name != KEY} for row in rows[::6]))
    assert compare_arms(*frames, grid_keys=[], arms=ARMS).best == ()


def test_best_rows_are_in_the_order_of_the_arms(make_run) -> None:
    frames = make_run(*trials(LURED))
    found = compare_arms(*frames, grid_keys=[KEY], arms=ARMS[::-1], baseline="before").best
    assert [(row.arm, row.baseline) for row in found] == [("before", "before"), ("none", "before")]
    assert found[1].difference == pytest.approx(-0.09)
