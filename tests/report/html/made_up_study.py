"""Made-up studies for the tests of the page: any size, any names."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.runs import compare_study
from bnexp.analysis.study import Chance, Study
from bnexp.config.trial import TrialSettings
from bnexp.store.tables import EARLY_STOP_COLUMNS

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }} %{y} </script><!--",
    "<b>bold</b> & <a href='javascript:alert(1)'>link</a>",
)
"""Names that would do something where they are read as HTML, as a template, or as a chart's markup."""


def study(
    *,
    arms: Sequence[str] = ("none", "before"),
    gains: Mapping[str, float] | None = None,
    seeds: int = 3,
    grid: Mapping[str, Sequence[object]] | None = None,
    records: int = 6,
    outcomes: Mapping[int, str] | None = None,
    **fields: object,
) -> Study:
    """Return trials whose accuracy rises to 0.5, an arm's gain added, with a little noise.

    Args:
        arms: the first is the baseline, unless one is named none.
        gains: by arm.
        seeds: per arm and grid point.
        grid: values by dotted key.
        records: per trial, the one before training among them.
        outcomes: by number of the trial; "" is a trial that has not ended. All others completed.
        fields: of the Study, instead of what is made up.
    """
    grid, gains = grid or {}, gains or dict(zip(arms, (0.0, 0.3, 0.25), strict=False))
    places = list(product(product(*grid.values()), arms, range(seeds)))
    trials = pd.DataFrame(
        [{"arm": arm, "seed": seed, **dict(zip(grid, point, strict=True))} for point, arm, seed in places]
    )
    trials.insert(0, "trial", range(len(trials)))
    noise = np.random.default_rng(1).normal(0, 0.01, len(trials))
    final = 0.5 + trials["arm"].map(gains).fillna(0.0).to_numpy() + noise
    ended = pd.Series([(outcomes or {}).get(i, "completed") or None for i in range(len(trials))], dtype=object)
    known = np.where(ended.isna(), np.nan, final)
    trials = trials.assign(
        run="made-up-1", number=trials["trial"], outcome=ended, reason=None, seconds=2.0, final_train_loss=1 - known,
        diverged_step=np.where(ended == "diverged", 2.0, np.nan), final_train_accuracy=known + 0.05,
        final_val_accuracy=known - 0.01, final_test_accuracy=known, best_val_accuracy=known,
        test_accuracy_at_best_val=known, **dict.fromkeys(EARLY_STOP_COLUMNS, np.nan),
    )  # fmt: skip
    made = Study(
        name="made-up-1", question="Does it help?", runs=("made-up-1",), trials=trials, curves=_curves(final, records),
        grid_keys=tuple(grid), arms=tuple(arms), settings={arm: settings(arm) for arm in arms}, chance=Chance(0.1),
        environments={"made-up-1": {"format": 1, "torch": "2.15.0", "command": ["bnexp", "run", "a b"]}},
    )  # fmt: skip
    return Study(**{**vars(made), **fields})  # type: ignore[arg-type]


def _curves(final: np.ndarray, records: int) -> pd.DataFrame:
    trial, epoch = (axis.ravel() for axis in np.meshgrid(range(len(final)), range(records), indexing="ij"))
    share = 1 - np.exp(-4 * epoch / max(records - 1, 1))
    accuracy = 0.1 + (np.repeat(final, records) - 0.1) * share
    return pd.DataFrame(
        {
            "trial": trial, "epoch": epoch, "step": 10 * epoch, "train_loss": 1 - accuracy, "val_loss": 1.1 - accuracy,
            "test_loss": 1.2 - accuracy, "train_accuracy": accuracy + 0.05, "val_accuracy": accuracy - 0.01,
            "test_accuracy": accuracy, "lr": 0.1, "seconds": 0.4 * epoch,
        }
    )  # fmt: skip


def settings(arm: str) -> TrialSettings:
    """Return the settings of a built-in arm; any other name has BN before the activation, too."""
    norm = {"kind": "none"} if arm == "none" else {"placement": arm if arm == "after" else "before"}
    return TrialSettings.model_validate({"model": {"norm": norm}})


def compared(made: Study, **options: object) -> Comparison:
    """Return the comparison of a made-up study."""
    return compare_study(made, **options)  # type: ignore[arg-type]
