"""Which record of a trial stays where several runs trained the same one, and what is said of the others."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bnexp.analysis.pairing import FINISHED
from bnexp.words import counted


def repeated_trials(trials: pd.DataFrame, keys: list[str], formats: np.ndarray) -> np.ndarray:
    """Mark the trials that are left out because another one has the same values in the key columns.

    One that finished stays before one that didn't. Then the newest format decides, since `diverged` means there what
    it means today, and then the order.

    Args:
        trials: with `outcome`.
        keys: the key columns.
        formats: the format of each trial's run folder.
    """
    open_ = ~trials["outcome"].isin(FINISHED).to_numpy()
    order = np.lexsort((-formats, open_))  # sorts by open_, then by format; stable
    repeated = np.empty(len(trials), dtype=bool)
    repeated[order] = trials.iloc[order].duplicated(keys)
    return repeated


def why_left_out(trials: pd.DataFrame, keys: list[str], formats: np.ndarray, repeated: np.ndarray) -> Iterator[str]:
    """Yield a line for each run and reason: how many of its trials are left out, and which ones stay instead."""
    places = trials.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
    stays = np.empty(places.max(initial=-1) + 1, dtype=int)
    stays[places[~repeated]] = np.flatnonzero(~repeated)
    other = stays[places]  # the row of the trial that stays
    newer, earlier = formats[other] > formats, other < np.arange(len(trials))
    finished = trials["outcome"].isin(FINISHED).to_numpy()
    why = np.select(
        [finished & newer, earlier], ["a newer bnexp trained again", "an earlier run has too"], "a later run finished"
    )
    for run in trials["run"].unique():
        for reason in dict.fromkeys(why[repeated]):
            if count := trials.loc[repeated & (why == reason) & (trials["run"] == run), "trial"].nunique():
                yield f"{run}: {counted(count, 'trial')} that {reason} (same arm, seed and settings)"
