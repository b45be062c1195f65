"""Published numbers and those of our runs, side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from bnexp.analysis.pairing import FINISHED
from bnexp.analysis.runs import study_of
from bnexp.analysis.stats import Interval, differences, mean_interval, prediction_interval
from bnexp.analysis.study import Study
from bnexp.claims.entries import Tier
from bnexp.claims.runs import runs_of
from bnexp.config.experiment import ExperimentConfig
from bnexp.errors import InputError
from bnexp.papers.agreement import (
    ACCURACIES,
    Agreement,
    alike,
    order_agreement,
    sign_agreement,
    value_agreement,
)
from bnexp.papers.catalogue import Metric, Paper, PublishedSettings

UNKNOWN = Interval(None, None, None)
"""Stands for a result that doesn't exist yet."""


@dataclass(frozen=True)
class Row:
    """A published accuracy of an arm, or difference between two, and ours."""

    where: Mapping[str, Any]
    metric: Metric
    step: int | None
    """The step after which it was measured; None: the last one."""
    arm: str
    published: tuple[float, ...]
    """One number for each published run; for a difference, the difference of the means. Empty if only the order of the
    arms was published; then the difference is above 0."""
    unverified: bool
    source: str
    """Source of the numbers, if not that of the paper."""
    baseline: str | None = None
    """The arm that is subtracted; None for an accuracy."""
    ours: tuple[float, ...] = ()
    """One number per seed; empty if nothing has run."""
    at: int | None = None
    """The step after which our runs were measured."""
    at_chance: int = 0
    """How many of our runs learned nothing."""
    interval: Interval = UNKNOWN
    """For an accuracy, the mean of the runs that learned and the prediction interval for one more run; if none learned,
    the mean of all. For a difference, its mean and the interval of the mean."""
    same_setting: bool = False
    agreements: tuple[Agreement, ...] = ()
    """One for each published number; empty if they are not compared."""


@dataclass(frozen=True)
class Order:
    """Whether the differences over the grid points are in the published order."""

    metric: Metric
    step: int | None
    arm: str
    baseline: str
    points: int
    tau: float
    agreement: Agreement


@dataclass(frozen=True)
class Result:
    """All results on a paper in a tier."""

    paper: Paper
    experiment: ExperimentConfig
    rows: tuple[Row, ...]
    orders: tuple[Order, ...] = ()
    study: Study | None = None
    """None if it has not run to its end."""
    unreadable: str = ""
    """Which file was changed or lost."""

    def values(self) -> Iterator[Agreement]:
        """Yield, for each published accuracy that is compared, whether ours agree."""
        return (each for row in self.rows if row.baseline is None for each in row.agreements)

    def signs(self) -> Iterator[Agreement]:
        """Yield, for each published difference, whether the sign of ours agrees."""
        return (each for row in self.rows if row.baseline is not None for each in row.agreements)


def results(papers: Sequence[Paper], tier: Tier, runs: Path) -> list[Result]:
    """Return what is known about papers, in their order.

    Args:
        papers: as from find_papers.
        tier: in which they ran.
        runs: folder of the run folders.
    """
    return [_result(paper, tier, runs) for paper in papers]


def _result(paper: Paper, tier: Tier, runs: Path) -> Result:
    there, study, fault = runs_of(paper, tier, runs), None, ""
    try:
        if run := there.finished.get("equal"):
            study = study_of([run])
    except InputError as error:
        fault = str(error)
    same, experiment = tier in paper.settings.same_setting, paper.experiments[tier]
    rows = tuple(row for each in paper.settings.published for row in _rows(each, study, same=same))
    return Result(paper, experiment, rows, tuple(_orders(rows)), study, fault or there.unreadable.get("equal", ""))


