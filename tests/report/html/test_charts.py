"""Numbers on the page are rounded to four digits, and what JSON can't hold is null."""

import numpy as np
import pytest

from bnexp.report.html.charts import DIGITS, round_one, rounded


def test_numbers_are_rounded_as_python_writes_them() -> None:
    random = np.random.default_rng(0)
    numbers = np.concatenate([random.random(1000), random.choice([-1, 1], 1000) * 10 ** random.uniform(-20, 20, 1000)])
    expected = [float(f"{number:.{DIGITS}g}") for number in numbers]
    assert rounded(numbers) == pytest.approx(expected, rel=1e-15, abs=0)


@pytest.mark.parametrize("number", [0.0, 1.0, 0.3, 0.0001, 0.99996, 12345.0, -0.25, 1 / 3])
def test_rounded_numbers_are_written_with_few_digits(number: float) -> None:
    assert repr(round_one(number)) == repr(float(f"{number:.{DIGITS}g}"))


def test_what_is_not_finite_is_null() -> None:
    assert rounded(np.array([np.nan, 1.0, np.inf])) == [None, 1.0, None]
    assert round_one(None) is None
