"""How far one number is from another, and how that is written."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike


def difference(actual: ArrayLike, expected: ArrayLike) -> float:
    """Return the largest difference relative to the largest expected number; the difference itself where all are 0.

    Arrays of different shapes are infinitely far apart.
    """
    a, b = np.asarray(actual, dtype=float), np.asarray(expected, dtype=float)
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a - b).max()) / (float(np.abs(b).max()) or 1.0)


def worst(errors: Iterable[float]) -> float:
    """Return the largest of some errors, and 0 of none; NaN where one is no number, which max() may pass over."""
    return float(np.max([0.0, *errors]))


def short(number: float) -> str:
    """Return a number of any size in one digit.

    >>> short(2.3e-16), short(0.04), short(0.0)
    ('2e-16', '0.04', '0')
    """
    return f"{number:.1g}"
