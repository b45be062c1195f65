"""How often a comparison of tuned arms finds a difference where there is none: an arm against itself, tuned twice.

In comparisons that are drawn from many trials, and in real ones, for which everything is trained again.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

import bnexp
from bnexp.analysis.choices import tied
from bnexp.analysis.standing import SETTLED
from bnexp.analysis.stats import Interval, mean_interval, sign_flip_p

EXPERIMENT = {
    "name": "tuned_twice",
    "data": {"name": "digits"},
    "model": {"depth": 3, "width": 24, "activation": "relu", "init": "he"},
    "arms": ["none", "before"],
    "train": {"epochs": 4, "batch_size": 64},
    "grid": {"train.lr": [0.03, 0.1, 0.3, 1, 3]},
    "seeds": 480,
}
COMPARISONS = 10_000
TRAINED = {key: EXPERIMENT[key] for key in ("data", "model", "train")}
RATES = [0.1, 0.3, 1]
"""What real studies choose from: the others are hardly ever chosen."""
REAL_COMPARISONS = 100
MEASURED = 12
"""Seeds that are measured in each of them."""
Accuracies = NDArray[np.float64]
"""One for every seed at every rate."""


def run() -> str:
    """Return a table: per arm, rule, and number of tunings how often the interval misses 0 and the verdict is wrong."""
    with tempfile.TemporaryDirectory() as runs:
        trials = bnexp.run(EXPERIMENT, runs=Path(runs), device="cpu").trials
    lines = [
        "| arm | tunings | tuning seeds each | seeds measured each | choice | intervals without 0 | wins or loses |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, mine in trials.groupby("arm", sort=False):
        validation, test = (
            mine.pivot(index="seed", columns="train.lr", values=f"final_{images}_accuracy").to_numpy()
            for images in ("val", "test")
        )
        plans = [(1, seeds, 12, smallest) for seeds in (2, 4) for smallest in (False, True)]
        plans += [(studies, 2, measured, True) for studies, measured in ((3, 2), (6, 1), (6, 2), (8, 2), (12, 1))]
        for studies, seeds, measured, smallest in plans:
            shares = _wrong(validation, test, studies, seeds, measured, smallest=smallest)
            rule = "smallest that ties" if smallest else "best mean"
            told = " | ".join(f"{100 * share:.1f} %" for share in shares)
            lines.append(f"| {arm} | {studies} | {seeds} | {measured} | {rule} | {told} |")
    return "\n".join(lines)


def _wrong(
    validation: Accuracies, test: Accuracies, studies: int, seeds: int, measured: int, *, smallest: bool
) -> tuple[float, float]:
    """Return the shares of comparisons whose interval misses 0, and whose verdict would be *wins* or *loses*.

    Each draws new seeds: two disjoint sets of tuning seeds, one for either side, and those that are measured.
    """
    random = np.random.default_rng(0)
    drawn = random.random((COMPARISONS, len(test))).argsort(axis=1)[:, : studies * (2 * seeds + measured)]
    rows = drawn.reshape(COMPARISONS, studies, -1)
    ours, theirs, here = np.split(rows, (seeds, 2 * seeds), axis=2)
    mine, other = (_choice(validation[side], smallest=smallest)[..., None] for side in (ours, theirs))
    differences = test[here, mine] - test[here, other]
    missing, settled = _verdicts(differences.mean(axis=2) if studies > 1 else differences[:, 0])
    return missing / COMPARISONS, settled / COMPARISONS


def _verdicts(comparisons: Iterable[NDArray[np.float64]]) -> tuple[int, int]:
    """Return how many intervals of paired differences miss 0, and how many verdicts are *wins* or *loses*."""
    missing = [each for each in comparisons if each.any() and _misses(mean_interval(each))]
    settled = [p for p in map(sign_flip_p, missing) if p is not None and p <= SETTLED]
    return len(missing), len(settled)


def _choice(validation: Accuracies, *, smallest: bool) -> NDArray[np.int64]:
    """Return the places of what is chosen, of accuracies (..., seeds, rates)."""
    return np.asarray((tied(validation) if smallest else validation.mean(axis=-2)).argmax(axis=-1))


def _misses(interval: Interval) -> bool:
    return interval.low is not None and interval.high is not None and not interval.low <= 0 <= interval.high


def run_real() -> str:
    """Return a table: per arm and number of tunings, how many real studies of an arm against itself go wrong."""
    lines = ["| arm | tunings | studies | intervals without 0 | wins or loses |", "|---|---|---|---|---|"]
    for arm, tunings in (("none", 1), ("none", 6), ("before", 6)):
        told = " | ".join(map(_share, _verdicts(_differences(arm, tunings))))
        lines.append(f"| {arm} | {tunings} | {REAL_COMPARISONS} | {told} |")
    return "\n".join(lines)


def _differences(arm: str, tunings: int) -> list[NDArray[np.float64]]:
    """Return the paired differences of an arm to itself, tuned twice: those that each comparison is over.

    One run tunes often enough for all comparisons, and measures each tuning with seeds of its own. A second run has
    the same measured seeds and other tuning seeds.
    """
    studies = tunings * REAL_COMPARISONS
    sides = []
    with tempfile.TemporaryDirectory() as runs:
        for first in (100_000, 200_000):
            tune = {"grid": {"train.lr": RATES}, "seeds": [first, first + 1], "studies": studies}
            experiment = TRAINED | {"arms": [arm], "tune": tune, "seeds": MEASURED * REAL_COMPARISONS}
            trials = bnexp.run(experiment, runs=Path(runs), device="cpu").trials
            sides.append(trials.set_index("seed")["final_test_accuracy"].sort_index().to_numpy())
    by_study = (sides[1] - sides[0]).reshape(-1, studies)  # the seed s measures what study s modulo studies chose
    each = by_study.mean(axis=0).reshape(REAL_COMPARISONS, tunings) if tunings > 1 else by_study.T
    return list(each)


def _share(count: int) -> str:
    """Return a count with its share and 95 % interval (Clopper and Pearson)."""
    interval = binomtest(count, REAL_COMPARISONS).proportion_ci()
    return f"{count} ({interval.low:.1%} to {interval.high:.1%})"
