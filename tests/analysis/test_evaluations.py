"""Where the probe mode_gap was taken, both evaluations of the same weights stand side by side."""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.pairing import paired_difference
from bnexp.analysis.runs import compare_study, study_of
from bnexp.analysis.study import Study
from tests.helpers import EXACT_FLOAT64, assert_close

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
def comparison(make_folder) -> Comparison:
    return compare_study(probed(study_of([make_folder(seeds=6)]), measured))


def test_both_evaluations_have_their_own_difference_to_the_baseline(comparison: Comparison) -> None:
    none, before = comparison.evaluations
    assert (none.arm, none.n, none.pairs, none.difference) == ("none", 6, 0, None)
    for mean, values in ((none.running, PLAIN), (before.running, RUNNING), (before.population, POPULATION)):
        assert_close([mean], [sum(values) / 6], EXACT_FLOAT64)
    for found, values in (
        ((before.running_difference, before.running_low, before.running_high, before.running_p), RUNNING),
        ((before.difference, before.difference_low, before.difference_high, before.p), POPULATION),
    ):
        expected = paired_difference(values, PLAIN)
        assert_close(list(found), [expected.mean, expected.low, expected.high, expected.p], EXACT_FLOAT64)


def test_a_gap_between_them_is_warned_about_and_a_small_one_is_not(comparison: Comparison, make_folder) -> None:
    scores = "the same weights score 0.708 with them, 0.905 with population statistics"
    line = f"running averages of before: {scores}; remedy: norm.statistics: population"
    assert comparison.warnings == (line,)
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
