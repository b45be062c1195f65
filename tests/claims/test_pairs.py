"""From trials to values and pairs: direction, grid points, axes, bounds and ties, by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bnexp.analysis.study import Study
from bnexp.claims.pairs import Pairs, pairs_of, pairs_of_rounds, trial_values
from bnexp.claims.verdicts import VerdictLabel, judge
from tests.claims.made_up import a_study, by_seed, measure

RATE, SCALE, DEPTH = "train.lr", "model.init.scale", "model.depth"


def change(pairs: Pairs) -> list[float]:
    return pytest.approx(pairs.change.tolist())  # type: ignore[return-value]


def test_a_pair_is_a_seed_and_its_change_is_arm_minus_baseline() -> None:
    study = a_study(*by_seed("none", [0.5, 0.6, 0.7]), *by_seed("before", [0.6, 0.5, 0.9]))
    pairs = pairs_of(study, measure())
    assert pairs.seeds == (0, 1, 2)
    assert (pairs.baseline.tolist(), pairs.treated.tolist()) == ([0.5, 0.6, 0.7], [0.6, 0.5, 0.9])
    assert change(pairs) == [0.1, -0.1, 0.2]
    assert change(pairs_of(study, measure(better="lower"))) == [-0.1, 0.1, -0.2]
    assert change(pairs_of(study, measure(arm="none", baseline="before"))) == [-0.1, 0.1, -0.2]
    assert not pairs.bound.any()


def test_seeds_without_a_partner_or_a_result_are_in_no_pair() -> None:
    study = a_study(
        *by_seed("none", [0.5, 0.6, 0.7]),
        {"arm": "before", "seed": 1, "accuracy": 0.9},
        {"arm": "before", "seed": 2, "accuracy": 0.9, "outcome": "failed"},
        {"arm": "after", "seed": 0, "accuracy": 1.0},
    )
    assert (pairs_of(study, measure()).seeds, change(pairs_of(study, measure()))) == ((1,), [0.3])


def test_grid_points_are_paired_and_then_averaged_seed_by_seed() -> None:
    rows = [
        {"arm": arm, "seed": seed, RATE: rate, "accuracy": base + gain * (arm == "before")}
        for seed, base in ((0, 0.2), (1, 0.4))
        for rate, gain in ((0.1, 0.1), (1.0, 0.3))
        for arm in ("none", "before")
    ]
    assert change(pairs_of(a_study(*rows), measure())) == [0.2, 0.2]
    assert change(pairs_of(a_study(*rows), measure(at={RATE: 1.0}))) == [0.3, 0.3]
    moved = pairs_of(a_study(*rows), measure(change={RATE: [0.1, 1.0]}))
    assert change(moved) == [0.2, 0.2]
    assert (moved.baseline.tolist(), moved.treated.tolist()) == (pytest.approx([0, 0]), pytest.approx([0.2, 0.2]))
    assert change(pairs_of(a_study(*rows), measure(change={RATE: [1.0, 0.1]}))) == [-0.2, -0.2]


def probed(arm: str, seed: int, rate: float, value: float | None) -> dict[str, Any]:
    found = {} if value is None else {"probes": [("", "rank", 0, value)]}
    return {"arm": arm, "seed": seed, RATE: rate} | found


def ranks(values: Mapping[float, Sequence[float | None]]) -> Study:
    """What a probe found without BN, by rate and seed; with BN it is ten times that at rate 0.1, else twice."""
    return a_study(
        *(
            probed(arm, seed, rate, found and found * (1 if arm == "none" else 10 if rate == 0.1 else 2))
            for arm in ("none", "before")
            for rate, by_seed in values.items()
            for seed, found in enumerate(by_seed)
        )
    )


def test_what_no_trial_has_is_said() -> None:
    study = ranks({0.1: [1, 1], 1.0: [1, 1]})
    wrong = measure(value="probe", probe="rank.of", layer="hidden.0")
    assert pairs_of(study, wrong).void == "nothing was measured: no trial has rank.of hidden.0"
    assert judge(pairs_of(study, wrong), 0.1).label is VerdictLabel.inconclusive


LOGS = {"value": "probe", "probe": "rank", "log": True}


def test_a_grid_point_that_was_not_measured_with_every_seed_is_left_out_for_all() -> None:
    pairs = pairs_of(ranks({0.1: [1, 1, None], 1.0: [1, 1, 1], 3.0: [1, 1, 1]}), measure(**LOGS))
    assert change(pairs) == [np.log(2)] * 3
    assert pairs.notes == ("1 of 3 grid points left out: not measured in every trial",)


def test_where_that_would_leave_no_grid_point_seeds_are_left_out() -> None:
    pairs = pairs_of(ranks({0.1: [1, 1, None], 1.0: [1, 1, 1], 3.0: [1, None, 1]}), measure(**LOGS))
    assert (pairs.seeds, change(pairs)) == ((0, 1, 2), [np.log(2)] * 3)
    pairs = pairs_of(ranks({0.1: [1, 1, None], 1.0: [1, None, 1]}), measure(**LOGS))
    assert (pairs.seeds, change(pairs)) == ((0,), [pytest.approx(np.log(20) / 2)])
    assert pairs.notes == ("2 of 3 seeds left out: not measured in every trial",)


def test_the_ends_of_a_change_are_not_left_out() -> None:
    study = ranks({0.1: [1, 1, None], 1.0: [1, 1, 1], 3.0: [1, 1, 1]})
    pairs = pairs_of(study, measure(**LOGS, change={RATE: [1.0, 0.1]}))
    assert (pairs.seeds, change(pairs)) == ((0, 1), [pytest.approx(np.log(5))] * 2)


def test_a_trial_that_failed_leaves_a_gap_in_the_usable_range_and_one_that_diverged_does_not() -> None:
    rows = [
        {"arm": arm, "seed": seed, RATE: rate, "accuracy": 0.9, "probes": []}
        for arm in ("none", "before")
        for seed in (0, 1)
        for rate in (0.1, 1.0)
    ]
    largest = measure(over={"key": RATE, "by": "largest"})
    rows[3]["outcome"] = "diverged"
    assert pairs_of(a_study(*rows), largest).seeds == (0, 1)
    rows[3]["outcome"] = "failed"
    assert pairs_of(a_study(*rows), largest).seeds == (0,)


@pytest.mark.parametrize(
    ("usable", "baseline", "treated"),
    [({}, 10.0, 10.0), ({"least": 0.75}, 1.0, 0.1), ({"short_by": 0.11}, 1.0, 1.0), ({"least": 0.95}, 0.01, 0.01)],
)
def test_the_largest_setting_may_have_to_be_good(usable: dict[str, float], baseline: float, treated: float) -> None:
    study = a_study(*along("none", [0.5, 0.9, 0.8, 0.2]), *along("before", [0.3, 0.8, 0.7, 0.5]))
    pairs = pairs_of(study, measure(over={"key": SCALE, "by": "largest", **usable}))
    assert (pairs.baseline.tolist(), pairs.treated.tolist()) == ([baseline], [treated])


def along(arm: str, values: list[float], seed: int = 0, key: str = SCALE) -> list[dict[str, object]]:
    scales = [0.01, 0.1, 1.0, 10.0]
    return [{"arm": arm, "seed": seed, key: at, "accuracy": value} for at, value in zip(scales, values, strict=True)]


@pytest.mark.parametrize(
    ("by", "baseline", "treated"),
    [("worst", 0.1, 0.3), ("best", 0.9, 0.7), ("spread", 0.8, 0.4), ("largest", 1.0, 10.0)],
)
def test_an_axis_becomes_one_number_of_each_arm(by: str, baseline: float, treated: float) -> None:
    study = a_study(*along("none", [0.5, 0.9, 0.8, 0.1]), *along("before", [0.3, 0.7, 0.6, 0.5]))
    pairs = pairs_of(study, measure(over={"key": SCALE, "by": by}))
    assert (pairs.baseline.tolist(), pairs.treated.tolist()) == (pytest.approx([baseline]), pytest.approx([treated]))
    expected = np.log(treated / baseline) if by == "largest" else treated - baseline
    assert [expected] == change(pairs)
    assert pairs.bound.tolist() == [by == "largest"]  # the largest setting that was tried


def test_the_best_time_along_an_axis_is_a_bound_only_where_none_got_there() -> None:
    losses = {0.1: [2, 0.5, 0.2, 0.1], 1.0: [2, 3, 3, 3]}
    study = a_study(
        *(
            {"arm": arm, "seed": 0, RATE: rate, "losses": found, "curve": found}
            for arm in ("none", "before")
            for rate, found in losses.items()
        )
    )
    fastest = {"value": "steps_to_loss", "better": "lower", "over": {"key": RATE, "by": "best"}}
    pairs = pairs_of(study, measure(loss=0.2, **fastest))
    assert (pairs.baseline.tolist(), pairs.bound.tolist()) == ([20], [False])
    assert pairs_of(study, measure(loss=0.01, **fastest)).bound.tolist() == [True]


def test_a_slope_is_against_the_logarithm_of_the_setting() -> None:
    none = [0.2, 0.3, 0.4, 0.5]  # a tenth for every factor of ten
    study = a_study(*along("none", none), *along("before", [10**-i for i in range(4)]))
    linear = pairs_of(study, measure(over={"key": SCALE, "by": "slope"}))
    assert linear.baseline.tolist() == pytest.approx([0.1 / np.log(10)])
    logarithmic = pairs_of(study, measure(over={"key": SCALE, "by": "slope"}, log=True))
    assert logarithmic.treated.tolist() == pytest.approx([-1.0])
    assert [logarithmic.treated[0] - logarithmic.baseline[0]] == change(logarithmic)  # no logarithm of a slope


def test_other_axes_are_averaged_after_one_was_reduced() -> None:
    rows = [
        row | {DEPTH: depth}
        for depth, values in ((3, [0.5, 0.9, 0.8, 0.2]), (9, [0.4, 0.6, 0.7, 0.6]))
        for row in (*along("none", values), *along("before", [value + depth / 100 for value in values]))
    ]
    pairs = pairs_of(a_study(*rows), measure(over={"key": SCALE, "by": "worst"}))
    assert change(pairs) == [0.06]
    assert pairs.baseline.tolist() == pytest.approx([0.3])
    assert change(pairs_of(a_study(*rows), measure(over={"key": SCALE, "by": "worst"}, change={DEPTH: [3, 9]}))) == [
        0.06
    ]


# Tuning that was repeated


def test_the_seeds_of_a_tuning_study_are_one_pair() -> None:
    """The seed s belongs to study s modulo 3."""
    study = a_study(*by_seed("none", [0.5] * 6), *by_seed("before", [0.6, 0.7, 0.8, 0.8, 0.7, 0.6]))
    pairs = pairs_of(replace(study, tunings=3), measure())
    assert (pairs.seeds, pairs.one, change(pairs)) == ((0, 1, 2), "tuning", [0.2, 0.2, 0.2])
    assert pairs.notes == ()  # no seed is left out
    assert pairs_of(study, measure()).one == "seed"


# Divergence


def test_pairs_with_a_diverged_trial_are_left_out_and_counted() -> None:
    none, before = by_seed("none", [0.5, 0.1, 0.6, 0.5]), by_seed("before", [0.7, 0.7, 0.1, 0.9])
    none[1]["outcome"] = before[2]["outcome"] = none[3]["outcome"] = "diverged"
    pairs = pairs_of(a_study(*none, *before), measure())
    assert (pairs.seeds, change(pairs)) == ((0,), [0.2])
    assert pairs.notes == ("3 of 4 pairs left out, as trials diverged: 2 of none and 1 of before",)
    counted = pairs_of(a_study(*none, *before), measure(diverged="counted"))
    assert (change(counted), counted.notes) == ([0.2, 0.6, -0.5, 0.4], ())
    rate = pairs_of(a_study(*none, *before), measure(value="diverged", better="lower"))
    assert (change(rate), rate.notes) == ([0, 1, -1, 1], ())


def test_a_grid_point_where_a_trial_diverged_is_left_out_for_all_seeds() -> None:
    rows = [
        {"arm": arm, "seed": seed, RATE: rate, "accuracy": rate / 10 + (arm == "before") / 100}
        for arm in ("none", "before")
        for seed in (0, 1)
        for rate in (1.0, 2.0)
    ]
    rows[1]["outcome"] = "diverged"
    pairs = pairs_of(a_study(*rows), measure())
    assert (pairs.seeds, pairs.baseline.tolist()) == ((0, 1), [0.1, 0.1])
    assert pairs.notes == (
        "1 of 4 pairs left out, as trials diverged: 1 of none",
        "1 of 2 grid points left out: not measured in every trial",
    )


@pytest.mark.parametrize(
    ("by", "without", "counted"), [("best", 0.8, 0.9), ("worst", None, 0.2), ("spread", None, 0.7)]
)
def test_a_diverged_trial_has_no_part_in_the_best_of_an_axis_and_leaves_no_worst(
    by: str, without: float | None, counted: float
) -> None:
    none = along("none", [0.2, 0.8, 0.9, 0.3])
    none[2]["outcome"] = "diverged"
    study = a_study(*none, *along("before", [0.5, 0.6, 0.7, 0.5]))
    along_it = {"over": {"key": SCALE, "by": by}}
    assert pairs_of(study, measure(**along_it)).baseline.tolist() == ([] if without is None else [without])
    assert pairs_of(study, measure(**along_it, diverged="counted")).baseline.tolist() == pytest.approx([counted])


# Times


def arrived(arm: str, seed: int, step: int | None, last: int = 10, **others: object) -> dict[str, object]:
    """A trial that reaches 0.9 at a step, counted in tens."""
    curve = [0.95 if step is not None and i >= step else 0.5 for i in range(last + 1)]
    return {"arm": arm, "seed": seed, "curve": curve} | others


def test_a_time_is_a_ratio_and_above_0_where_the_arm_was_faster() -> None:
    study = a_study(arrived("none", 0, 8), arrived("before", 0, 2), arrived("none", 1, 4), arrived("before", 1, 8))
    pairs = pairs_of(study, measure(value="steps_to", better="lower"))
    assert (pairs.baseline.tolist(), pairs.treated.tolist()) == ([80, 40], [20, 80])
    assert [np.log(4), -np.log(2)] == change(pairs)
    assert not pairs.bound.any()


def test_what_never_got_there_counts_with_its_budget_as_a_bound() -> None:
    study = a_study(
        arrived("none", 0, None), arrived("before", 0, 5), arrived("none", 1, None), arrived("before", 1, None)
    )
    pairs = pairs_of(study, measure(value="steps_to", better="lower"))
    assert (pairs.baseline.tolist(), pairs.bound.tolist(), pairs.void) == ([100, 100], [True, True], "")
    assert [np.log(2), 0] == change(pairs)  # both cut off: no difference
    study = a_study(*(arrived(arm, seed, None) for arm in ("none", "before") for seed in range(3)))
    assert pairs_of(study, measure(value="steps_to", better="lower")).void == "neither arm got there in any pair"


def test_a_trial_that_was_stopped_early_has_the_budget_of_the_others() -> None:
    study = a_study(arrived("none", 0, None, last=2, outcome="diverged"), arrived("before", 0, 5))
    pairs = pairs_of(study, measure(value="steps_to", better="lower"))
    assert (pairs.baseline.tolist(), pairs.bound.tolist()) == ([100], [True])


def test_seconds_are_measured_and_two_that_never_got_there_are_equal_however_long_they_took() -> None:
    study = a_study(
        arrived("none", 0, 8, pace=1.0),
        arrived("before", 0, 2, pace=3.0),
        arrived("none", 1, None, pace=1.0),
        arrived("before", 1, None, pace=3.0),
    )
    pairs = pairs_of(study, measure(value="seconds_to", better="lower"))
    assert (pairs.baseline.tolist(), pairs.treated.tolist()) == ([8, 10], [6, 30])
    assert [np.log(8 / 6), 0] == change(pairs)


@pytest.mark.parametrize("outcome", ["diverged", "completed"])
def test_where_no_trial_learned_anything_nothing_is_concluded(outcome: str) -> None:
    rows = [*by_seed("none", [0.1, 0.11, 0.1], outcome=outcome), *by_seed("before", [0.1, 0.1, 0.11], outcome=outcome)]
    pairs = pairs_of(a_study(*rows), measure())
    assert pairs.void == "no trial of either arm learned anything"
    assert judge(pairs, 0.2).label is VerdictLabel.inconclusive
    counted = pairs_of(a_study(*rows), measure(value="diverged", better="lower"))
    assert counted.void == ""  # a rate of diverging is one, whatever was learned
    one = [*by_seed("none", [0.1, 0.11, 0.1], outcome=outcome), *by_seed("before", [0.1, 0.1, 0.5])]
    assert pairs_of(a_study(*one), measure()).void == ""


@pytest.mark.parametrize("value", ["seconds_per_step", "seconds_to"])
def test_time_is_measured_once_for_all_seeds(value: str) -> None:
    study = a_study(*by_seed("none", [1.0] * 3, "pace"), *by_seed("before", [2.0] * 3, "pace"))
    pairs = pairs_of(study, measure(value=value, threshold=0.4))
    assert pairs.void == "seeds train together: that is one measurement of the time, not one for each"
    assert judge(pairs, 0.2).label is VerdictLabel.inconclusive


def test_null_is_a_value_of_a_swept_setting() -> None:
    steps = "train.steps"
    rows = [
        {"arm": arm, "seed": 0, steps: at, "accuracy": value}
        for arm, at, value in (("none", None, 0.5), ("none", 9, 0.1), ("before", None, 0.7), ("before", 9, 0.2))
    ]
    assert change(pairs_of(a_study(*rows), measure(at={steps: None}))) == [0.2]


# Ties and rounding


def test_what_differs_by_rounding_is_a_tie() -> None:
    study = a_study(*by_seed("none", [0.1 + 0.2] * 3), *by_seed("before", [0.3] * 3))
    pairs = pairs_of(study, measure())
    assert pairs.change.tolist() == [0, 0, 0]
    assert judge(pairs, 0.01).label is VerdictLabel.equivalent


def test_rounds_measured_side_by_side_are_pairs() -> None:
    pairs = pairs_of_rounds([1.0, 2.0], [2.0, 8.0], measure(value="measured", log=True))
    assert [np.log(2), np.log(4)] == change(pairs)
    assert pairs.seeds == (0, 1)
    assert change(pairs_of_rounds([1.0, 2.0], [2.0, 8.0], measure(value="measured", better="lower"))) == [-1, -6]


# The value of a trial

PROBES = [
    ("hidden.0", "saturation", 0, 0.2),
    ("hidden.1", "saturation", 0, 0.4),
    ("hidden.0", "saturation", 50, -0.6),
    ("hidden.1", "saturation", 50, 0.8),
    ("hidden.0", "rank", 0, 99.0),
]


FALLING = [2.0, 0.2, 0.05, np.nan]
FELL: dict[str, object] = {"losses": FALLING, "curve": FALLING}


def values(row: dict[str, object], **raw: object) -> tuple[float, bool]:
    found = trial_values(a_study({"arm": "none", "seed": 0} | row), measure(**raw)).iloc[0]
    return found["value"], found["bound"]


@pytest.mark.parametrize(
    ("row", "raw", "expected"),
    [
        ({"curve": [0.1, 0.4, 0.6, 0.8]}, {"value": "steps_to", "better": "lower", "threshold": 0.5}, (20, False)),
        ({"curve": [0.1, 0.4, 0.6, 0.8]}, {"value": "steps_to", "better": "lower"}, (30, True)),
        ({"curve": [0.1, 0.95], "outcome": "diverged"}, {"value": "steps_to", "better": "lower"}, (10, True)),
        (FELL, {"value": "steps_to_loss", "better": "lower", "loss": 0.1}, (20, False)),
        (FELL, {"value": "steps_to_loss", "better": "lower", "loss": 0.01}, (30, True)),
        ({"curve": [0.1, 0.2, 0.3], "pace": 2.0}, {"value": "seconds_per_step"}, (0.2, False)),
        ({"curve": [0.1, 0.9, 0.1, 0.5, 0.6, 0.4, 0.8]}, {"value": "roughness"}, (0.3, False)),
        ({"accuracy": 0.7, "train": 0.9}, {"value": "gap"}, (0.2, False)),
        ({"outcome": "diverged"}, {"value": "diverged"}, (1, False)),
        ({"probes": PROBES}, {"value": "probe", "probe": "dead_units"}, (np.nan, False)),
        ({"probes": PROBES}, {"value": "probe", "probe": "rank", "minus": "saturation"}, (98.8, False)),
        ({"probes": PROBES}, {"value": "probe", "probe": "rank", "minus": "dead_units"}, (np.nan, False)),
    ],
)
def test_the_value_of_a_trial(row: dict[str, object], raw: dict[str, object], expected: tuple[float, bool]) -> None:
    assert values(row, **raw) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("loss", "expected"), [(0.75, 0.05), (0.5, 0.1), (0.25, 0.3), (0.1, np.nan)])
def test_the_gap_at_a_loss_is_on_the_line_between_two_records_or_not_measured(loss: float, expected: float) -> None:
    study = a_study({"arm": "none", "seed": 0, "curve": [0.5, 0.5, 0.5], "losses": [1.0, 0.5, 0.25]})
    study.curves["train_accuracy"] = [0.5, 0.6, 0.8]
    found = trial_values(study, measure(value="gap_at_loss", loss=loss)).iloc[0]
    assert (found["value"], found["bound"]) == (pytest.approx(expected, nan_ok=True), False)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, 0.2),
        ({"layer": "hidden.1"}, 0.6),
        ({"steps": [0, 0]}, 0.3),
        ({"steps": [1, 50]}, 0.1),
        ({"layer": "hidden.0", "steps": [50, 50]}, -0.6),
        ({"layer": "hidden.0", "steps": [50, 50], "absolute": True}, 0.6),
    ],
)
def test_a_probe_is_averaged_over_what_is_asked_for(raw: dict[str, object], expected: float) -> None:
    assert values({"probes": PROBES}, value="probe", probe="saturation", **raw)[0] == pytest.approx(expected)


@pytest.mark.parametrize("value", ["roughness", "gap", "gap_at_loss"])
def test_how_a_trial_that_has_diverged_learned_is_not_measured(value: str) -> None:
    row = {"curve": [0.1, 0.5, 0.3, 0.5, 0.4], "losses": [1.0, 0.05, 0.05, 0.05, 0.05]}
    assert np.isfinite(values(row, value=value)[0])
    assert np.isnan(values(row | {"outcome": "diverged"}, value=value)[0])
