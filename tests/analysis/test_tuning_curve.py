"""Tuning curves: the expected best of n tries, its spread, and how many tries an arm needs for what another reaches."""

from itertools import combinations
from math import comb

import numpy as np
import pytest

from bnexp.analysis.tuning_curve import Tried, Tuning, best_weights, tuning_lead, tuning_row, tuning_rows
from tests.helpers import COVERED_SHARE, EXACT_FLOAT64

STUDIES = [300, pytest.param(10_000, marks=pytest.mark.slow)]
"""Simulated studies in `make test`, and in `make test-slow`."""


def tuning(*studies: Tried, arm: str = "before") -> Tuning:
    return Tuning("run", {}, arm, studies)


def tried(validation: object, test: object = None) -> Tried:
    """One study: a list of settings, or a list of them for each seed; the test accuracy is the same by default."""
    validation_SN = np.atleast_2d(np.array(validation, dtype=float))
    return Tried(validation_SN, validation_SN if test is None else np.atleast_2d(np.array(test, dtype=float)))


def test_a_curve_is_the_mean_over_all_ways_to_try_so_many_settings() -> None:
    curve = tuning(tried([0.5, 0.9, 0.7], [0.4, 0.6, 0.8]))
    one, two, three = tuning_rows(curve)
    assert [row.tries for row in (one, two, three)] == [1, 2, 3]
    assert (one.validation, one.test) == pytest.approx((2.1 / 3, 1.8 / 3), rel=EXACT_FLOAT64)
    # Of 0.5 and 0.9 it is 0.9, of 0.5 and 0.7 it is 0.7, of 0.9 and 0.7 it is 0.9.
    assert (two.validation, two.test) == pytest.approx((2.5 / 3, 2.0 / 3), rel=EXACT_FLOAT64)
    # The best on validation images, though another setting is better on test images.
    assert (three.validation, three.test) == (0.9, 0.6)
    assert (two.validation_low, two.validation_high, three.validation_low) == (0.7, 0.9, None)


def test_rows_are_of_1_2_4_tries_and_of_all() -> None:
    tries = {count: [row.tries for row in tuning_rows(tuning(tried(np.arange(count) / 100)))] for count in (1, 8, 9)}
    assert tries == {1: [1], 8: [1, 2, 4, 8], 9: [1, 2, 4, 8, 9]}


def test_all_sets_of_settings_count_alike_and_equal_settings_are_taken_equally_often() -> None:
    random = np.random.default_rng(13)
    study = Tried(np.round(random.random((2, 7)), 1), random.random((2, 7)))  # accuracies with one digit have ties
    validation, test = study.validation_SN.mean(axis=0), study.test_SN.mean(axis=0)
    assert len(set(validation.round(9))) == 4
    for tries in range(1, 8):
        sets = [list(chosen) for chosen in combinations(range(7), tries)]
        winners = [[one for one in chosen if np.isclose(validation[one], validation[chosen].max())] for chosen in sets]
        best = [validation[chosen].max() for chosen in sets]
        row = tuning_row(tuning(study), tries)
        assert row.validation == pytest.approx(np.mean(best), rel=EXACT_FLOAT64)
        assert row.test == pytest.approx(np.mean([test[each].mean() for each in winners]), rel=EXACT_FLOAT64)
        if tries < 7:
            inside = [row.validation_low - 1e-9 <= value <= row.validation_high + 1e-9 for value in best]
            assert np.mean(inside) >= 0.95


def test_weights_are_those_of_the_formula_and_stay_exact_with_many_settings() -> None:
    expected = [comb(rank - 1, 9) / comb(400, 10) for rank in range(1, 401)]
    assert best_weights(np.linspace(0, 1, 400), 10) == pytest.approx(expected, rel=1e-9)


def test_studies_count_alike_and_the_curve_ends_with_the_shortest() -> None:
    rows = list(tuning_rows(tuning(tried([0.5, 0.9, 0.7]), tried([0.6, 0.8]))))
    assert [(row.tries, row.settings, row.seeds) for row in rows] == [(1, 2, 2), (2, 2, 2)]
    assert rows[1].validation == pytest.approx((2.5 / 3 + 0.8) / 2, rel=EXACT_FLOAT64)
    assert (rows[1].validation_low, rows[1].validation_high) == (0.7, 0.9)  # studies differ, also with all settings


def test_without_test_images_there_is_no_test_accuracy() -> None:
    row = tuning_row(tuning(tried([0.5, 0.9], [np.nan, np.nan])), 1)
    assert (row.test, row.test_low, row.test_high, row.validation) == (None, None, None, 0.7)


