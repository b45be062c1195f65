"""What was found about claims as rows of plain values, and in tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp
from typing import Any

import numpy as np

from bnexp.analysis.stats import is_constant
from bnexp.analysis.study import is_number
from bnexp.claims.catalogue import Claim
from bnexp.claims.evidence import Chosen, Evidence, Judgement
from bnexp.claims.verdicts import VerdictLabel
from bnexp.report.columns import DIVERGED, DIVERGED_NOTE, number, p_value
from bnexp.report.style import point_texts, short_keys, value_text
from bnexp.report.summary import without_nan
from bnexp.report.table import MISSING, Cell, Column, Table, plain_table

MOST_CHOICES = 4
"""The range describes an arm with more choices than this."""
MOST_NAMED = 8
"""Up to this many claims that have not run are named; of more the number is given."""
NOT_RUN, NO_VERDICT, UNREADABLE = "not run", "described", "not readable"
"""Words in place of a verdict."""

Estimate = tuple[float, float | None, float | None]
"""A mean and the ends of its interval."""


@dataclass(frozen=True)
class Row:
    """One line of the table, as scripts get it; None is what does not apply."""

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
    n: int | None = None
    arms: tuple[str, str] | None = None
    """Baseline and arm."""
    baseline: tuple[float, float | None] | None = None
    """Mean and standard deviation over the seeds."""
    treated: tuple[float, float | None] | None = None
    change: Estimate | None = None
    """Positive where it agrees with the claim; a ratio where `ratio` says so, as is the margin."""
    ratio: bool = False
    margin: float | None = None
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


def rows_of(evidence: Evidence) -> list[Row]:
    """Return what is known about a claim: first the verdict; rows of one measure stand together."""
    decisive, claim, published = evidence.decisive, evidence.claim, published_texts(evidence.claim)
    measures, regime = list(claim.settings.measures), decisive and decisive.regime
    ordered = sorted(evidence.rows, key=lambda row: (measures.index(row.measure), row.regime != regime))
    rows = [_judged(claim, row, published if row.decides else ()) for row in ordered]
    return rows if decisive else [_without_data(evidence, published), *rows]


def rows_json(found: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Return the rows for scripts: numbers as numbers, null for what isn't known or finite."""
    return [without_nan(asdict(row)) for each in found for row in rows_of(each)]


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


def _judged(claim: Claim, row: Judgement, published: tuple[str, ...]) -> Row:
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
        rates=tuple(choices_text(choices) for choices in by_arm if choices),
        choices=row.choices,
        n=verdict.n,
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
        published=published,
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
    """Write a number with so many digits that count, as 110 rather than 1.1e+02."""
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
    """Write what one arm chose: "lr 0.01 at depth 11, 1e-06 at depth 41", or of many choices the range."""
    names = short_keys(list(dict.fromkeys(each.key for each in choices)))
    return "; ".join(f"{name} {_values([each for each in choices if each.key == key])}" for key, name in names.items())


def _values(choices: Sequence[Chosen]) -> str:
    texts, edges = dict.fromkeys(value_text(each.value) for each in choices), sum(each.at_edge for each in choices)
    edge = f", {edges} of {len(choices)} at an edge" if edges else ""
    if len(texts) == 1:
        return next(iter(texts)) + (" (edge)" if edges and len(choices) == 1 else edge)
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


def not_run(found: Sequence[Evidence]) -> list[str]:
    """Return the line that names the command for what has not run, if something has not."""
    missing = [each for each in found if each.missing or each.unreadable]
    if not missing:
        return []
    every = len(missing) == len(found) and len(found) > 1
    names = [each.claim.command_line_name for each in missing]
    if not every and len(missing) > MOST_NAMED:
        return [f"not run: {len(missing)} of {len(found)} claims, such as {names[0]}; bnexp claims run runs them all"]
    return [f"not run: {' '.join(['bnexp claims run', *([] if every else names)])}"]


def claims_table(found: Sequence[Evidence], title: str = "", *, wide: bool = False, everything: bool = False) -> Table:
    """Return the table of claims: a line for each regime.

    Args:
        found: what is known about each claim.
        title: above the table.
        wide: all columns; otherwise what fits a terminal, with the wording of claims that the data contradict below.
        everything: also the measures that stand beside those that decide.
    """
    rows = {each.claim.id: rows_of(each) for each in found}
    shown = [row for some in rows.values() for row in some if everything or row.measure == some[0].measure]
    if wide or everything:
        return Table(COLUMNS, shown, title, tuple(not_run(found)))
    counting = {m.label for each in found for m in each.claim.settings.measures if m.value == "diverged"}
    notes = [DIVERGED_NOTE] if any(row.measure in counting for row in shown) else []
    return Table(NARROW, shown, title, (*notes, *_contradicted(found), *not_run(found))).known()


def _contradicted(found: Sequence[Evidence]) -> Iterator[str]:
    """Yield the wording of claims that fail, or whose opposite was found, and remedies for those that can't be read."""
    for evidence in found:
        row = rows_of(evidence)[0]
        whole = "; ".join((row.verdict, *row.reasons))
        if row.verdict == UNREADABLE:
            yield f"{row.claim}: {whole}"
        elif evidence.label in (VerdictLabel.opposite, VerdictLabel.fails):
            verdict = whole if evidence.result else row.verdict
            yield f"{row.claim}: {verdict}. The claim: {' '.join(evidence.claim.settings.claim.split())}"


