"""Real comparisons of a tuned arm with itself: which measured seeds belong to which."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bnexp
from benchmarks import tuning


@pytest.mark.parametrize("tunings", [1, 6])
def test_every_comparison_has_the_seeds_of_its_own_tunings(monkeypatch: pytest.MonkeyPatch, tunings: int) -> None:
    studies = tunings * tuning.REAL_COMPARISONS
    tuned_with = []

    def trained(experiment: dict[str, Any], **options: object) -> SimpleNamespace:
        """In the second run each tuning makes all of its seeds better, by its own number."""
        tuned_with.extend(experiment["tune"]["seeds"])
        seeds = np.arange(experiment["seeds"])
        better = seeds % studies if len(tuned_with) > 2 else 0
        return SimpleNamespace(trials=pd.DataFrame({"seed": seeds, "final_test_accuracy": 0.01 * seeds + better}))

    monkeypatch.setattr(bnexp, "run", trained)
    found = np.array(tuning._differences("none", tunings))
    numbers = np.arange(studies).reshape(-1, tunings)
    assert found == pytest.approx(np.repeat(numbers, tuning.MEASURED, axis=1) if tunings == 1 else numbers)
    assert len(set(tuned_with)) == 4
