"""What is known about claims as rows of plain values: for tables, for JSON, and for the pages."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from math import exp, isfinite
from typing import Any

import numpy as np

from bnexp.analysis.comparison import ArmRow
from bnexp.analysis.stats import is_constant
from bnexp.claims.catalogue import Claim, MeasureSettings
from bnexp.claims.evidence import Chosen, Evidence, Judgement, Verdict, VerdictLabel
from bnexp.config.load import shipped
from bnexp.report.style import short_keys, value_text

MOST_CHOICES = 4
"""Of an arm that are written out; of more their range."""


def format_number(value: float, digits: int = 3) -> str:
    """Write a number with so many digits that count, as 110 rather than 1.1e+02."""
    return f"{float(f'{value:.{digits}g}'):g}"


def margin_text(margin: float | None, ratio: bool) -> str:
    """Write the least change that counts."""
    return "-" if margin is None else f"{'×' if ratio else ''}{format_number(margin)}"


def change_text(change: tuple[float, float | None, float | None] | None, ratio: bool) -> str:
    """Write a change with its interval; a ratio as ×."""
    if change is None:
        return "-"
    mean, low, high = (None if end is None else _signed(end, ratio) for end in change)
    return f"{mean}" if low is None or high is None else f"{mean} [{low}, {high}]"


def spread_text(values: tuple[float, float | None] | None) -> str:
    """Write a mean and a standard deviation."""
    if values is None:
        return "-"
    mean, deviation = values
    return format_number(mean) if deviation is None else f"{format_number(mean)} ± {format_number(deviation, 2)}"


def choices_text(choices: Sequence[Chosen]) -> str:
    """Write what one arm chose: "lr 0.01 at depth 11, 1e-06 at depth 41", or of many choices the range."""
    names = short_keys(list(dict.fromkeys(each.key for each in choices)))
    return "; ".join(f"{name} {_values([each for each in choices if each.key == key])}" for key, name in names.items())


def _signed(value: float, ratio: bool) -> str:
    return f"×{format_number(value)}" if ratio else ("+" if value > 0 else "") + format_number(value)


def _values(choices: Sequence[Chosen]) -> str:
    values = list(dict.fromkeys(value_text(each.value) for each in choices))
    edges = sum(each.at_edge for each in choices)
    if len(values) == 1:
        return values[0] + _edges(edges, len(choices))
    if len(choices) <= MOST_CHOICES:
        return ", ".join(" ".join(_one(each, choices)) for each in choices)
    known = sorted((each.value for each in choices), key=_order)
    return f"{value_text(known[0])} … {value_text(known[-1])}{_edges(edges, len(choices))}"


def _one(choice: Chosen, choices: Sequence[Chosen]) -> Iterator[str]:
    """Yield the value, where it was chosen as far as that differs from the other choices, and whether at an edge."""
    yield value_text(choice.value)
    differing = _differing([each.point for each in choices])
    short = short_keys(list(choice.point))
    if texts := [f"{short[key]} {value_text(choice.point[key])}" for key in differing]:
        yield f"at {' '.join(texts)}"
    if choice.at_edge:
        yield "(edge)"


def _differing(points: Sequence[Mapping[str, Any]]) -> list[str]:
    return [key for key in points[0] if len({value_text(point[key]) for point in points}) > 1]


def _edges(count: int, of: int) -> str:
    if not count:
        return ""
    return " (edge)" if of == 1 else f", {count} of {of} at an edge"


def _order(value: Any) -> tuple[bool, Any]:
    """Numbers in their order, then all else."""
    number = isinstance(value, int | float)
    return not number, value if number else str(value)


NOT_RUN, NO_VERDICT, UNREADABLE = "not run", "described", "not readable"
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
    """By arm what it chose, the baseline first."""
    choices: tuple[Chosen, ...] = ()
    """The same, choice by choice."""
    n: int | None = None
    arms: tuple[str, str] | None = None
    """Baseline and arm."""
    baseline: tuple[float, float | None] | None = None
    """Mean and standard deviation over the seeds."""
    treated: tuple[float, float | None] | None = None
    change: tuple[float, float | None, float | None] | None = None
    """Mean and interval, positive where they agree with the claim; ratios where `ratio` says so."""
    ratio: bool = False
    margin: float | None = None
    """The least change that counts; a ratio where `ratio` says so."""
    effect: float | None = None
    p: float | None = None
    p_holm: float | None = None
    time_to: tuple[str, ...] = ()
    """By arm the median epoch of reaching the threshold, then who was first."""
    diverged: tuple[str, ...] = ()
    """By arm, of its trials."""
    step_ratio: float | None = None
    """Time of a step, arm / baseline, of the runs as they went."""
    published: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClaimReport:
    """What is known about one claim, in rows."""

    evidence: Evidence
    rows: tuple[Row, ...]
    """The first has the verdict; those of one measure stand together, the regime that decides first."""

    @property
    def claim(self) -> Claim:
        """What it is about."""
        return self.evidence.claim

    @property
    def head(self) -> Row:
        """The row with the verdict."""
        return self.rows[0]

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows with data."""
        return tuple(row for row in self.rows if row.arms)


def claim_reports(found: Sequence[Evidence]) -> list[ClaimReport]:
    """Return a report on each claim, in their order."""
    return [ClaimReport(each, tuple(_rows(each))) for each in found]


def rows_json(reports: Sequence[ClaimReport]) -> list[dict[str, Any]]:
    """Return the rows for scripts: numbers as numbers, null for what isn't known or finite."""
    return [{name: _plain(value) for name, value in vars(row).items()} for each in reports for row in each.rows]


