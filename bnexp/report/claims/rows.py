"""What is known about claims as rows of plain values: for the table, for JSON, and for the pages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, isfinite
from typing import Any

import numpy as np

from bnexp.analysis.comparison import ArmRow
from bnexp.claims.evidence import EDGE, Evidence, Judged
from bnexp.claims.results import CheckResult
from bnexp.claims.verdicts import Word
from bnexp.config.claim_files import Claim
from bnexp.config.claims import MeasureSettings

MOST_RATES = 4
"""Of an arm that are written out."""
NOT_RUN, NO_VERDICT = "not run", "described"
"""In place of a verdict."""


@dataclass(frozen=True)
class Row:
    """One line of the table; None is what does not apply."""

    claim: str
    regime: str
    """equal, tuned, measured or exact."""
    decides: bool
    verdict: str
    reasons: tuple[str, ...] = ()
    measure: str = ""
    rates: tuple[str, ...] = ()
    """By arm, the baseline first."""
    n: int | None = None
    arms: tuple[str, str] | None = None
    """Baseline and arm."""
    baseline: tuple[float, float | None] | None = None
    """Mean and standard deviation over the seeds."""
    treated: tuple[float, float | None] | None = None
    change: tuple[float, float | None, float | None] | None = None
    """Mean and interval, positive where they agree with the claim; ratios where `ratio` says so."""
    ratio: bool = False
    effect: float | None = None
    p: float | None = None
    p_holm: float | None = None
    time_to: tuple[str, ...] = ()
    """By arm the median epoch of reaching the threshold, then who was first."""
    diverged: tuple[str, ...] = ()
    """By arm, of its trials."""
    step_ratio: float | None = None
    """Time of a step, arm / baseline."""
    published: tuple[str, ...] = ()


def rows(found: Sequence[Evidence]) -> list[Row]:
    """Return the lines of claims, each claim's first with its verdict, then the other regime and the other measures."""
    return [row for each in found for row in _of(each)]


def rows_json(found: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Return the same for scripts: numbers as numbers, null for what isn't known or finite."""
    return [{name: _plain(value) for name, value in vars(row).items()} for row in rows(found)]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _of(evidence: Evidence) -> Iterator[Row]:
    name, published = evidence.claim.id, tuple(_published(evidence))
    if evidence.rows and not evidence.decisive:
        yield Row(name, "-", decides=True, verdict=NOT_RUN, measure=evidence.rows[0].measure.label, published=published)
    ordered = sorted(evidence.rows, key=lambda row: not row.decides)
    yield from (_judged(evidence.claim, row, published if row.decides else ()) for row in ordered)
    if evidence.result and not evidence.rows:
        yield _checked(evidence.claim, evidence.result, published)
    elif not evidence.rows:
        described = evidence.claim.settings.kind == "descriptive" and not evidence.missing
        yield Row(name, "-", decides=True, verdict=NO_VERDICT if described else NOT_RUN, published=published)


def _judged(claim: Claim, row: Judged, published: tuple[str, ...]) -> Row:
    measure, verdict, pairs = row.measure, row.verdict, row.pairs
    compared = (measure.baseline, measure.arm)
    arms = [row.arms[arm] for arm in compared if arm in row.arms]
    return Row(
        claim=claim.id,
        regime=row.regime,
        decides=row.decides,
        verdict=_word(claim, verdict.word),
        reasons=verdict.reasons,
        measure=measure.label,
        rates=tuple(_rates(row.rates[arm]) for arm in compared if arm in row.rates),
        n=verdict.n,
        arms=compared,
        baseline=_spread(pairs.baseline),
        treated=_spread(pairs.treated),
        change=_change(row),
        ratio=as_ratio(measure),
        effect=verdict.effect,
        p=verdict.p,
        p_holm=row.p_holm,
        time_to=tuple(_times(arms)),
        diverged=tuple(f"{arm.diverged}/{arm.trials}" for arm in arms),
        step_ratio=arms[1].step_cost if len(arms) == 2 else None,
        published=published,
    )


def as_ratio(measure: MeasureSettings) -> bool:
    """Tell whether a change is read as a ratio: it is a logarithm, and not a slope of one."""
    return measure.of_logarithms and not (measure.over and measure.over.by == "slope")


def _rates(texts: Sequence[str]) -> str:
    """Write rates one after the other, of many the first and the last, and all that are at an edge."""
    if len(texts) <= MOST_RATES:
        return ", ".join(texts)
    edges = [text for text in texts[1:-1] if EDGE in text]
    return ", ".join([texts[0], "…", *edges, *(["…"] if edges else []), texts[-1]])


def _change(row: Judged) -> tuple[float, float | None, float | None] | None:
    verdict = row.verdict
    if verdict.change is None:
        return None
    ends = (verdict.change, verdict.low, verdict.high)
    if not as_ratio(row.measure):
        return ends
    mean, low, high = (None if end is None else exp(end) for end in ends)
    assert mean is not None
    return mean, low, high


def _spread(values: np.ndarray) -> tuple[float, float | None] | None:
    if not len(values):
        return None
    with np.errstate(invalid="ignore"):  # what isn't finite has no spread
        return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def _times(arms: Sequence[ArmRow]) -> Iterator[str]:
    for arm in arms:
        yield "not reached" if arm.epochs_to_threshold is None else f"{arm.epochs_to_threshold}"
    if len(arms) == 2 and arms[1].pairs:
        yield f"first in {arms[1].first} of {arms[1].pairs}"


def _checked(claim: Claim, result: CheckResult, published: tuple[str, ...]) -> Row:
    worst = result.worst
    failed = [finding for finding in result.findings if not finding.holds]
    reasons = tuple(f"{each.what}: {each.found}" for each in failed)
    if not failed and worst is not None:
        reasons = (f"worst error {worst.error:.2g} of {worst.tolerance:.0e} allowed" if worst.tolerance else "exactly",)
    verdict = _word(claim, Word.fails if failed else Word.holds)
    return Row(claim.id, "exact", decides=True, verdict=verdict, reasons=reasons, published=published)


def _word(claim: Claim, word: Word) -> str:
    return str(word) if claim.settings.as_worded else f"{word} as corrected"


def _published(evidence: Evidence) -> Iterator[str]:
    for each in evidence.claim.settings.published:
        mark = "†" if each.unverified else ""
        yield f"{each.found}{mark} ({each.study}{', same setting' if each.same_setting else ''})"