def verdicts_table(tiers: Mapping[str, Sequence[Evidence]]) -> Table:
    """Return the verdicts, a column for each tier, and what was tested; every claim links to its section."""
    lines = [
        (
            f"[{each[0].claim.id}](#{each[0].claim.id})",
            *(rows_of(evidence)[0].verdict for evidence in each),
            " ".join((each[0].claim.settings.tested or each[0].claim.settings.claim).split()),
        )
        for each in zip(*tiers.values(), strict=True)
    ]
    return plain_table(("claim", *(f"{tier} tier" for tier in tiers), "what was tested"), lines)


def evidence_tables(evidence: Evidence) -> list[Table]:
    """Return what is known about one claim: its measures in each regime, the deciding one marked, and its findings."""
    tables = []
    if rows := [row for row in rows_of(evidence) if row.arms]:
        hidden = ("claim", "rates", "epochs to threshold", "diverged", "s/step", "published")
        columns = tuple(replace(column, legend="") for column in COLUMNS if column.header not in hidden)
        tables.append(Table(columns, rows, marked=tuple(place for place, row in enumerate(rows) if row.decides)))
    if evidence.result:
        lines = []
        for each in evidence.result.findings:
            tested = ("told", "")
            if each.error is not None:
                tested = f"{each.error:.2g} of {each.tolerance or 0:.2g}", "holds" if each.holds else "FAILS"
            lines.append((each.what, each.found, *tested))
        tables.append(plain_table(("what", "found", "error", ""), lines))
    return tables


def _arm(row: Row, place: int) -> str:
    return MISSING if row.arms is None else f"{row.arms[place]} {spread_text((row.baseline, row.treated)[place])}"


def _listed(header: str, field: str, sign: str = " | ", legend: str = "") -> Column[Row]:
    return Column(header, lambda row: sign.join(getattr(row, field)) or MISSING, kind="text", legend=legend)


COLUMNS: tuple[Column[Row], ...] = (
    Column("claim", lambda row: row.claim, kind="text"),
    Column("measure", lambda row: row.measure or MISSING, kind="text", shared=True),
    Column(
        "regime",
        lambda row: row.regime,
        kind="text",
        legend="regime: equal, all arms with the same settings; tuned, every arm with what it chose on validation "
        "images, with seeds of its own; measured, side by side by a check; exact, a check that holds or fails",
    ),
    _listed(
        "rates",
        "rates",
        legend="rates: what each arm chose, or its learning rate; (edge): the end of what was tried, so that better "
        "may lie beyond",
    ),
    Column("n", lambda row: number(row.n, "d")),
    Column("baseline", lambda row: _arm(row, 0), kind="text"),
    Column("arm", lambda row: _arm(row, 1), kind="text"),
    Column(
        "Δ [interval]",
        lambda row: change_cell(row.change, row.ratio),
        legend="Δ: mean and 95 % t interval over the paired seeds; a number above 0 agrees with the claim, a ratio (×) "
        "above 1; margin: the least Δ that counts, written down before the runs",
    ),
    Column("margin", lambda row: margin_text(row.margin, row.ratio)),
    Column("d_z", lambda row: number(row.effect, ".2f")),
    Column(
        "p (Holm)",
        lambda row: MISSING if row.p is None else f"{p_value(row.p)} ({p_value(row.p_holm)})",
        legend="p (Holm): of the paired t test, and adjusted for the number of claims that are judged together",
    ),
    _listed("epochs to threshold", "time_to"),
    _listed(
        "diverged", "diverged", legend=f"epochs to threshold: median, censored; diverged: of all trials; {DIVERGED}"
    ),
    Column(
        "s/step",
        lambda row: MISSING if row.step_ratio is None else f"×{row.step_ratio:.2f}",
        legend="s/step: arm / baseline, from the runs as they went, on one clock and not in turns; left out below a "
        "second; costs_per_step measures it properly",
    ),
    Column(
        "verdict",
        lambda row: "; ".join((row.verdict, *row.reasons)),
        kind="text",
        legend="verdict: SUPPORTED, the interval is above 0 and its mean at least the margin; OPPOSITE, the same in "
        "the other direction; EQUIVALENT, the whole interval is within the margin, on both sides of 0; TOO SMALL, it "
        "is on one side of 0 but its mean within the margin; INCONCLUSIVE, else. It holds for the setting that was "
        "tested, and no other",
    ),
    _listed("published", "published", sign="; ", legend="published: † from memory of the paper, unverified"),
)
NARROW: tuple[Column[Row], ...] = (
    *(column for column in COLUMNS if column.header in ("claim", "measure", "regime", "Δ [interval]")),
    *(replace(column, drop=1) for column in COLUMNS if column.header in ("margin", "n")),
    *(replace(column, cell=lambda row: row.verdict) for column in COLUMNS if column.header == "verdict"),
)
"""The columns that a verdict is judged by, without remarks."""
