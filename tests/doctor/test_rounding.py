"""The bounds hold whatever the order of a sum, and aren't so wide that they say nothing."""

from collections.abc import Callable

import numpy as np
import pytest

from bnexp.doctor.operations import EPS
from bnexp.doctor.rounding import PRECISIONS, SUMS, Rounded, sum_error
from tests.helpers import noise

LARGE_B = noise(1000).numpy() + 3


def one_after_the_other(terms_B: np.ndarray) -> np.float32:
    total = np.float32(0)
    for term in terms_B.astype(np.float32):
        total += term
    return total


@pytest.mark.parametrize(
    "order",
    [np.sort, np.flip, lambda terms_B: np.sort(terms_B)[::-1], lambda terms_B: terms_B * (-1) ** np.arange(1000)],
)
def test_a_sum_in_any_order_stays_within_its_bound(order: Callable[[np.ndarray], np.ndarray]) -> None:
    terms_B = order(LARGE_B).astype(np.float32).astype(np.float64)
    bound = Rounded(terms_B).sum((0,))
    error = abs(one_after_the_other(terms_B) - bound.exact.item())
    assert error <= bound.error.item() < 1e-3 * abs(terms_B).sum()


def test_errors_are_passed_on_through_a_formula() -> None:
    x_B = LARGE_B.astype(np.float32)
    mean = x_B.mean()
    computed_B = (x_B - mean) / np.sqrt(((x_B - mean) ** 2).mean() + np.float32(EPS))
    x = Rounded(x_B.astype(np.float64))
    centred = x - x.mean((0,))
    bound = centred * ((centred * centred).mean((0,)) + EPS).inverse_root()
    assert (abs(computed_B - bound.exact) <= bound.error).all()
    assert bound.error.max() < 2e-3


def test_a_sum_of_one_term_is_exact_and_one_of_two_rounds_once() -> None:
    assert sum_error(1) == 0
    assert sum_error(2) == pytest.approx(SUMS)


def test_what_is_kept_in_bfloat16_may_lose_a_unit_of_its_last_place() -> None:
    kept = Rounded(np.array([1.0, -3.0])).kept(PRECISIONS["bf16"])
    assert kept.error.tolist() == [2**-7, 3 * 2**-7]
