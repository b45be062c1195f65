"""Results on claims as rows of plain values, and how their numbers are written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp
from typing import Any

import numpy as np

from bnexp.analysis.stats import is_constant
from bnexp.analysis.study import is_number
from bnexp.claims.catalogue import Claim
from bnexp.claims.evidence import Chosen, Evidence, Judgement
from bnexp.claims.verdicts import VerdictLabel, together
from bnexp.config.text import listed
from bnexp.report.style import point_texts, short_keys, value_text
from bnexp.report.summary import without_nan
from bnexp.report.table import MISSING, Cell

MOST_CHOICES = 4
"""If an arm made more choices than this, only their range is shown."""
NOT_RUN, NO_VERDICT, UNREADABLE = "not run", "described", "not readable"
"""Shown in place of a verdict."""

Estimate = tuple[float, float | None, float | None]
"""A mean and the ends of its interval."""


@dataclass(frozen=True)
class Row:
    """One line of the table, as scripts get it; None where something does not apply."""

    claim: str
    regime: str
    """equal, tuned, measured or exact."""
    decides: bool
    """True if the claim is judged by this row: the first one, and those for each value of a setting."""
    verdict: str
    reasons: tuple[str, ...] = ()
    measure: str = ""
    where: str = ""
    """The row's value of a swept setting, if each value has a row."""
    rates: tuple[str, ...] = ()
    """The learning rates or other values that each arm chose, the baseline first."""
    choices: tuple[Chosen, ...] = ()
    n: int | None = None
    looks: tuple[int, int] | None = None
    """How many times the data were looked at, and how many times at most; null if seeds were fixed beforehand."""
    arms: tuple[str, str] | None = None
    """Baseline and arm."""
    baseline: tuple[float, float | None] | None = None
    """Mean and standard deviation over the seeds."""
    treated: tuple[float, float | None] | None = None
    change: Estimate | None = None
    """Positive if it agrees with the claim. If `ratio` is true, it is a ratio, and so is the margin."""
    ratio: bool = False
    margin: float | None = None
    effect: float | None = None
    p: float | None = None
    p_holm: float | None = None
    time_to: tuple[str, ...] = ()
    """The median epoch at which each arm reached the threshold; then which arm was first."""
    diverged: tuple[str, ...] = ()
    """How many trials of each arm diverged, and of how many."""
    step_ratio: float | None = None
    """Time of a step, arm / baseline, of the runs as they went."""
    published: tuple[str, ...] = ()


def rows_of(evidence: Evidence) -> list[Row]:
    """Return the rows of a claim, the verdict first; rows of one measure stand together.

    If several rows decide, a row before them has the verdict on the claim, and says where each verdict was found.
    """
    deciding, claim, published = evidence.deciding, evidence.claim, published_texts(evidence.claim)
    measures, regime = list(claim.settings.measures), deciding[0].regime if deciding else None
    ordered = sorted(evidence.rows, key=lambda row: (measures.index(row.measure), row.regime != regime))
    rows = [_judged(claim, row) for row in ordered]
    if len(deciding) == 1:
        return [replace(rows[0], published=published), *rows[1:]]
    return [_of_all(evidence, published) if deciding else _without_data(evidence, published), *rows]


