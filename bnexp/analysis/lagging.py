"""Running averages that hadn't caught up with the training when it ended, and what that did to the accuracy."""

from collections.abc import Iterator, Sequence

import pandas as pd

from bnexp.analysis.comparison import EvaluationRow
from bnexp.analysis.pairing import FINISHED, grid_points, point_numbers
from bnexp.analysis.study import Study
from bnexp.analysis.trial_settings import trial_settings
from bnexp.config.norms import KERAS, momentum_question
from bnexp.words import counted

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
