"""Every arm over all grid points: each seed's mean over its pairs, then statistics over the seeds."""

from collections.abc import Iterator, Sequence

import pandas as pd

from bnexp.analysis.comparison import Overall
from bnexp.analysis.complete import FOR_A_SPREAD, complete
from bnexp.analysis.effects import bootstrap_interval
from bnexp.analysis.intervals import differences, mean_interval
from bnexp.analysis.paired import paired_fields


def overall_rows(paired: pd.DataFrame, *, arms: Sequence[str], baseline: str, metric: str) -> Iterator[Overall]:
    """Yield a row for each arm that has pairs; only seeds with a pair at every grid point count.

    Args:
        paired: as from `bnexp.analysis.pairing.pair_trials`; the baseline's trials are paired with themselves.
        arms: in the order in which they are to come.
        baseline: the arm that the others are compared to.
        metric: what the values are.
    """
    for arm in arms:
        pairs = paired[paired["paired"] & (paired["arm"] == arm)]
        if len(pairs):
            yield _row(arm, pairs, treated=arm != baseline, metric=metric)


def _row(arm: str, pairs: pd.DataFrame, *, treated: bool, metric: str) -> Overall:
    whole = pairs[complete(pairs["point"], pairs["seed"], FOR_A_SPREAD)]
    # A loss that isn't finite stays visible.
    by_seed = whole.groupby("seed")[["value", "partner_value"]].mean(skipna=False)
    seeds, partner_seeds = by_seed["value"].to_numpy(), by_seed["partner_value"].to_numpy()
    values, partners = (seeds, partner_seeds) if treated else (seeds[:0], partner_seeds[:0])
    bootstrap = bootstrap_interval(differences(values, partners))
    return Overall(
        arm=arm,
        mean=mean_interval(seeds).mean,
        baseline_mean=mean_interval(partner_seeds).mean,
        bootstrap_low=bootstrap and bootstrap[0],
        bootstrap_high=bootstrap and bootstrap[1],
        seeds=len(by_seed),
        seeds_left_out=pairs["seed"].nunique() - len(by_seed),
        points=whole["point"].nunique(),
        **paired_fields(values, partners, metric),
    )
