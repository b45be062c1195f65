"""Along which swept settings there is an axis: several values of one, with everything else equal."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bnexp.analysis.pairing import active, point_numbers


def along(trials: pd.DataFrame, axis: str, grid_keys: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which trials lie along an axis: the arms tried the same values, at the same points of all other settings.

    These points are those with the most values that every arm tried there; points with fewer, and values that weren't
    tried at all of them, are left out. So are arms that tried only one value. Settings that only change together (in
    zip, or from run to run) have no axis: no trial lies along it. Nor does a trial on which the setting has no effect.

    Args:
        trials: as in trials.csv, perhaps with the settings without effect on each trial.
        axis: the setting.
        grid_keys: columns that tell grid points apart.
    """
    others = point_numbers(trials, [key for key in grid_keys if key != axis])
    at = trials[axis].where(active(trials, axis)).to_numpy()
    tried = pd.DataFrame({"arm": trials["arm"].to_numpy(), "others": others, "at": at})
    values = {cell: frozenset(at) for cell, at in tried.dropna().groupby(["arm", "others"], sort=False)["at"]}
    arms = {arm for (arm, _), at in values.items() if len(at) > 1}
    shared = {
        point: frozenset.intersection(*(values.get((arm, point), frozenset()) for arm in arms))
        for point in (range(others.max() + 1) if arms else ())
    }
    most = max(shared.values(), key=len, default=frozenset())
    whole = [point for point, at in shared.items() if len(most) > 1 and at >= most]
    found: NDArray[np.bool_] = (
        tried["arm"].isin(arms) & tried["others"].isin(whole) & tried["at"].isin(most)
    ).to_numpy()
    return found