def as_ratio(measure: MeasureSettings) -> bool:
    """Tell whether a change is read as a ratio: it is a logarithm, and not a slope of one."""
    return measure.of_logarithms and not (measure.over and measure.over.by == "slope")


def command_line_name(claim: Claim) -> str:
    """Return how a claim is named on the command line: by its name, or one of the reader's own by its file."""
    return claim.id if str(shipped("claims").get(claim.id)) == claim.source else claim.source


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value


def _rows(evidence: Evidence) -> Iterator[Row]:
    measures = list(evidence.claim.settings.measures)
    ordered = sorted(evidence.rows, key=lambda row: (measures.index(row.measure), not _like_decisive(row, evidence)))
    if not evidence.decisive:
        yield _without_data(evidence)
    published = tuple(_published(evidence.claim))
    yield from (_judged(evidence.claim, row, published if row.decides else ()) for row in ordered)


def _like_decisive(row: Judgement, evidence: Evidence) -> bool:
    return evidence.decisive is not None and row.regime == evidence.decisive.regime


def _without_data(evidence: Evidence) -> Row:
    """Return the row of a claim that data don't decide: exact, described, not run or not readable."""
    claim, regime, reasons = evidence.claim, "-", tuple[str, ...]()
    measure = claim.settings.measures[0].label if claim.settings.measures else ""
    if evidence.unreadable:
        word, reasons = UNREADABLE, tuple(_remedy(claim, fault) for fault in evidence.unreadable)
    elif evidence.missing:
        word = NOT_RUN
    elif evidence.result and evidence.label:
        regime, word, reasons = "exact", _verdict_text(claim, evidence.label), tuple(_findings(evidence))
    else:
        word = NO_VERDICT
    published = tuple(_published(claim))
    return Row(claim.id, regime, decides=True, verdict=word, reasons=reasons, measure=measure, published=published)


def _remedy(claim: Claim, fault: str) -> str:
    """Say what to do about a fault; what a check wrote says that itself."""
    return fault if claim.settings.check else f"{fault}; bnexp claims run {command_line_name(claim)} restores it"


def _judged(claim: Claim, row: Judgement, published: tuple[str, ...]) -> Row:
    measure, verdict, pairs = row.measure, row.verdict, row.pairs
    compared, ratio = (measure.baseline, measure.arm), as_ratio(measure)
    arms = [row.arms[arm] for arm in compared if arm in row.arms]
    by_arm = [[each for each in row.choices if each.arm == arm] for arm in compared]
    return Row(
        claim=claim.id,
        regime=row.regime,
        decides=row.decides,
        verdict=_verdict_text(claim, verdict.label),
        reasons=(*verdict.reasons, *_below(verdict, measure)),
        measure=measure.label,
        rates=tuple(choices_text(choices) for choices in by_arm if choices),
        choices=row.choices,
        n=verdict.n,
        arms=compared,
        baseline=_spread(pairs.baseline),
        treated=_spread(pairs.treated),
        change=_change(verdict, ratio),
        ratio=ratio,
        margin=exp(measure.margin) if ratio else measure.margin,
        effect=verdict.effect,
        p=verdict.p,
        p_holm=row.p_holm,
        time_to=tuple(_times(arms)),
        diverged=tuple(f"{arm.diverged}/{arm.trials}" for arm in arms),
        step_ratio=arms[1].step_cost if len(arms) == 2 else None,
        published=published,
    )


def _below(verdict: Verdict, measure: MeasureSettings) -> Iterator[str]:
    """Say why it is unclear although the interval is above 0."""
    above = verdict.low is not None and verdict.low > 0
    if verdict.label is VerdictLabel.inconclusive and above and (verdict.change or 0) < measure.margin:
        ratio = as_ratio(measure)
        yield f"the mean is below the margin of {margin_text(exp(measure.margin) if ratio else measure.margin, ratio)}"


def _change(verdict: Verdict, ratio: bool) -> tuple[float, float | None, float | None] | None:
    if verdict.change is None:
        return None
    mean, low, high = (
        exp(end) if ratio and end is not None else end for end in (verdict.change, verdict.low, verdict.high)
    )
    assert mean is not None
    return mean, low, high


def _spread(values: np.ndarray) -> tuple[float, float | None] | None:
    if not len(values):
        return None
    with np.errstate(invalid="ignore"):  # what isn't finite has no spread
        deviation = 0.0 if is_constant(values) else float(values.std(ddof=1))
        return float(values.mean()), deviation if len(values) > 1 else None


def _times(arms: Sequence[ArmRow]) -> Iterator[str]:
    for arm in arms:
        yield "not reached" if arm.epochs_to_threshold is None else f"{arm.epochs_to_threshold}"
    if len(arms) == 2 and arms[1].pairs:
        yield f"first in {arms[1].first} of {arms[1].pairs}"


def _findings(evidence: Evidence) -> Iterator[str]:
    assert evidence.result
    worst = evidence.result.worst
    failed = [finding for finding in evidence.result.findings if not finding.holds]
    yield from (f"{each.what}: {each.found}" for each in failed)
    if not failed and worst is not None:
        yield f"worst error {worst.error:.2g} of {worst.tolerance:.0e} allowed" if worst.tolerance else "exactly"


def _verdict_text(claim: Claim, label: VerdictLabel) -> str:
    return str(label) if claim.settings.as_worded else f"{label} as corrected"


def _published(claim: Claim) -> Iterator[str]:
    for each in claim.settings.published:
        mark, same = "†" if each.unverified else "", "; same setting" if each.same_setting else ""
        yield f"{each.found}{mark} ({each.study}: {each.setting}{same})"