def rows_json(found: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Return the rows for scripts: numbers as numbers, null for what isn't known or finite."""
    return [without_nan(asdict(row)) for each in found for row in rows_of(each)]


def headline(evidence: Evidence) -> str:
    """Return the verdict on a claim; if deciding rows differ, with their verdicts."""
    row = rows_of(evidence)[0]
    if len(evidence.deciding) < 2 or not row.reasons:
        return row.verdict
    if evidence.label is VerdictLabel.depends:
        return f"{row.verdict}: {'; '.join(row.reasons)}"
    decided = [each for each in row.reasons if not each.startswith(VerdictLabel.inconclusive)]
    return f"{row.verdict}, but {'; '.join(decided)}"


def _of_all(evidence: Evidence, published: tuple[str, ...]) -> Row:
    """Return the row that sums up several deciding rows."""
    claim, first = evidence.claim, evidence.deciding[0]
    word = _verdict_text(claim, together([row.verdict.label for row in evidence.deciding]))
    places: dict[VerdictLabel, list[str]] = {}
    for row in evidence.deciding:
        places.setdefault(row.verdict.label, []).append(where_text(row.point))
    said = tuple(f"{label} with {listed(where)}" for label, where in places.items()) if len(places) > 1 else ()
    return Row(claim.id, first.regime, True, word, said, first.measure.label, published=published)


def where_text(point: Mapping[str, Any]) -> str:
    """Write where a row was measured: "relu · depth 20". Numbers get the name of their setting."""
    names = short_keys(list(point))
    return " · ".join(
        value if isinstance(value, str) else f"{names[key]} {value_text(value)}" for key, value in point.items()
    )


def _without_data(evidence: Evidence, published: tuple[str, ...]) -> Row:
    """Return the row of a claim that data don't decide: exact, described, not run or not readable."""
    claim, result, regime, reasons = evidence.claim, evidence.result, "-", list[str]()
    measure = claim.settings.measures[0].label if claim.settings.measures else ""
    word = NOT_RUN if evidence.missing else NO_VERDICT
    if evidence.unreadable:
        # The message about what a check wrote has a remedy of its own.
        remedy = "" if claim.settings.check else f"; bnexp claims run {claim.command_line_name} restores it"
        word, reasons = UNREADABLE, [f"{fault}{remedy}" for fault in evidence.unreadable]
    elif result and evidence.label:
        regime, word, worst = "exact", _verdict_text(claim, evidence.label), result.worst
        reasons = [f"{each.what}: {each.found}" for each in result.findings if not each.holds]
        if result.holds and worst:
            allowed = f"worst error {worst.error:.2g} of {worst.tolerance:.0e} allowed"
            reasons.append(allowed if worst.tolerance else "exactly")
    return Row(claim.id, regime, True, word, tuple(reasons), measure, published=published)


def _judged(claim: Claim, row: Judgement) -> Row:
    measure, verdict = row.measure, row.verdict
    compared, ratio = (measure.baseline, measure.arm), measure.as_ratio
    arms = [row.arms[arm] for arm in compared if arm in row.arms]
    by_arm = [[each for each in row.choices if each.arm == arm] for arm in compared]
    margin = exp(measure.margin) if ratio else measure.margin
    mean, low, high = (exp(end) if ratio and end is not None else end for end in verdict.estimate)
    times = tuple("not reached" if arm.epochs_to_threshold is None else f"{arm.epochs_to_threshold}" for arm in arms)
    if len(arms) == 2 and arms[1].pairs:
        times = (*times, f"first in {arms[1].first} of {arms[1].pairs}")
    return Row(
        claim=claim.id,
        regime=row.regime,
        decides=row.decides,
        verdict=_verdict_text(claim, verdict.label),
        reasons=verdict.reasons,
        measure=measure.label,
        where=where_text(row.point),
        rates=tuple(choices_text(choices) for choices in by_arm if choices),
        choices=row.choices,
        n=verdict.n,
        looks=verdict.looks,
        arms=compared,
        baseline=_spread(row.pairs.baseline),
        treated=_spread(row.pairs.treated),
        change=None if mean is None else (mean, low, high),
        ratio=ratio,
        margin=margin,
        effect=verdict.effect,
        p=verdict.p,
        p_holm=row.p_holm,
        time_to=times,
        diverged=tuple(f"{arm.diverged}/{arm.trials}" for arm in arms),
        step_ratio=arms[1].step_cost if len(arms) == 2 else None,
    )


def _spread(values: np.ndarray) -> tuple[float, float | None] | None:
    if not len(values):
        return None
    with np.errstate(invalid="ignore"):  # what isn't finite has no spread
        deviation = 0.0 if is_constant(values) else float(values.std(ddof=1))
        return float(values.mean()), deviation if len(values) > 1 else None


def _verdict_text(claim: Claim, label: VerdictLabel) -> str:
    return str(label) if claim.settings.as_worded else f"{label} as corrected"


def published_texts(claim: Claim) -> tuple[str, ...]:
    """Write the numbers from the literature that stand beside ours."""
    return tuple(
        f"{each.found}{'†' * each.unverified} ({each.study}: {each.setting}{'; same setting' * each.same_setting})"
        for each in claim.settings.published
    )


def format_number(value: float, digits: int = 3) -> str:
    """Write a number with this many significant digits, as 110 rather than 1.1e+02."""
    return f"{float(f'{value:.{digits}g}'):g}"


def margin_text(margin: float | None, ratio: bool) -> str:
    """Write the least change that counts."""
    return MISSING if margin is None else f"{'×' if ratio else ''}{format_number(margin)}"


def change_cell(change: Estimate | None, ratio: bool) -> Cell:
    """Write a change with its interval; a ratio as ×."""
    if change is None:
        return Cell(MISSING)
    mean, *ends = [
        f"×{format_number(end)}" if ratio else f"{'+' if end > 0 else ''}{format_number(end)}"
        for end in change
        if end is not None
    ]
    return Cell(mean, f"[{', '.join(ends)}]" if ends else "")


def spread_text(values: tuple[float, float | None] | None) -> str:
    """Write a mean and a standard deviation."""
    if values is None:
        return MISSING
    mean, deviation = values
    return format_number(mean) if deviation is None else f"{format_number(mean)} ± {format_number(deviation, 2)}"


def choices_text(choices: Sequence[Chosen]) -> str:
    """Write what one arm chose: "lr 0.01 at depth 11, 1e-06 at depth 41", or the range of many choices."""
    names = short_keys(list(dict.fromkeys(each.key for each in choices)))
    return "; ".join(f"{name} {_values([each for each in choices if each.key == key])}" for key, name in names.items())


def _values(choices: Sequence[Chosen]) -> str:
    texts, edges = dict.fromkeys(value_text(each.value) for each in choices), sum(each.at_edge for each in choices)
    edge = f", {edges} of {len(choices)} at an edge" if edges else ""
    if len(texts) == 1:
        return next(iter(texts)) + (" (edge)" if edges and len(choices) == 1 else edge)
    studies = len({each.study for each in choices})
    if len(choices) == studies:
        times = Counter(f"{value_text(each.value)}{' (edge)' * each.at_edge}" for each in choices)
        return ", ".join(f"{text} in {count} of {studies} studies" for text, count in times.most_common())
    if len(choices) > MOST_CHOICES:
        values = [each.value for each in choices]
        known = sorted(values, key=lambda value: (0, value) if is_number(value) else (1, str(value)))
        return f"{value_text(known[0])} … {value_text(known[-1])}{edge}"
    told = []
    for each in choices:
        # Where it was chosen, as far as that differs from the other choices.
        place = {key: value for key, value in each.point.items() if any(other.point[key] != value for other in choices)}
        at = f" at {' '.join(point_texts(place))}" if place else ""
        told.append(f"{value_text(each.value)}{at}{' (edge)' if each.at_edge else ''}")
    return ", ".join(told)
