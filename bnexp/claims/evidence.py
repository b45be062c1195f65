"""What is known about each claim: a row for each regime and measure, from run folders and results of checks alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bnexp.analysis.comparison import ArmRow
from bnexp.analysis.runs import compare_study, study_of
from bnexp.analysis.study import Study
from bnexp.analysis.tuning import choices_at_edges
from bnexp.claims.pairs import Pairs, pairs_of, pairs_of_rounds
from bnexp.claims.regimes import Regime, finished_runs, regimes
from bnexp.claims.results import CheckResult, read_result
from bnexp.claims.verdicts import Verdict, Word, holm, judge
from bnexp.config.claim_files import Claim
from bnexp.config.claims import MeasureSettings, Tier
from bnexp.config.experiment import ExperimentConfig

EDGE = " (edge)"
"""Behind a choice that is the end of what was tried."""


@dataclass(frozen=True)
class Judged:
    """One measure of a claim in one regime, judged."""

    regime: Regime
    """Equal settings, what every arm chose, or measured by a check in code."""
    measure: MeasureSettings
    pairs: Pairs
    verdict: Verdict
    arms: Mapping[str, ArmRow]
    """The two arms over all grid points: times to the threshold, diverged trials, the time of a step; by name."""
    rates: Mapping[str, tuple[str, ...]]
    """By arm its learning rate, or all that it chose, with a remark where that is the end of what was tried."""
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
    result: CheckResult | None = None
    """What the claim's check found."""
    missing: bool = False
    """Whether something of it has not run."""

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


def evidence(claims: Sequence[Claim], tier: Tier, runs: Path) -> list[Evidence]:
    """Return what is known about claims, in their order, with Holm's p among those that have a verdict from data.

    Raises:
        InputError: what a check or a run wrote is damaged.
    """
    found = [_of_check(claim, runs) if claim.settings.check else _of_runs(claim, tier, runs) for claim in claims]
    adjusted = holm({each.claim.id: each.decisive.verdict.p for each in found if each.decisive})
    return [
        replace(
            each, rows=tuple(replace(row, p_holm=adjusted[each.claim.id]) if row.decides else row for row in each.rows)
        )
        for each in found
    ]


def _of_check(claim: Claim, runs: Path) -> Evidence:
    result = read_result(claim, runs)
    rows = []
    if result and result.measured:
        for number, measure in enumerate(claim.settings.measures):
            pairs = pairs_of_rounds(result.measured.baseline, result.measured.treated, measure)
            rows.append(Judged("measured", measure, pairs, judge(pairs, measure.margin), {}, {}, decides=number == 0))
    return Evidence(claim, tuple(rows), result=result, missing=result is None)


def _of_runs(claim: Claim, tier: Tier, runs: Path) -> Evidence:
    wanted, found = regimes(claim, tier), finished_runs(claim, tier, runs)
    studies: dict[Regime, Study] = {regime: study_of([run], probed=True) for regime, run in found.items()}
    decisive = claim.settings.primary or list(wanted)[-1]
    rows = [
        replace(_judged(regime, run.config, studies[regime], measure), decides=number == 0 and regime == decisive)
        for regime, run in found.items()
        for number, measure in enumerate(claim.settings.measures)
    ]
    return Evidence(claim, tuple(rows), studies, missing=len(found) < len(wanted))


def _judged(regime: Regime, config: ExperimentConfig, study: Study, measure: MeasureSettings) -> Judged:
    pairs = pairs_of(study, measure)
    verdict = judge(pairs, measure.margin)
    compared = (measure.baseline, measure.arm)
    overall = compare_study(study, baseline=measure.baseline, threshold=measure.threshold, by=[])
    arms = {row.arm: row for row in overall.rows if row.arm in compared}
    rates = {arm: tuple(_rates(config, arm)) for arm in compared}
    reasons = tuple(_remarks(study, arms, rates))
    return Judged(regime, measure, pairs, replace(verdict, reasons=(*verdict.reasons, *reasons)), arms, rates)


def _remarks(study: Study, arms: Mapping[str, ArmRow], rates: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    failed, planned = sum(row.failed for row in arms.values()), int(study.trials["arm"].isin(list(arms)).sum())
    if failed:
        yield f"{failed} of {planned} trials failed"
    if all(row.trials and row.diverged == row.trials for row in arms.values()):
        yield "all trials of both arms diverged"
    if edges := [arm for arm, texts in rates.items() if any(EDGE in text for text in texts)]:
        yield f"at the edge: {' and '.join(edges)} chose an end of what was tried; better may lie beyond"


def _rates(config: ExperimentConfig, arm: str) -> Iterator[str]:
    """Yield the learning rates of an arm, or all that it chose, each once."""
    if not config.tuned:
        settings = (config.settings(arm, point) for point in config.points())
        yield from dict.fromkeys(f"{each.train.lr:.3g}" for each in settings)
        return
    edges = [(choice, key) for choice, key in choices_at_edges(config)]
    chosen = ((choice, key) for choice in config.tuned if choice.arm == arm for key in choice.values)
    yield from dict.fromkeys(
        _written(key, choice.values[key]) + (EDGE if (choice, key) in edges else "") for choice, key in chosen
    )


def _written(key: str, value: object) -> str:
    text = f"{value:.3g}" if isinstance(value, float | int) else str(value)
    return text if key == "train.lr" else f"{key.partition('.')[2]} {text}"
