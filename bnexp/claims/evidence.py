"""What is known about each claim: a row for each regime and measure, from run folders and results of checks alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bnexp.analysis.comparison import ArmRow
from bnexp.analysis.evaluations import evaluation_rows
from bnexp.analysis.lagging import running_averages
from bnexp.analysis.runs import study_of
from bnexp.analysis.study import Study
from bnexp.analysis.tuning import tuning_noise
from bnexp.claims.arms import Chosen, chosen, rows_against
from bnexp.claims.pairs import Pairs, pairs_of, pairs_of_rounds
from bnexp.claims.regimes import ClaimRuns, Regime, regimes, runs_of
from bnexp.claims.results import CheckResult, read_result
from bnexp.claims.verdicts import Verdict, Word, holm, judge
from bnexp.config.claim_files import Claim
from bnexp.config.claims import MeasureSettings, Tier
from bnexp.config.experiment import ExperimentConfig
from bnexp.errors import InputError

NOT_EVALUATED = ("probe", "diverged", "seconds_per_step")
"""Values of a measure for which it doesn't matter with what statistics networks are evaluated."""


@dataclass(frozen=True)
class Judged:
    """One measure of a claim in one regime, judged."""

    regime: Regime
    """Equal settings, what every arm chose, or measured by a check in code."""
    measure: MeasureSettings
    pairs: Pairs
    verdict: Verdict
    arms: Mapping[str, ArmRow] = field(default_factory=dict)
    """The two arms over all grid points: times to the threshold, diverged trials, the time of a step; by name."""
    choices: tuple[Chosen, ...] = ()
    """What the two arms chose; where nothing is tuned, their learning rates."""
    decides: bool = False
    """Whether this is the row that the claim is judged by."""
    p_holm: float | None = None
    """Adjusted for the number of claims that are judged together; of rows that decide only."""


@dataclass(frozen=True)
class Evidence:
    """All that is known about a claim."""

    claim: Claim
    rows: tuple[Judged, ...] = ()
    studies: Mapping[Regime, Study] = field(default_factory=dict)
    experiment: ExperimentConfig | None = None
    """Of the tier; None where a check in code tests the claim."""
    result: CheckResult | None = None
    """What the claim's check found."""
    missing: bool = False
    """Whether something of it has not run, or can't be read."""
    unreadable: tuple[str, ...] = ()
    """What of it is there, and not as it was written."""

    @property
    def decisive(self) -> Judged | None:
        """The row that the claim is judged by."""
        return next((row for row in self.rows if row.decides), None)

    @property
    def word(self) -> Word | None:
        """The verdict; None for what has not run, or has none."""
        if self.decisive:
            return self.decisive.verdict.word
        if self.result and self.claim.settings.kind == "exact":
            return Word.holds if self.result.holds else Word.fails
        return None


def evidence(claims: Sequence[Claim], tier: Tier, runs: Path, *, everything: bool = True) -> list[Evidence]:
    """Return what is known about claims, in their order, with Holm's p among those that have a verdict from data.

    Args:
        claims: as from find_claims.
        tier: in which they ran.
        runs: folder of the run folders.
        everything: judge all measures, not only the first of each claim, which decides.

    Raises:
        BnexpError: as runs_of.
    """
    found = [
        _of_check(claim, runs) if claim.settings.check else _of_runs(claim, tier, runs, everything) for claim in claims
    ]
    adjusted = holm({each.claim.id: each.decisive.verdict.p for each in found if each.decisive})
    return [
        replace(
            each, rows=tuple(replace(row, p_holm=adjusted[each.claim.id]) if row.decides else row for row in each.rows)
        )
        for each in found
    ]


def _of_check(claim: Claim, runs: Path) -> Evidence:
    try:
        result = read_result(claim, runs)
    except InputError as error:
        return Evidence(claim, missing=True, unreadable=(str(error),))
    rows = []
    if result and result.measured:
        for number, measure in enumerate(claim.settings.measures):
            pairs = pairs_of_rounds(result.measured.baseline, result.measured.treated, measure)
            rows.append(Judged("measured", measure, pairs, judge(pairs, measure.margin), decides=number == 0))
    return Evidence(claim, tuple(rows), result=result, missing=result is None)


def _of_runs(claim: Claim, tier: Tier, runs: Path, everything: bool) -> Evidence:
    wanted, there = regimes(claim, tier), runs_of(claim, tier, runs)
    decisive = claim.settings.primary or list(wanted)[-1]
    measures = claim.settings.measures if everything else claim.settings.measures[:1]
    studies, unreadable = _studies(there, probed=everything or any(measure.probe for measure in measures))
    rows = [
        replace(row, decides=row.measure == claim.settings.measures[0] and regime == decisive)
        for regime, study in studies.items()
        for row in _judged(regime, there.finished[regime].config, study, measures)
    ]
    missing = len(studies) < len(wanted)
    return Evidence(claim, tuple(rows), studies, claim.experiments[tier], missing=missing, unreadable=unreadable)


def _studies(there: ClaimRuns, *, probed: bool) -> tuple[dict[Regime, Study], tuple[str, ...]]:
    """Return the trials of every run, and why some can't be read."""
    studies, unreadable = dict[Regime, Study](), list(there.unreadable.values())
    for regime, run in there.finished.items():
        try:
            studies[regime] = study_of([run], probed=probed)
        except InputError as error:
            unreadable.append(str(error))
    return studies, tuple(dict.fromkeys(unreadable))


def _judged(
    regime: Regime, config: ExperimentConfig, study: Study, measures: Sequence[MeasureSettings]
) -> Iterator[Judged]:
    asked = dict.fromkeys((measure.baseline, measure.threshold) for measure in measures)
    overall = {(base, least): rows_against(study, base, threshold=least)[1] for base, least in asked}
    for measure in measures:
        compared, pairs = (measure.baseline, measure.arm), pairs_of(study, measure)
        verdict = judge(pairs, measure.margin)
        arms = {row.arm: row for row in overall[measure.baseline, measure.threshold] if row.arm in compared}
        choices = tuple(chosen(config, compared))
        doubts = (*_remarks(study, arms, choices), *_evaluated(study, measure), *_tuned(config, compared))
        reasons = (*verdict.reasons, *doubts)
        yield Judged(regime, measure, pairs, replace(verdict, reasons=reasons), arms, choices)


def _tuned(config: ExperimentConfig, compared: Sequence[str]) -> Iterator[str]:
    if noise := tuning_noise(config, {arm: arm for arm in compared}):
        yield f"tuned: {noise}"


def _evaluated(study: Study, measure: MeasureSettings) -> Iterator[str]:
    """Say where running averages that lag decide what a measure of accuracy or loss sees."""
    if measure.value not in NOT_EVALUATED:
        evaluated = evaluation_rows(study, (), measure.baseline)
        yield from running_averages(study, (measure.baseline, measure.arm), evaluated)


def _remarks(study: Study, arms: Mapping[str, ArmRow], choices: Sequence[Chosen]) -> Iterator[str]:
    failed, planned = sum(row.failed for row in arms.values()), int(study.trials["arm"].isin(list(arms)).sum())
    if failed:
        yield f"{failed} of {planned} trials failed"
    if all(row.trials and row.diverged == row.trials for row in arms.values()):
        yield "all trials of both arms diverged"
    if edges := dict.fromkeys(choice.arm for choice in choices if choice.at_edge):
        yield f"at the edge: {' and '.join(edges)} chose an end of what was tried; better may lie beyond"
