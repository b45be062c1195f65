"""The same weights evaluated with running averages, with population statistics, and batch by batch."""

from collections.abc import Sequence

import pandas as pd

from bnexp.analysis.comparison import EvaluationRow, Point
from bnexp.analysis.complete import FOR_A_SPREAD, complete
from bnexp.analysis.intervals import mean_interval
from bnexp.analysis.metrics import difference_bounds
from bnexp.analysis.paired import paired_difference
from bnexp.analysis.pairing import FINISHED, grid_points, point_numbers
from bnexp.analysis.study import Study

PROBE = "mode_gap"
MEASURED = "final_test_accuracy"
"""What it evaluates."""
WAYS = ("running", "population", "batch")
"""The statistics that PROBE evaluates with."""
LIMITS = difference_bounds(MEASURED)


def evaluation_rows(study: Study, keys: Sequence[str], baseline: str) -> tuple[EvaluationRow, ...]:
    """Return a row for each grid point and arm that the probe mode_gap was taken of.

    Args:
        study: the trials, with what probes found.
        keys: grid keys that get rows of their own; the others are averaged over, seed by seed.
        baseline: the arm that the others are compared to.
    """
    measured = _measured(study, keys)
    if measured.empty:
        return ()
    partners = measured[measured["arm"] == baseline].set_index(["full", "seed"])[list(WAYS)].add_suffix("_partner")
    paired = measured.join(partners, on=["full", "seed"])
    points = grid_points(study.trials, keys)
    cells = paired.groupby(["point", "arm"], sort=False)
    return tuple(_row(points[cell["point"].iloc[0]], cell["arm"].iloc[0], baseline, cell) for _, cell in cells)


def _row(point: Point, arm: str, baseline: str, cell: pd.DataFrame) -> EvaluationRow:
    pairs = _balanced(cell[cell["running_partner"].notna() & (arm != baseline)])
    cell = _balanced(cell)
    by_seed = pairs.groupby("seed")[[*WAYS, *(f"{way}_partner" for way in WAYS)]].mean()
    running, population = (
        paired_difference(by_seed[way].to_numpy(), by_seed[f"{way}_partner"].to_numpy(), bounds=LIMITS)
        for way in ("running", "population")
    )
    means = {way: mean_interval(cell.groupby("seed")[way].mean().to_numpy()).mean for way in WAYS}
    return EvaluationRow(
        point=point,
        arm=arm,
        baseline=baseline,
        n=cell["seed"].nunique(),
        **means,
        running_difference=running.mean,
        running_low=running.low,
        running_high=running.high,
        running_p=running.p,
        difference=population.mean,
        difference_low=population.low,
        difference_high=population.high,
        p=population.p,
        pairs=len(by_seed),
    )


def _balanced(cell: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of the seeds that have all grid points of a row."""
    return cell[complete(cell["full"], cell["seed"], FOR_A_SPREAD)]


def _measured(study: Study, keys: Sequence[str]) -> pd.DataFrame:
    """Return of every finished trial that PROBE was taken of its place, and the accuracies at its last measurement."""
    probes = study.probes
    if probes is None or not (of := probes["probe"].isin([f"{PROBE}.{way}" for way in WAYS])).any():
        return pd.DataFrame()
    wide = probes[of].pivot_table(index=["trial", "step"], columns="probe", values="value").dropna()
    last = wide.reset_index().sort_values("step").drop_duplicates("trial", keep="last")
    last = last.rename(columns={f"{PROBE}.{way}": way for way in WAYS})
    trials = study.trials.assign(
        full=point_numbers(study.trials, study.grid_keys), point=point_numbers(study.trials, keys)
    )
    trials = trials.loc[trials["outcome"].isin(FINISHED), ["trial", "arm", "seed", "full", "point"]]
    return trials.merge(last, on="trial")
