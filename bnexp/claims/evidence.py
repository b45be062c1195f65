"""The evidence on each claim: a row for each regime and measure, read from run folders and results of checks."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from bnexp.analysis.choices import choices_at_edges
from bnexp.analysis.compare import arm_rows, evaluation_rows
from bnexp.analysis.comparison import ArmRow
from bnexp.analysis.fairness import running_averages
from bnexp.analysis.pairing import pair_trials
from bnexp.analysis.runs import study_of
from bnexp.analysis.study import Study, choose_metric
from bnexp.claims.catalogue import Claim, MeasureSettings
from bnexp.claims.entries import Tier
from bnexp.claims.looks import looks_at
from bnexp.claims.pairs import Pairs, pairs_of, pairs_of_rounds
from bnexp.claims.runs import CheckResult, Regime, read_result, regimes, runs_of
from bnexp.claims.verdicts import Verdict, VerdictLabel, holm, judge, together
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.sweep import Point
from bnexp.config.text import counted, listed
from bnexp.errors import InputError

RATE = "train.lr"
"""Shown for every arm, chosen or not."""


@dataclass(frozen=True)
class Chosen:
    """A value of one setting that an arm chose, or that it was given."""

    arm: str
    point: Mapping[str, Any]
    """Values of the swept settings; empty where nothing was chosen."""
    key: str
    value: Any
    at_edge: bool = False
    """True if it is the smallest or largest value that was tried."""
    study: int = 0
    """Which tuning study chose it, counted from 0."""


def chosen(config: ExperimentConfig, arms: Sequence[str], where: Point | None = None) -> Iterator[Chosen]:
    """Yield the values that arms chose at each grid point; if nothing is tuned, each learning rate once.

    Args:
        config: the experiment that was measured.
        arms: those of interest.
        where: count only grid points with these values of swept settings; None: all.
    """
    here = (where or {}).items()
    if not config.tuned:
        for arm in arms:
            points = [point for point in config.points() if here <= point.items()]
            rates = dict.fromkeys(config.settings(arm, point).train.lr for point in points)
            yield from (Chosen(arm, {}, RATE, rate) for rate in rates)
        return
    edges = list(choices_at_edges(config))
    for arm in arms:
        for each in (choice for choice in config.tuned if choice.arm == arm and here <= choice.point.items()):
            for key, value in each.values.items():
                yield Chosen(arm, each.point, key, value, (each, key) in edges, each.study)


def rows_against(
    study: Study, baseline: str, *, threshold: float = 0.9, by: Sequence[str] = ()
) -> tuple[str, tuple[ArmRow, ...]]:
    """Return the metric that trials are compared by, and a row for each arm, over all grid points or by some keys.

    Args:
        study: the trials.
        baseline: the arm that the others are compared to.
        threshold: an accuracy.
        by: the grid keys that get rows of their own.
    """
    metric = choose_metric(study.trials)
    paired = pair_trials(study, baseline=baseline, metric=metric, threshold=threshold)
    return metric, tuple(arm_rows(paired, by, baseline, metric))


NOT_EVALUATED = ("probe", "diverged", "seconds_per_step")
"""Values that don't depend on the statistics with which networks are evaluated."""
DETAILS = re.compile(r" \(.*?\)|; remedy: .*")
"""Parts of a warning that a line of a table has no room for; `bnexp compare` shows them."""


@dataclass(frozen=True)
class Judgement:
    """One measure of a claim in one regime, judged."""

    regime: Regime
    """Equal settings, what every arm chose, or measured by a check in code."""
    measure: MeasureSettings
    pairs: Pairs
    verdict: Verdict
    point: Mapping[str, Any] = field(default_factory=dict)
    """This row's values of the settings under the measure's `each`."""
    arms: Mapping[str, ArmRow] = field(default_factory=dict)
    """The two arms by name, over the grid points that count: time to the threshold, diverged trials, time of a step."""
    choices: tuple[Chosen, ...] = ()
    """Values that the two arms chose; where nothing is tuned, their learning rates."""
    decides: bool = False
    """True for the rows that the claim is judged by."""
    p_holm: float | None = None
    """Adjusted for the number of deciding rows of all claims; only deciding rows have it."""


@dataclass(frozen=True)
class Evidence:
    """All that is known about a claim."""

    claim: Claim
    rows: tuple[Judgement, ...] = ()
    studies: Mapping[Regime, Study] = field(default_factory=dict)
    experiment: ExperimentConfig | None = None
    """The one of the tier; None where a check in code tests the claim."""
    result: CheckResult | None = None
    """The findings of the claim's check."""
    missing: bool = False
    """True if a run or a check is missing or can't be read, or another look is to be taken."""
    unreadable: tuple[str, ...] = ()
    """Messages about files that were changed or lost."""

    @property
    def deciding(self) -> tuple[Judgement, ...]:
        """The rows that the claim is judged by: one, or one for each value of the first measure's `each`."""
        return tuple(row for row in self.rows if row.decides)

    @property
    def label(self) -> VerdictLabel | None:
        """The verdict; None for what has not run, or has none."""
        if self.deciding:
            return together([row.verdict.label for row in self.deciding])
        if self.result and self.claim.settings.kind == "exact":
            return VerdictLabel.holds if self.result.holds else VerdictLabel.fails
        return None


