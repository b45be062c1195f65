"""What was found about a claim, in sentences: the verdict, what it cost, where it was measured, what surprises."""

from collections.abc import Iterator, Sequence

from bnexp.analysis.comparison import ArmRow
from bnexp.analysis.metrics import lower_is_better, metric_text
from bnexp.analysis.standing import standing
from bnexp.claims.arms import rows_against
from bnexp.claims.evidence import Judged
from bnexp.claims.verdicts import Word
from bnexp.config.claims import MeasureSettings
from bnexp.report.claims.cells import change_text, margin_text
from bnexp.report.claims.rows import NO_VERDICT, UNREADABLE, Account, Row
from bnexp.report.labels import point_texts
from bnexp.words import counted

MOST_POINTS = 3
"""Grid points at which the arm is behind that are named; of more the number is said."""
MOST_OPPOSITE = 3
"""Measures against the claim that are named; the table has them all."""


def verdict_sentence(told: Account) -> str:
    """Say what was found in one sentence, with the numbers."""
    row, result = told.head, told.evidence.result
    if row.verdict == UNREADABLE:
        return f"It can't be read: {'; '.join(row.reasons)}."
    if result and not told.measured:
        held = counted(sum(finding.error is not None for finding in result.findings), "test")
        return f"{held}; {'; '.join(row.reasons)}." if row.reasons else f"{held}."
    if not row.arms:
        described = row.verdict == NO_VERDICT
        return "It has no verdict: what was seen is described." if described else "It has not run, or not to its end."
    return f"{_measured(row)}{_regime(row)}.{''.join(f' {_capital(reason)}.' for reason in row.reasons)}"


def _measured(row: Row) -> str:
    if row.arms is None or row.change is None:
        return f"{_capital(row.measure)}: nothing to compare"
    baseline, arm = row.arms
    sign, margin = "above 1" if row.ratio else "positive", margin_text(row.margin, row.ratio)
    change = change_text(row.change, row.ratio)
    how = f"{sign} agrees; the margin is {margin}"
    return f"{_capital(row.measure)}: {change}, {arm} against {baseline} ({how}), n = {row.n}"


def _regime(row: Row) -> str:
    if row.regime == "tuned" and len(row.rates) == 2 and row.arms:
        return f"; each with what it chose: {row.arms[0]}: {row.rates[0]}; {row.arms[1]}: {row.rates[1]}"
    return "; with equal settings" if row.regime == "equal" else ""


def cost(told: Account) -> str:
    """Say what it took; nothing where nothing has run."""
    if told.evidence.result:
        return f"{told.evidence.result.seconds:.0f} s"
    studies = told.evidence.studies.values()
    trials, seconds = sum(len(each.trials) for each in studies), sum(each.trials["seconds"].sum() for each in studies)
    return f"{counted(trials, 'measured trial')}, {seconds:.0f} s" if studies else ""


def measured_on(told: Sequence[Account]) -> str:
    """Say when and on what claims were measured: dates, machines, versions."""
    abouts = [
        about for each in told for study in each.evidence.studies.values() for about in study.environments.values()
    ]
    days = sorted(str(about[key])[:10] for about in abouts for key in ("started", "ended") if about.get(key))
    machines = dict.fromkeys(
        f"{about.get('device_name')} ({about.get('device')}, {about.get('cores')} cores), "
        f"torch {about.get('torch')}, bnexp {about.get('bnexp')}"
        for about in abouts
    )
    if not machines:
        return ""
    when = "" if not days else f", {days[0]}" if days[0] == days[-1] else f", {days[0]} to {days[-1]}"
    return f"Measured on {'; '.join(machines)}{when}."


def surprises(told: Account) -> list[str]:
    """Return what a reader may not expect, above all where the arm loses: each from the data, none where nothing is."""
    return [*_regimes_disagree(told), *_measures_against(told), *_points_against(told)]


def _regimes_disagree(told: Account) -> Iterator[str]:
    words = {row.regime: row.verdict for row in told.measured if row.measure == told.head.measure}
    if len(words) == 2 and len(set(words.values())) == 2:
        yield f"With equal settings it is {words['equal']}, with each arm's own {words['tuned']}."


def _measures_against(told: Account) -> Iterator[str]:
    others = [row for row in told.measured if row.measure != told.head.measure]
    against = [row for row in others if row.verdict.startswith(Word.opposite)]
    for row in against[:MOST_OPPOSITE]:
        yield f"OPPOSITE, {row.regime}: {row.measure}: {change_text(row.change, row.ratio)}."
    if len(against) > MOST_OPPOSITE:
        yield f"OPPOSITE in {len(against) - MOST_OPPOSITE} more rows of the table."


def _points_against(told: Account) -> Iterator[str]:
    """Say where the arm has the worse accuracy, unless that is what the claim says."""
    decisive = told.evidence.decisive
    if decisive is None or _claims_a_loss(decisive.measure):
        return
    for regime, study in told.evidence.studies.items():
        metric, rows = rows_against(study, decisive.measure.baseline, by=study.grid_keys)
        if lower_is_better(metric) or not study.grid_keys:
            continue
        behind, points = [row for row in rows if _behind(row, decisive)], {str(row.point) for row in rows}
        named = ", ".join(
            f"{' '.join(point_texts(row.point))} by {metric_text(metric, -(row.difference or 0))}"
            for row in sorted(behind, key=lambda row: row.difference or 0)[:MOST_POINTS]
        )
        more = f" and at {len(behind) - MOST_POINTS} more" if len(behind) > MOST_POINTS else ""
        if behind:
            what = f"{decisive.measure.arm} is behind {decisive.measure.baseline} in {metric.replace('_', ' ')}"
            yield f"At {len(behind)} of {counted(len(points), 'grid point')} ({regime}) {what}: {named}{more}."


def _claims_a_loss(measure: MeasureSettings) -> bool:
    """Tell whether it is the claim itself that the arm has the worse accuracy."""
    return measure.value.endswith("accuracy") and measure.better == "lower"


def _behind(row: ArmRow, decisive: Judged) -> bool:
    return row.arm == decisive.measure.arm and standing(row, lower=False).sign < 0


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
