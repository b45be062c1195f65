"""Evaluation with running, population and batch statistics; and running averages that lag behind."""

from collections.abc import Iterator, Sequence

import pandas as pd

from bnexp.analysis.comparison import EvaluationRow, Point
from bnexp.analysis.pairing import FINISHED, FOR_A_SPREAD, complete, grid_points, paired_difference, point_numbers
from bnexp.analysis.stats import mean_interval
from bnexp.analysis.study import Study, difference_bounds, trial_settings
from bnexp.config.experiment import KERAS, momentum_question
from bnexp.config.text import counted

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


LAG = 0.05
"""A larger share of their start left in running averages is warned about."""
GAP = 0.01
"""A larger difference in accuracy between running averages and population statistics is warned about."""


def running_averages(study: Study, arms: Sequence[str], evaluated: Sequence[EvaluationRow] = ()) -> Iterator[str]:
    """Yield a line for each of the arms whose running averages lag, and one for each momentum to ask about.

    Args:
        study: the trials.
        arms: those to look at.
        evaluated: what the probe mode_gap found.
    """
    if not study.configs:
        return
    averaged = _averaged(study)
    averaged = averaged[averaged["arm"].isin(list(arms))]
    for arm in arms:
        mine = averaged[averaged["arm"] == arm]
        if mine.empty:
            continue
        gap = _gap([row for row in evaluated if row.arm == arm])
        late = mine[mine["left"] > LAG]
        lag = _lag(late, mine, study) if len(late) else ""
        if found := "; ".join(filter(None, (lag, gap))):
            yield f"running averages of {arm}: {found}; remedy: norm.statistics: population"
    for momentum in sorted(averaged["momentum"].unique()):
        if momentum >= KERAS:
            yield f"momentum: {momentum_question(momentum)}"


def _averaged(study: Study) -> pd.DataFrame:
    """Return a row for every completed trial that is evaluated with running averages.

    `left` is the share of their start that is still in them: (1 - momentum) ^ updates. Only trials that completed
    made all their updates.
    """
    updates = study.curves.groupby("trial")["step"].max()
    norms = (settings.model.norm for settings in trial_settings(study, ["model.norm"]))
    frame = pd.DataFrame(
        {
            "arm": study.trials["arm"],
            "place": point_numbers(study.trials, study.grid_keys),
            "updates": study.trials["trial"].map(updates),
            "momentum": [norm.momentum if norm.averages else float("nan") for norm in norms],
        }
    )
    frame = frame[frame["momentum"].notna() & frame["updates"].gt(0) & study.trials["outcome"].eq(FINISHED[0])]
    return frame.assign(left=(1 - frame["momentum"]) ** frame["updates"])


def _lag(late: pd.DataFrame, mine: pd.DataFrame, study: Study) -> str:
    """Say how much is left at the worst grid point, and where that is if it isn't the same everywhere."""
    worst = late.iloc[int(late["left"].argmax())]
    share = "nearly all" if worst["left"] > 0.99 else f"{100 * worst['left']:.0f} %"
    after = f"after {counted(int(worst['updates']), 'update')}, {share} of their initial value is still in them"
    details = [f"norm.momentum {worst['momentum']:g}"]
    if mine["left"].nunique() > 1:
        point = grid_points(study.trials, study.grid_keys)[int(worst["place"])]
        where = ", ".join(f"{key} {value}" for key, value in point.items())
        points = late["place"].nunique()
        details.append(f"the worst of {points} such grid points: {where}" if points > 1 else f"only at {where}")
    return f"{after} ({'; '.join(details)})"


def _gap(rows: Sequence[EvaluationRow]) -> str:
    """Say by how much population statistics change the accuracy, where that is the most."""
    gaps = [
        (abs(row.population - row.running), row)
        for row in rows
        if row.running is not None and row.population is not None
    ]
    size, row = max(gaps, key=lambda each: each[0], default=(0.0, None))
    if row is None or size <= GAP:
        return ""
    where = "".join(f", {key} {value}" for key, value in row.point.items())
    scores = f"{row.running:.3f} with them, {row.population:.3f} with population statistics"
    return f"the same weights score {scores}{where}"