def evidence(claims: Sequence[Claim], tier: Tier, runs: Path, *, everything: bool = True) -> list[Evidence]:
    """Return the evidence on claims, in their order; rows that decide by data get Holm's adjusted p.

    Args:
        claims: as from find_claims.
        tier: in which they ran.
        runs: folder of the run folders.
        everything: judge all measures; otherwise only the first of each claim, which decides.

    Raises:
        BnexpError: as runs_of.
    """
    found = [_of_check(claim, runs) if claim.check else _of_runs(claim, tier, runs, everything) for claim in claims]
    adjusted = iter(holm([row.verdict.p for each in found for row in each.deciding]))
    return [
        replace(each, rows=tuple(replace(row, p_holm=next(adjusted)) if row.decides else row for row in each.rows))
        for each in found
    ]


def _of_check(claim: Claim, runs: Path) -> Evidence:
    try:
        result = read_result(claim, runs)
    except InputError as error:
        return Evidence(claim, missing=True, unreadable=(str(error),))
    rows = []
    for number, measure in enumerate(claim.settings.measures):
        for measured in result.measured if result else ():
            pairs = pairs_of_rounds(measured.baseline, measured.treated, measure)
            verdict = judge(pairs, measure.margin)
            rows.append(Judgement("measured", measure, pairs, verdict, measured.where, decides=number == 0))
    return Evidence(claim, tuple(rows), result=result, missing=result is None)


def _of_runs(claim: Claim, tier: Tier, runs: Path, everything: bool) -> Evidence:
    there, stages = runs_of(claim, tier, runs), claim.stages(tier)
    wanted, looks = regimes(stages[there.stage]), claim.settings.looks[: there.stage + 1]
    decisive = claim.settings.primary or list(wanted)[-1]
    measures = claim.settings.measures if everything else claim.settings.measures[:1]
    probed = everything or any(measure.probe for measure in measures)
    studies, unreadable = dict[Regime, Study](), list(there.unreadable.values())
    for regime, run in there.finished.items():
        try:
            studies[regime] = study_of([run], probed=probed)
        except InputError as error:
            unreadable.append(str(error))
    rows = [
        replace(row, decides=row.measure == claim.settings.measures[0] and regime == decisive)
        for regime, study in studies.items()
        for row in _judged(regime, there.finished[regime].config, study, measures, claim.settings.looks, len(looks))
    ]
    faults, missing = tuple(dict.fromkeys(unreadable)), len(studies) < len(wanted)
    found = Evidence(claim, tuple(rows), studies, stages[there.stage], missing=missing, unreadable=faults)
    more = there.stage + 1 < len(stages) and found.label is VerdictLabel.inconclusive
    return replace(found, missing=missing or more)


def undecided(claim: Claim, tier: Tier, runs: Path) -> bool:
    """Tell whether the data so far leave a claim INCONCLUSIVE: then it may look again with more seeds."""
    (found,) = evidence([claim], tier, runs, everything=False)
    return found.label is VerdictLabel.inconclusive


def _judged(
    regime: Regime,
    config: ExperimentConfig,
    study: Study,
    measures: Sequence[MeasureSettings],
    planned: Sequence[int],
    taken: int,
) -> Iterator[Judgement]:
    against = cache(partial(rows_against, study))
    for measure, point in ((each, point) for each in measures for point in each.rows(config)):
        here, compared = measure.at_row(point), (measure.baseline, measure.arm)
        pairs = pairs_of(study, here)
        first = 0 if study.tunings else config.seeds[0]  # studies are counted from 0
        looks = looks_at(pairs.seeds, first, planned, taken) if planned else None
        verdict = judge(pairs, measure.margin, looks)
        _, rows = against(measure.baseline, threshold=measure.threshold, by=tuple(here.at))
        arms = {row.arm: row for row in rows if row.arm in compared and row.point == here.at}
        choices = tuple(chosen(config, compared, here.at))
        reasons = (*verdict.reasons, *_doubts(config, study, measure, arms, choices))
        yield Judgement(regime, measure, pairs, replace(verdict, reasons=reasons), point, arms, choices)


def _doubts(
    config: ExperimentConfig,
    study: Study,
    measure: MeasureSettings,
    arms: Mapping[str, ArmRow],
    choices: Sequence[Chosen],
) -> Iterator[str]:
    """Yield warnings for the reader: failed trials, edges, lagging running averages, tuning noise."""
    if failed := sum(row.failed for row in arms.values()):
        yield f"{failed} of {failed + sum(row.trials for row in arms.values())} trials failed"
    if arms and all(row.trials and row.diverged == row.trials for row in arms.values()):
        yield "all trials of both arms diverged"
    if any(choice.at_edge for choice in choices):
        yield f"at the edge: {_edges(choices)} chose an end of what was tried; better may lie beyond"
    if measure.value not in NOT_EVALUATED:
        evaluated = list(evaluation_rows(study, (), measure.baseline))
        for line in running_averages(study, (measure.baseline, measure.arm), evaluated):
            yield DETAILS.sub("", line)
    if config.tuned and config.studies == 1:
        seeds, compared = counted(len(config.tune.seeds), "seed"), (measure.baseline, measure.arm)
        ties = max((each.ties or 0 for each in config.tuned if each.arm in compared), default=0)
        close = f", where up to {ties} values tie for the best" if ties > 1 else ""
        yield f"tuned with {seeds}{close}, and the noise of that choice is not in the interval"


def _edges(choices: Sequence[Chosen]) -> str:
    """Name the arms that chose an end; if tuning was repeated, with the number of such choices."""
    every, ends = Counter(each.arm for each in choices), Counter(each.arm for each in choices if each.at_edge)
    several = any(each.study for each in choices)
    return listed(f"{arm} ({count} of {every[arm]} times)" if several else arm for arm, count in ends.items())
