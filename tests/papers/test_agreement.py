"""The rule of agreement: prediction intervals, runs at chance, signs and orders."""

import numpy as np
import pytest
from scipy import stats

from bnexp.papers.agreement import Agreement, order_agreement, sign_agreement, value_agreement
from tests.helpers import COVERED_SHARE

CHANCE = 0.12
LEARNED = (0.90, 0.92, 0.94)  # mean 0.92, s 0.02: the interval is 0.92 ± 4.303 · 0.02 · √(4/3) = 0.92 ± 0.0994


@pytest.mark.parametrize(("published", "word"), [(0.821, "yes"), (0.820, "no"), (0.999, "yes")])
def test_a_value_agrees_within_the_prediction_interval(published: float, word: str) -> None:
    half = stats.t.ppf(0.975, 2) * 0.02 * np.sqrt(1 + 1 / 3)
    assert (abs(published - 0.92) <= half) == (word == "yes")
    assert value_agreement(published, LEARNED, CHANCE) == word


def test_a_run_of_the_same_kind_disagrees_in_one_of_twenty() -> None:
    random = np.random.default_rng(0)
    draws = random.normal(0.7, 0.01, (4_000, 7))
    words = [value_agreement(one, ours, CHANCE) for one, *ours in draws]
    assert set(words) == {Agreement.yes, Agreement.no}
    assert words.count(Agreement.no) / len(words) == pytest.approx(0.05, abs=COVERED_SHARE)


def test_runs_at_chance_are_compared_with_runs_at_chance_only() -> None:
    mixed = (*LEARNED, 0.098, 0.114)
    assert value_agreement(0.93, mixed, CHANCE) == "yes"
    assert value_agreement(0.50, mixed, CHANCE) == "no"  # inside the interval of all five
    assert value_agreement(0.103, mixed, CHANCE) == "yes"
    assert value_agreement(0.103, (0.098,) * 3, CHANCE) == "yes"


def test_that_none_of_ours_ended_so_may_be_luck_with_few_runs() -> None:
    assert value_agreement(0.098, LEARNED * 6, CHANCE) == "can't tell"  # 18 runs
    assert value_agreement(0.098, (*LEARNED * 6, 0.9), CHANCE) == "no"
    assert value_agreement(0.9, (0.098,) * 18, CHANCE) == "can't tell"
    assert value_agreement(0.9, (0.098,) * 19, CHANCE) == "no"
    assert value_agreement(0.9, (0.098, 0.9), CHANCE) == "can't tell"  # one that learned has no interval
    assert value_agreement(0.9, (), CHANCE) == "can't tell"


def test_without_a_known_chance_all_runs_count() -> None:
    assert value_agreement(0.01, (0.01, 0.02, 0.03), None) == "yes"


@pytest.mark.parametrize(
    ("published", "differences", "word"),
    [
        (0.1, (0.2, 0.21, 0.22), "yes"),
        (-0.1, (0.2, 0.21, 0.22), "no"),
        (-0.1, (-0.2, -0.21, -0.22), "yes"),
        (0.1, (-0.2, 0.21, 0.22), "can't tell"),
        (0.1, (0.2,), "can't tell"),
        (0.0, (0.2, 0.21, 0.22), "can't tell"),
    ],
)
def test_a_difference_agrees_by_its_sign(published: float, differences: tuple[float, ...], word: str) -> None:
    assert sign_agreement(published, differences) == word


def test_orders_agree_by_kendalls_tau() -> None:
    published = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert order_agreement(published, [1, 2, 3, 5, 4]) == (pytest.approx(0.8), "can't tell")  # p = 0.083
    assert order_agreement(published, [1, 2, 3, 4, 5]) == (pytest.approx(1), "yes")  # p = 0.017
    assert order_agreement(published, [5, 4, 3, 2, 1]) == (pytest.approx(-1), "no")
    assert order_agreement(published[:3], [1, 2, 3]) is None
    assert order_agreement(published, [1] * 5) is None