def _rows(published: PublishedSettings, study: Study | None, *, same: bool) -> Iterator[Row]:
    """Yield a row for each arm, then one for each difference to the first."""
    row = partial(
        Row, published.where, published.metric, published.step, unverified=published.unverified, source=published.source
    )
    if study is None:
        yield from (row(arm=arm, published=published.values.get(arm, ())) for arm in published.arms)
        return
    found, at = _accuracies(study, published)
    row = partial(row, at=at, same_setting=same and at in (None, published.step))
    yield from _arm_rows(row, published, found, study.chance.above if study.chance else None)
    yield from _difference_rows(row, published, found)


def _arm_rows(
    row: Callable[..., Row], published: PublishedSettings, found: pd.DataFrame, at_chance: float | None
) -> Iterator[Row]:
    for arm in published.arms:
        values = published.values.get(arm, ())
        ours = tuple(found.loc[found["arm"] == arm, "value"])
        learned = alike(ours, at_chance, stuck=False)
        made = row(
            arm=arm,
            published=values,
            ours=ours,
            at_chance=len(ours) - len(learned),
            interval=prediction_interval(learned, ACCURACIES) if learned else Interval(_mean(ours), None, None),
        )
        compared = made.same_setting and not made.unverified
        agreements = tuple(value_agreement(value, ours, at_chance) for value in values) if compared else ()
        yield replace(made, agreements=agreements)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _difference_rows(row: Callable[..., Row], published: PublishedSettings, found: pd.DataFrame) -> Iterator[Row]:
    by_seed = found.pivot(index="seed", columns="arm", values="value").reindex(columns=list(published.arms))
    for arm, baseline, change in _published_differences(published):
        both = by_seed[[arm, baseline]].dropna()
        ours = tuple(differences(both[arm].to_numpy(), both[baseline].to_numpy()))
        agreements = () if published.unverified else (sign_agreement(1.0 if change is None else change, ours),)
        numbers = () if change is None else (change,)
        interval = mean_interval(ours)
        yield row(arm=arm, baseline=baseline, published=numbers, ours=ours, interval=interval, agreements=agreements)


def _published_differences(published: PublishedSettings) -> Iterator[tuple[str, str, float | None]]:
    """Yield each arm, the arm that it is compared with, and the published difference; None: above 0."""
    for arm, behind in pairwise(published.ahead):
        yield arm, behind, None
    for arm in published.arms[1:] if published.values else ():
        baseline = published.arms[0]
        yield arm, baseline, fmean(published.values[arm]) - fmean(published.values[baseline])


def _accuracies(study: Study, published: PublishedSettings) -> tuple[pd.DataFrame, int | None]:
    """Return arm, seed and value of the finished trials at a grid point, and the step of the values if it is known.

    If training ended before the published step, it is the last step.
    """
    trials = study.trials[study.trials["outcome"].isin(FINISHED)]
    for key, value in published.where.items():
        trials = trials[trials[key].isna() if value is None else trials[key] == value]
    if published.step is None:
        column = published.metric if published.metric.startswith("best") else f"final_{published.metric}"
        return trials.assign(value=trials[column])[["arm", "seed", "value"]].dropna(), None
    curves = study.curves[study.curves["trial"].isin(trials["trial"]) & (study.curves["step"] <= published.step)]
    at = int(curves["step"].max()) if len(curves) else None
    there = curves[curves["step"] == at].set_index("trial")[published.metric]
    return trials.assign(value=trials["trial"].map(there))[["arm", "seed", "value"]].dropna(), at


def _orders(rows: Sequence[Row]) -> Iterator[Order]:
    """Yield the order of the differences of each metric, step and pair of arms."""
    kinds: dict[tuple[Metric, int | None, str, str], list[Row]] = {}
    for row in rows:
        if row.baseline is not None and row.agreements and row.published and row.interval.mean is not None:
            kinds.setdefault((row.metric, row.step, row.arm, row.baseline), []).append(row)
    for (metric, step, arm, baseline), some in kinds.items():
        means = [row.interval.mean or 0.0 for row in some]
        if found := order_agreement([row.published[0] for row in some], means):
            yield Order(metric, step, arm, baseline, len(some), *found)