@pytest.mark.parametrize("studies", STUDIES)
def test_the_estimate_is_unbiased_for_settings_drawn_at_random(studies: int) -> None:
    random = np.random.default_rng(2)
    drawn = random.random((studies, 12))  # the best of n has the mean n / (n + 1)
    test = 0.5 * drawn + random.normal(0, 0.1, drawn.shape)
    for tries in (1, 3, 6, 12):
        rows = [tuning_row(tuning(tried(*each)), tries) for each in zip(drawn, test, strict=True)]
        truth = tries / (tries + 1)
        assert np.mean([row.validation for row in rows]) == pytest.approx(truth, abs=1 / studies**0.5)
        assert np.mean([row.test for row in rows]) == pytest.approx(truth / 2, abs=0.6 / studies**0.5)


def share_of_new_searches(tries: int, settings: int) -> float:
    """How often the best of new draws lies in the band of others: all orders of both together are equally likely."""
    row = tuning_row(tuning(tried(np.arange(1, settings + 1))), tries)
    low, high = row.validation_low, row.validation_high
    assert low is not None
    assert high is not None
    below = {rank: comb(tries + rank - 1, tries) / comb(tries + settings, tries) for rank in range(1, settings + 1)}
    return below[int(high)] - below[int(low)]


@pytest.mark.parametrize("studies", STUDIES)
def test_the_band_holds_new_searches_as_long_as_they_are_short(studies: int) -> None:
    random = np.random.default_rng(3)
    for tries, share in ((1, 0.939), (2, 0.904), (4, 0.848), (8, 0.744), (16, 0.549)):
        assert share_of_new_searches(tries, 32) == pytest.approx(share, abs=5e-4)
        held = []
        for drawn, new in zip(random.random((studies, 32)), random.random((studies, tries)), strict=True):
            row = tuning_row(tuning(tried(drawn)), tries)
            held.append(row.validation_low <= new.max() <= row.validation_high)
        assert np.mean(held) == pytest.approx(share, abs=100 * COVERED_SHARE / studies**0.5 * 2)


def test_an_arm_that_gets_there_with_fewer_tries_leads() -> None:
    seeds = np.array([[-0.001], [0.001]])
    slow = tuning(tried(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]) + seeds), arm="none")
    fast = tuning(tried(np.array([0.1, 0.2, 0.85, 0.85, 0.85, 0.86, 0.86, 0.87]) + seeds))
    lead = tuning_lead(fast, slow)
    assert lead is not None
    assert (lead.arm, lead.tries, lead.other, lead.other_tries) == ("before", 2, "none", 8)
    assert lead.validation == pytest.approx(0.8)
    assert [tuning_row(fast, tries).validation > 0.8 for tries in (1, 2)] == [False, True]
    assert tuning_lead(slow, fast) is None
    # 0.05 more with a standard error of 0.05 at either side could be luck, and one seed can't tell.
    noisy = tuning(tried(np.array([0.1, 0.2, 0.85, 0.85, 0.85, 0.86, 0.86, 0.87]) + 50 * seeds))
    assert tuning_lead(noisy, slow) is None
    assert tuning_lead(tuning(tried([0.85, 0.9])), tuning(tried([0.1, 0.2]))) is None


def test_an_arm_with_nothing_to_choose_has_its_best_after_one_try() -> None:
    single = tuning(tried([[0.80], [0.801]]), arm="none")
    several = tuning(tried([[0.1, 0.5, 0.9], [0.101, 0.501, 0.901]]))
    assert tuning_lead(several, single) is None
    lead = tuning_lead(single, tuning(tried([[0.1, 0.2, 0.3], [0.1, 0.2, 0.301]])))
    assert lead is not None
    assert (lead.tries, lead.other_tries) == (1, 3)


@pytest.mark.parametrize("studies", [50, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shape", ["plateau", "peak", "peak between noisy slopes"])
def test_an_arm_seldom_leads_over_itself(shape: str, studies: int) -> None:
    random, x = np.random.default_rng(4), np.linspace(-1, 1, 9)
    truth = np.full(9, 0.9) if shape == "plateau" else 0.9 - 0.3 * x**2
    noise = 0.02 * np.ones(9) if "noisy" not in shape else 0.005 + 0.3 * abs(x)
    led = 0
    for _ in range(studies):
        one, other = (tuning(tried(truth + noise * random.normal(size=(3, 9)))) for _ in range(2))
        led += tuning_lead(one, other) is not None or tuning_lead(other, one) is not None
    assert led / studies <= 0.05 + 0.5 / studies**0.5
