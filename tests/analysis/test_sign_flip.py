"""The sign-flip p counts all sign assignments: SciPy's, and a count in whole numbers, find the same."""

from collections import Counter
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bnexp.analysis.pairing import paired_difference
from bnexp.analysis.stats import EXACT_PAIRS, differences, sign_flip_p
from tests.helpers import NEAR_FLOAT64, assert_close

accuracies = st.integers(0, 1000).map(lambda hits: hits / 1000)


@given(st.lists(st.tuples(accuracies, accuracies), min_size=2, max_size=8))
def test_p_counts_every_sign_assignment(pairs: list[tuple[float, float]]) -> None:
    # The reference counts in whole thousandths, where a tie is a tie.
    differences = [round(1000 * treated) - round(1000 * baseline) for treated, baseline in pairs]
    sums = [abs(sum(np.multiply(signs, differences))) for signs in product((1, -1), repeat=len(pairs))]
    expected = np.mean(np.array(sums) >= abs(sum(differences)))
    treated, baseline = zip(*pairs, strict=True)
    assert paired_difference(treated, baseline).p == expected


def integer_p(differences: Sequence[int]) -> float:
    """The same count in whole numbers, sum by sum."""
    sums = Counter({0: 1})
    for value in differences:
        sums = Counter({s + value: n for s, n in sums.items()}) + Counter({s - value: n for s, n in sums.items()})
    hits = sum(count for total, count in sums.items() if abs(total) >= abs(sum(differences)))
    return hits / 2 ** len(differences)


@pytest.mark.parametrize(("pairs", "images"), [(17, 300), (21, 10_000), (40, 500), (100, 10_000)])
def test_accuracies_have_an_exact_p_up_to_a_hundred_pairs(pairs: int, images: int) -> None:
    for seed in range(3):
        hits = np.round(np.random.default_rng(seed).normal(0.003, 0.01, pairs) * images).astype(int)
        assert_close(sign_flip_p(hits / images), integer_p(hits.tolist()), NEAR_FLOAT64)


def test_means_of_accuracies_over_a_grid_have_an_exact_p_too() -> None:
    hits = np.random.default_rng(0).integers(-20, 30, (40, 7)).sum(axis=1)
    means = np.array([np.mean(np.full(7, each / 7_000)) for each in hits])
    assert_close(sign_flip_p(means), integer_p(hits.tolist()), NEAR_FLOAT64)


@pytest.mark.parametrize("pairs", [20, 32])
def test_losses_have_an_exact_p(pairs: int) -> None:
    losses = np.random.default_rng(pairs).normal(0.4, 1, pairs)
    one, other = (signed_sums(half) for half in (losses[: pairs // 2], losses[pairs // 2 :]))
    above = np.searchsorted(np.sort(other), abs(losses.sum()) - one - 1e-12)
    assert_close(sign_flip_p(losses), 2 * np.mean(1 - above / len(other)), NEAR_FLOAT64)


def signed_sums(values: np.ndarray) -> np.ndarray:
    return np.array(list(product((1, -1), repeat=len(values)))) @ values


@pytest.mark.slow
def test_of_more_losses_three_digits_are_exact() -> None:
    # A hundred losses that are whole numbers of a unit far finer than the grid, for which there is an exact answer.
    units = np.random.default_rng(3).integers(-4_000, 6_000, 60)
    uneven = units + np.random.default_rng(4).uniform(-1e-4, 1e-4, 60)
    assert sign_flip_p(uneven) == pytest.approx(integer_p(units.tolist()), abs=1e-4)


def test_beyond_the_exact_range_p_is_a_repeatable_estimate() -> None:
    differences = np.random.default_rng(3).normal(0.2, 1, EXACT_PAIRS + 4)
    p = sign_flip_p(differences)
    assert sign_flip_p(np.zeros(30)) == sign_flip_p([0.1, -0.1] * 20) == 1
    assert p == sign_flip_p(differences)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=0.25)
    assert sign_flip_p(np.ones(EXACT_PAIRS + 4)) == pytest.approx(1e-4)


@pytest.mark.parametrize("pairs", [2, 5, 8])
@pytest.mark.parametrize("images", [None, 20])  # accuracies on 20 images tie more often than not
def test_up_to_eight_pairs_p_is_exactly_scipys(pairs: int, images: int | None) -> None:
    sample = np.random.default_rng(pairs).normal(0.1, 0.1, pairs)
    sample = sample if images is None else np.round(sample * images) / images
    expected = stats.permutation_test(
        (sample,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ).pvalue
    assert sign_flip_p(sample) == expected


@pytest.mark.parametrize("images", [60_000, 7_000])
def test_one_image_more_or_less_in_every_seed_is_a_tie_of_sign_assignments(images: int) -> None:
    change = np.array([1, 1, 1, 1, 1, -1])
    for hits in np.random.default_rng(0).integers(2, images - 1, (50, 6)):
        mixed = differences((hits + change) / images, hits / images)
        assert sign_flip_p(mixed) == 14 / 64  # all alike, or all but one, with either sign
