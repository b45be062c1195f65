"""Which seeds a mean over several grid points may take: those that have all of them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FOR_A_SPREAD = 2
"""Seeds that an interval takes."""


def complete(places: ArrayLike, seeds: ArrayLike, fewest: int = 1) -> NDArray[np.bool_]:
    """Mark the trials that a balanced mean takes: of the seeds that have a trial at every place.

    A seed that lacks a place would pull the mean towards the places that it has. Where too few seeds have all places,
    the place with the fewest seeds is left out (the last of several), and so on until enough seeds have all the rest.

    Args:
        places: number of each trial's grid point.
        seeds: each trial's seed; a seed has one trial at a place at most.
        fewest: how many seeds are enough, where a place has as many.
    """
    _, place = np.unique(places, return_inverse=True)
    _, seed = np.unique(seeds, return_inverse=True)
    there = np.zeros((place.max(initial=-1) + 1, seed.max(initial=-1) + 1), dtype=bool)
    there[place, seed] = True
    counts = there.sum(axis=1)
    by_count = np.argsort(-counts, kind="stable")  # the fewest seeds last
    kept = np.ones(len(there), dtype=bool)
    for place_with_fewest in by_count[::-1]:
        if np.all(there[kept], axis=0).sum() >= min(fewest, counts.max()):
            break
        kept[place_with_fewest] = False
    whole = np.asarray(np.all(there[kept], axis=0))
    marked: NDArray[np.bool_] = kept[place] & whole[seed]
    return marked
