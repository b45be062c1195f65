"""Rows and headline against numbers worked out by hand, by SciPy, and by a slow reference."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import process_time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import Comparison
from bnexp.analysis.fairness import imbalance
from bnexp.analysis.pairing import paired_difference
from bnexp.analysis.runs import compare_study, ordered, study_of
from bnexp.analysis.standing import FEWEST_SEEDS, Standing, headline, standing
from bnexp.analysis.study import Study
from bnexp.errors import InputError
from tests.analysis.conftest import a_study, study_of_frames
from tests.helpers import EXACT_FLOAT64, assert_close

ARMS = ["none", "before"]
NONE, BEFORE = [0.1, 0.2, 0.3], [0.9, 0.91, 0.95]


def three_seeds() -> list[dict]:
    return [
        {"arm": arm, "seed": seed, "accuracy": value}
        for arm, values in (("none", NONE), ("before", BEFORE))
        for seed, value in enumerate(values)
    ]


def test_one_seed_has_a_difference_without_an_interval() -> None:
    comparison = compare_arms(a_study(three_seeds()[::3]))
    before = comparison.rows[1]
    assert (before.n, before.mean, before.low, before.difference) == (1, 0.9, None, pytest.approx(0.8))
    assert (before.difference_low, before.p) == (None, None)
    assert headline(comparison) == "before 0.900 vs none 0.100 final test accuracy, +0.800, n = 1"


def test_the_baseline_is_none_or_the_first_arm_or_the_one_asked_for() -> None:
    rows = three_seeds()
    assert compare_arms(a_study(rows, ["before", "none"])).baseline == "none"
    assert compare_arms(a_study(rows[3:], ["before"])).baseline == "before"
    swapped = compare_arms(a_study(rows), baseline="before")
    assert [row.difference for row in swapped.rows] == [pytest.approx(0.2 - np.mean(BEFORE)), None]
    with pytest.raises(InputError, match=r"--baseline befor: no such arm \(nearest: before\); there are none, before"):
        compare_arms(a_study(rows), baseline="befor")


def test_nothing_finished_yet_is_no_error() -> None:
    study = a_study({"arm": arm, "seed": 0, "outcome": None} for arm in ARMS)
    comparison = compare_arms(replace(study, curves=study.curves[:0]))
    assert [(row.n, row.mean, row.difference) for row in comparison.rows] == [(0, None, None)] * 2
    assert headline(comparison) == "no result yet, 0 of 2 trials finished"


FAILS = {"outcome": "failed", "reason": "RuntimeError: out\nof memory", "val": np.nan, "loss": np.nan}
DIVERGES = {"outcome": "diverged", "accuracy": 0.1}


@pytest.mark.parametrize(
    ("none", "before", "said"),
    [
        (FAILS, FAILS, "all 6 trials failed (RuntimeError: out of memory)"),
        (DIVERGES, FAILS, "3 of 6 trials failed (RuntimeError: out of memory), 3 of 6 trials diverged"),
        (FAILS, {"accuracy": 0.5}, "no result: 3 of 6 trials failed (RuntimeError: out of memory)"),
        (
            {"accuracy": 0.5},
            FAILS,
            "none 0.500 final test accuracy, n = 3; 3 of 6 trials failed (RuntimeError: out of memory)",
        ),
        ({"accuracy": 0.5}, {"accuracy": 0.5}, "before 0.500 vs none 0.500 final test accuracy, +0.000 "),
    ],
)
def test_the_headline_says_how_trials_ended_where_there_is_no_result(none: dict, before: dict, said: str) -> None:
    rows = [{"arm": arm, "seed": seed, **how} for arm, how in (("none", none), ("before", before)) for seed in range(3)]
    assert headline(compare_arms(a_study(rows))).startswith(said)


def two_keys() -> Study:
    """Two seeds at two rates and depths; BN gains a tenth of the rate."""
    return a_study(
        {
            "arm": arm,
            "seed": seed,
            "train.lr": lr,
            "model.depth": depth,
            "accuracy": lr / 10 + depth / 100 + seed / 1000 + (arm == "before") * lr / 10,
        }
        for lr in (1, 2)
        for depth in (3, 4)
        for arm in ARMS
        for seed in range(2)
    )


def test_the_headline_is_over_all_grid_points_whichever_rows_are_shown() -> None:
    comparison, together = compare_arms(two_keys()), compare_arms(two_keys(), by=[])
    assert headline(comparison) == (
        "before 0.336 vs none 0.185 final test accuracy, +0.150 [+0.150, +0.150], n = 2, mean of 4 grid points: "
        "before is ahead (not settled)"
    )
    assert headline(together) == headline(ordered(comparison, "mean", 1)) == headline(comparison)


def test_an_arm_that_diverged_everywhere_is_the_headline_only_beside_such_arms() -> None:
    def said(before: str) -> str:
        ends = {"none": ("completed", 0.1), "before": (before, 0.2), "after": ("diverged", 0.3)}
        rows = [
            {"arm": arm, "seed": seed, "outcome": outcome, "accuracy": accuracy}
            for arm, (outcome, accuracy) in ends.items()
            for seed in range(2)
        ]
        return headline(compare_arms(a_study(rows, list(ends))))

    assert said("completed").startswith("before 0.200 vs none 0.100")
    assert "diverged" not in said("completed")
    assert said("diverged").startswith("after 0.300 vs none 0.100")
    assert said("diverged").endswith("; all trials of after diverged")


def test_an_arm_whose_loss_alone_is_finite_is_the_best() -> None:
    losses = {"none": np.nan, "after": np.nan, "before": 0.5}
    rows = [{"arm": arm, "seed": s, "accuracy": 0.5, "loss": loss} for arm, loss in losses.items() for s in range(6)]
    comparison = compare_arms(a_study(rows, list(losses)), metric="final_train_loss")
    assert headline(comparison).startswith("before 0.5 vs none not finite")
    assert [row.better for row in comparison.rows] == [0, None, 6]
    assert [row.arm for row in ordered(comparison, "difference", None).rows] == ["before", "none", "after"]


def random_run(points: int, seeds: int) -> Study:
    """A run of two arms in random order with every outcome, built without loops."""
    random = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([range(points), ARMS, range(seeds)], names=["train.lr", "arm", "seed"])
    trials = index.to_frame(index=False).sample(frac=1, random_state=0, ignore_index=True)
    accuracy = random.integers(0, 1000, len(trials)) / 1000
    outcome = random.choice(["completed", "diverged", "failed"], len(trials), p=[0.7, 0.2, 0.1])
    blank = dict.fromkeys(["final_val_accuracy", "best_val_accuracy", "test_accuracy_at_best_val"], np.nan)
    results = {"final_test_accuracy": accuracy, "final_train_accuracy": accuracy, "final_train_loss": 1 - accuracy}
    trials = trials.assign(trial=range(len(trials)), outcome=outcome, **results, **blank)
    curves = pd.DataFrame({"trial": trials["trial"].repeat(10), "epoch": np.tile(np.arange(10), len(trials))})
    curves = curves.assign(step=curves["epoch"], seconds=0.0, test_accuracy=random.random(len(curves)))
    return study_of_frames(trials, curves, ARMS)


def test_every_row_equals_a_slow_reference() -> None:
    study = random_run(points=20, seeds=4)
    comparison = compare_arms(study, threshold=0.95)
    finished = study.trials[study.trials["outcome"] != "failed"]
    places = list(dict.fromkeys(zip(study.trials["train.lr"], study.trials["arm"], strict=True)))
    assert [(row.point["train.lr"], row.arm) for row in comparison.rows] == places
    for row in comparison.rows:
        at_point = finished[finished["train.lr"] == row.point["train.lr"]]
        mine = at_point[at_point["arm"] == row.arm].set_index("seed")["final_test_accuracy"]
        baseline = at_point[at_point["arm"] == "none"].set_index("seed")["final_test_accuracy"]
        assert (row.n, row.mean) == (len(mine), pytest.approx(mine.mean()) if len(mine) else None)
        if row.arm == "before":
            differences = (mine - baseline).dropna()
            assert row.pairs == len(differences)
            assert row.difference == (pytest.approx(differences.mean()) if len(differences) else None)


def test_overall_pairs_each_seeds_mean_over_the_points_that_all_its_seeds_have() -> None:
    study = random_run(points=20, seeds=12)
    overall = compare_arms(study).overall[1]
    wide = study.trials[study.trials["outcome"] != "failed"].pivot(
        index=["seed", "train.lr"], columns="arm", values="final_test_accuracy"
    )
    pairs = wide.dropna().reset_index()
    there = pairs.pivot(index="train.lr", columns="seed", values="none").notna()
    order = there.sum(axis=1).sort_values(ascending=False, kind="stable").index
    count = max(count for count in range(1, 21) if there.loc[order[:count]].all().sum() >= 2)
    kept, seeds = order[:count], there.columns[there.loc[order[:count]].all()]
    by_seed = pairs[pairs["train.lr"].isin(kept) & pairs["seed"].isin(seeds)].groupby("seed")[ARMS].mean()
    low, high = stats.ttest_rel(by_seed["before"], by_seed["none"]).confidence_interval()
    assert (overall.arm, overall.seeds, overall.points) == ("before", len(seeds), count)
    assert overall.seeds + overall.seeds_left_out == 12
    assert (overall.mean, overall.baseline_mean) == pytest.approx((by_seed["before"].mean(), by_seed["none"].mean()))
    assert (overall.difference_low, overall.difference_high) == pytest.approx((max(low, -1), min(high, 1)))


def test_nothing_is_averaged_over_different_data_sets() -> None:
    study = a_study(
        {"arm": arm, "seed": seed, "data.name": data, "train.lr": lr, "val": 0.5, "accuracy": 0.5 + 0.1 * lr}
        for data in ("mnist", "digits")
        for lr in (1, 2)
        for arm in ARMS
        for seed in range(3)
    )
    comparison = compare_arms(study)
    assert (comparison.overall, comparison.best, comparison.robustness) == ((), (), ())
    assert comparison.data_sets == ("mnist", "digits")
    assert headline(comparison) == "2 data sets, no mean over them"
    assert list(imbalance(comparison)) == [
        "data sets: there are 2 (mnist and digits), so nothing is averaged over all grid points, and there is no best "
        "or usable range; choose one with --filter"
    ]
    points = [tuple(row.point.values()) for row in compare_arms(study, by=["lr"]).rows[::2]]
    assert points == [(1, "mnist"), (2, "mnist"), (1, "digits"), (2, "digits")]
    one = replace(study, trials=study.trials[study.trials["data.name"] == "mnist"])
    assert len(compare_arms(one).overall) == 2


@pytest.mark.slow
def test_ten_thousand_trials_take_no_time() -> None:
    study, start = random_run(points=1_000, seeds=5), process_time()
    assert len(compare_arms(study).rows) == 2_000
    assert process_time() - start < 5  # about 1 s


@pytest.mark.parametrize("by", [["train.lr"], ["lr"]])
def test_by_a_key_averages_over_the_others_and_changes_nothing_else(by: Sequence[str]) -> None:
    whole, comparison = compare_arms(two_keys()), compare_arms(two_keys(), by=by)
    assert comparison.grid_keys == ("train.lr",)
    assert [(row.point, row.arm, row.n, row.trials, row.pairs) for row in comparison.rows] == [
        ({"train.lr": lr}, arm, 2, 4, 2 * (arm == "before")) for lr in (1, 2) for arm in ARMS
    ]
    assert [row.mean for row in comparison.rows] == pytest.approx([0.1355, 0.2355, 0.2355, 0.4355])
    assert [row.difference for row in comparison.rows[1::2]] == pytest.approx([0.1, 0.2])
    assert replace(comparison, rows=whole.rows, grid_keys=whole.grid_keys) == whole
    overall, row = whole.overall[1], compare_arms(two_keys(), by=[]).rows[1]
    assert row.p == overall.p
    for name in ("mean", "difference", "difference_low", "difference_high", "effect"):
        assert getattr(row, name) == pytest.approx(getattr(overall, name))
    with pytest.raises(InputError, match=r"--by width: no such column; there are train.lr, model.depth"):
        compare_arms(two_keys(), by=["width"])


def test_a_study_without_the_keys_that_do_not_change(make_folder) -> None:
    study = study_of([make_folder(grid={"train.lr": [0.1, 0.5], "model.depth": [3], "train.clip.value": [None]})])
    assert compare_study(study).grid_keys == ("train.lr", "model.depth", "train.clip.value")
    changed = compare_study(study, only_changed=True)
    assert changed.grid_keys == ("train.lr",)
    assert [row.point for row in changed.rows] == [{"train.lr": lr} for lr in (0.1, 0.1, 0.5, 0.5)]
    assert compare_study(study, only_changed=True, by=["depth"]).grid_keys == ("model.depth",)


# Where the probe mode_gap was taken, both evaluations of the same weights stand side by side.

RUNNING, POPULATION = [0.70, 0.72, 0.71, 0.69, 0.73, 0.70], [0.90, 0.91, 0.89, 0.92, 0.90, 0.91]
PLAIN = [0.80, 0.81, 0.79, 0.80, 0.82, 0.80]


def probed(study: Study, accuracy: Callable[[str, int, str], float]) -> Study:
    """The study with mode_gap measured before training, where all is 0.1, and at the last step."""
    rows = [
        {"trial": row.trial, "epoch": 2, "step": step, "layer": "", "probe": f"mode_gap.{way}", "value": value}
        for row in study.trials.itertuples()
        for way in ("running", "population", "batch")
        for step, value in ((0, 0.1), (40, accuracy(row.arm, row.seed, way)))
    ]
    return replace(study, probes=pd.DataFrame(rows))


def measured(arm: str, seed: int, way: str) -> float:
    return PLAIN[seed] if arm == "none" else (RUNNING if way == "running" else POPULATION)[seed]


@pytest.fixture
def probed_comparison(make_folder) -> Comparison:
    return compare_study(probed(study_of([make_folder(seeds=6)]), measured))


def test_both_evaluations_have_their_own_difference_to_the_baseline(probed_comparison: Comparison) -> None:
    none, before = probed_comparison.evaluations
    assert (none.arm, none.n, none.pairs, none.difference) == ("none", 6, 0, None)
    for mean, values in ((none.running, PLAIN), (before.running, RUNNING), (before.population, POPULATION)):
        assert_close([mean], [sum(values) / 6], EXACT_FLOAT64)
    for found, values in (
        ((before.running_difference, before.running_low, before.running_high, before.running_p), RUNNING),
        ((before.difference, before.difference_low, before.difference_high, before.p), POPULATION),
    ):
        expected = paired_difference(values, PLAIN)
        assert_close(list(found), [expected.mean, expected.low, expected.high, expected.p], EXACT_FLOAT64)


def test_a_gap_between_them_is_warned_about_and_a_small_one_is_not(probed_comparison: Comparison, make_folder) -> None:
    scores = "the same weights score 0.708 with them, 0.905 with population statistics"
    line = f"running averages of before: {scores}; remedy: norm.statistics: population"
    assert probed_comparison.warnings == (line,)
    study = probed(study_of([make_folder(seeds=6)]), lambda arm, seed, way: 0.8 + 0.009 * (way == "population"))
    assert compare_study(study).warnings == ()


def test_where_grid_points_are_averaged_over_each_seed_counts_once(make_folder) -> None:
    study = probed(study_of([make_folder(seeds=6, grid={"train.lr": [0.1, 0.2]})]), measured)
    assert [row.n for row in compare_study(study).evaluations] == [6] * 4
    none, before = compare_study(study, by=[]).evaluations
    assert (none.n, before.n, before.pairs) == (6, 6, 6)
    assert_close([before.difference], [paired_difference(POPULATION, PLAIN).mean], EXACT_FLOAT64)


def test_failed_trials_are_left_out(make_folder) -> None:
    study = probed(study_of([make_folder(seeds=6, outcomes={0: "failed"})]), measured)
    none, before = compare_study(study).evaluations
    assert (none.n, before.n, before.pairs) == (5, 6, 5)


# Words follow the evidence: an arm wins where the interval and the exact test both say so, and not before.


def stands(treated: list[float], baseline: list[float], *, lower: bool = False) -> Standing:
    found = paired_difference(treated, baseline)
    row = SimpleNamespace(difference=found.mean, difference_low=found.low, difference_high=found.high, p=found.p)
    return standing(row, lower=lower)


UP = [0.91, 0.92, 0.90, 0.93, 0.92, 0.91]
DOWN = [0.81, 0.82, 0.80, 0.82, 0.82, 0.81]


def test_six_pairs_that_agree_settle_it_and_fewer_can_settle_nothing() -> None:
    for seeds, better, worse in ((6, Standing.wins, Standing.loses), (5, Standing.ahead, Standing.behind)):
        assert stands(UP[:seeds], DOWN[:seeds]) is better
        assert stands(DOWN[:seeds], UP[:seeds]) is worse
    assert FEWEST_SEEDS == 6
    assert (stands(UP[:2], DOWN[:2]), stands(UP[:1], DOWN[:1])) == (Standing.ahead, Standing.unknown)


@pytest.mark.parametrize(
    ("treated", "baseline", "word"),
    [
        # All six pairs agree, so p = 1/32, but one of them is so far off that the interval contains 0.
        ([0.01, 0.01, 0.01, 0.01, 0.01, 0.5], [0.0] * 6, Standing.ahead),
        ([0.1, -0.1, 0.2, -0.2, 0.1, -0.1], [0.0] * 6, Standing.even),
        ([0.5] * 6, [0.5] * 6, Standing.even),
        ([float("nan"), 0.5], [0.5, 0.5], Standing.unknown),
    ],
)
def test_what_is_not_clear_is_not_settled(treated: list[float], baseline: list[float], word: Standing) -> None:
    assert stands(treated, baseline) is word


def test_an_interval_alone_does_not_settle_it() -> None:
    row = SimpleNamespace(difference=0.1, difference_low=0.01, difference_high=0.19, p=0.06)
    assert standing(row, lower=False) is Standing.ahead


def test_a_word_knows_its_direction() -> None:
    assert [word.sign for word in Standing] == [1, 1, 0, -1, -1, 0]
    assert [word for word in Standing if word.settled] == [Standing.wins, Standing.loses]
