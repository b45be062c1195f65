"""Times to a threshold: the first record at or above it, and a median that knows about censoring."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bnexp.analysis.thresholds import censored_median, first_reached

NEVER = np.nan


def test_the_first_record_at_or_above_the_threshold_counts(make_run) -> None:
    _, curves = make_run(
        {"arm": "none", "seed": 0, "curve": [0.1, 0.5, 0.9, 0.4, 0.95]},
        {"arm": "none", "seed": 1, "curve": [0.1, 0.2, 0.3]},
        {"arm": "none", "seed": 2, "curve": [0.92, 0.1]},
        {"arm": "none", "seed": 3, "curve": [0.1, np.nan, 0.91]},
    )
    reached = first_reached(curves.sample(frac=1, random_state=0), "test_accuracy", 0.9)
    expected = pd.DataFrame({"epoch": [2, 0, 2], "step": [20, 0, 20], "seconds": [1.0, 0.0, 1.0]}, index=[0, 2, 3])
    pd.testing.assert_frame_equal(reached.sort_index(), expected, check_names=False)


@pytest.mark.parametrize(
    ("times", "median"),
    [
        ([3, 5, 4], 4),
        ([3, NEVER, 5], 5),
        ([NEVER, 3, NEVER], None),
        ([3, 7, NEVER, NEVER], 7),  # half of the trials are there
        ([3, NEVER, NEVER, NEVER], None),
        ([3], 3),
        ([NEVER], None),
        ([], None),
        ([0, NEVER], 0),
    ],
)
def test_median_by_hand(times: list[float], median: float | None) -> None:
    assert censored_median(times) == median


@given(st.lists(st.one_of(st.integers(0, 20), st.none()), min_size=1, max_size=12))
def test_median_is_kaplan_and_meiers(times: list[int | None]) -> None:
    budget = 20.5
    values = np.array([budget if time is None else time for time in times], dtype=float)
    survival = stats.ecdf(stats.CensoredData.right_censored(values, np.array([time is None for time in times]))).sf
    there = survival.quantiles[np.isclose(survival.probabilities, 0.5) | (survival.probabilities < 0.5)]
    expected = there[0] if there.size and there[0] != budget else None
    assert censored_median([NEVER if time is None else time for time in times]) == expected
