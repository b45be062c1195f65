"""How often an interval of a mean accuracy holds the truth where accuracies are near 0 and 1, and seeds are few.

A study draws the true accuracy of each seed, and then how many of its test images are right. docs/comparing.md has
the figures.
"""

from collections.abc import Callable

import numpy as np
import pytest

from bnexp.analysis.stats import mean_interval

STUDIES, IMAGES = 4_000, 500
Seeds = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def alike(mean: float, spread: float) -> Seeds:
    """Seeds that are normally distributed."""
    return lambda random, shape: np.clip(random.normal(mean, spread, shape), 0, 1)


def skewed(mean: float, spread: float) -> Seeds:
    """Seeds with a beta distribution: near a bound most are close to it, and few are far off."""
    size = mean * (1 - mean) / spread**2 - 1
    return lambda random, shape: random.beta(mean * size, (1 - mean) * size, shape)


def failing(share: float) -> Seeds:
    """Good seeds, of which a share stays at chance."""
    return lambda random, shape: np.where(random.random(shape) < share, 0.1, random.normal(0.95, 0.01, shape))


def coverage(seeds: Seeds, n: int) -> float:
    """Return the share of studies of n seeds whose interval holds the true mean."""
    random = np.random.default_rng(n)
    truth = seeds(random, (1_000, 1_000)).mean()
    accuracies = random.binomial(IMAGES, seeds(random, (STUDIES, n))) / IMAGES
    found = [mean_interval(study, bounds=(0, 1)) for study in accuracies]
    assert all(0 <= each.low <= each.high <= 1 for each in found)
    return float(np.mean([each.low <= truth <= each.high for each in found]))


@pytest.mark.parametrize(
    ("seeds", "least"),
    [
        (alike(0.5, 0.05), (0.94, 0.94, 0.94)),
        (alike(0.97, 0.01), (0.94, 0.94, 0.94)),
        (skewed(0.98, 0.01), (0.92, 0.92, 0.92)),
        (skewed(0.98, 0.02), (0.86, 0.86, 0.88)),
        (skewed(0.02, 0.02), (0.86, 0.86, 0.88)),
        (failing(1 / 3), (0.64, 0.87, 0.90)),  # of three seeds none fails in 30 % of studies
    ],
)
def test_the_interval_covers_what_the_documentation_says(seeds: Seeds, least: tuple[float, ...]) -> None:
    found = [coverage(seeds, n) for n in (3, 6, 12)]
    assert all(here >= bound for here, bound in zip(found, least, strict=True))
    assert max(found) < 0.965
