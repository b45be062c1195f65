"""What was found about a claim, in sentences and tables, and the settings that it holds for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bnexp.analysis.comparison import ArmRow, standing
from bnexp.analysis.study import lower_is_better, metric_text
from bnexp.claims.catalogue import MeasureSettings
from bnexp.claims.evidence import Judgement, VerdictLabel, rows_against
from bnexp.claims.report.rows import (
    NO_VERDICT,
    NOT_RUN,
    UNREADABLE,
    ClaimReport,
    Row,
    change_text,
    command_line_name,
    margin_text,
    spread_text,
)
from bnexp.config.dotted import below, leaves
from bnexp.config.experiment import ExperimentConfig, default_config
from bnexp.config.text import counted
from bnexp.config.train import DEFAULT_EPOCHS
from bnexp.config.trial import TrialSettings
from bnexp.report.columns import DIVERGED, DIVERGED_NOTE, number, p_value
from bnexp.report.style import point_texts, short_keys, value_text
from bnexp.report.table import Column, Table, plain_table

MOST_POINTS = 3
"""Grid points at which the arm is behind that are named; of more the number is said."""
MOST_NAMED = 8
"""Claims that have not run that are named; of more the number is said."""
MOST_OPPOSITE = 3
"""Measures against the claim that are named; the table has them all."""


def verdict_sentence(report: ClaimReport) -> str:
    """Say what was found in one sentence, with the numbers."""
    row, result = report.head, report.evidence.result
    if row.verdict == UNREADABLE:
        return f"It can't be read: {'; '.join(row.reasons)}."
    if result and not report.measured:
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


def cost(report: ClaimReport) -> str:
    """Say what it took; nothing where nothing has run."""
    if report.evidence.result:
        return f"{report.evidence.result.seconds:.0f} s"
    studies = report.evidence.studies.values()
    trials, seconds = sum(len(each.trials) for each in studies), sum(each.trials["seconds"].sum() for each in studies)
    return f"{counted(trials, 'measured trial')}, {seconds:.0f} s" if studies else ""


def measured_on(reports: Sequence[ClaimReport]) -> str:
    """Say when and on what claims were measured: dates, machines, versions."""
    abouts = [
        about for each in reports for study in each.evidence.studies.values() for about in study.environments.values()
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


def surprises(report: ClaimReport) -> list[str]:
    """Return what a reader may not expect, above all where the arm loses: each from the data, none where nothing is."""
    return [*_regimes_disagree(report), *_measures_against(report), *_points_against(report)]


def _regimes_disagree(report: ClaimReport) -> Iterator[str]:
    words = {row.regime: row.verdict for row in report.measured if row.measure == report.head.measure}
    if len(words) == 2 and len(set(words.values())) == 2:
        yield f"With equal settings it is {words['equal']}, with each arm's own {words['tuned']}."


def _measures_against(report: ClaimReport) -> Iterator[str]:
    others = [row for row in report.measured if row.measure != report.head.measure]
    against = [row for row in others if row.verdict.startswith(VerdictLabel.opposite)]
    for row in against[:MOST_OPPOSITE]:
        yield f"OPPOSITE, {row.regime}: {row.measure}: {change_text(row.change, row.ratio)}."
    if len(against) > MOST_OPPOSITE:
        yield f"OPPOSITE in {len(against) - MOST_OPPOSITE} more rows of the table."


def _points_against(report: ClaimReport) -> Iterator[str]:
    """Say where the arm has the worse accuracy, unless that is what the claim says."""
    decisive = report.evidence.decisive
    if decisive is None or _claims_a_loss(decisive.measure):
        return
    for regime, study in report.evidence.studies.items():
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


def _behind(row: ArmRow, decisive: Judgement) -> bool:
    return row.arm == decisive.measure.arm and standing(row, lower=False).sign < 0


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


ALWAYS = (
    "data.name",
    "model.family",
    "model.depth",
    "model.width",
    "model.activation",
    "train.optimizer",
    "train.batch_size",
    "train.epochs",
    "train.steps",
    "train.lr",
)
"""Told even where they are as by default."""
UNTOLD = ("data.root", "train.record_at", "train.checkpoint_every")
"""Where the images lie, and how often something is written down."""
MOST_VALUES = 4
"""Of a swept setting that are named; of more the first and the last."""


def setting_text(config: ExperimentConfig) -> str:
    """Say what all arms share, what is swept, and what every arm chose from.

    What is swept, chosen, or differs between arms is no shared setting.
    """
    untuned = default_config(config)
    first = {arm: _flat(untuned.settings(arm, config.points()[0])) for arm in config.arms}
    usual, own = _flat(TrialSettings()), next(iter(first.values()))
    apart = {key for key in own for flat in first.values() if flat.get(key) != own[key]}
    apart |= {*config.swept, *config.tune.grid, *UNTOLD}
    shown = {
        key: value
        for key, value in own.items()
        if value is not None
        and (key in ALWAYS or value != usual.get(key))
        and not any(below(key, section) for section in apart)
    }
    sections = [_section(name, shown) for name in TrialSettings.model_fields]
    swept = _axes({key: [point[key] for point in config.points()] for key in config.swept})
    tuned = _axes(config.tune.grid)
    return "; ".join(
        filter(None, [*sections, f"over {swept}" if swept else "", f"every arm chose of {tuned}" if tuned else ""])
    )


def _section(name: str, shown: Mapping[str, Any]) -> str:
    """Write the settings of a section after its name; the first of `data` is the data set's own name."""
    here = {key.partition(".")[2]: value for key, value in shown.items() if key.partition(".")[0] == name}
    texts = [value_text(value) if key == "name" else f"{key} {value_text(value)}" for key, value in here.items()]
    return f"{name}: {', '.join(texts)}" if texts else ""


def _axes(axes: Mapping[str, Any]) -> str:
    short = short_keys(list(axes))
    return ", ".join(f"{short[key]} {_values(values)}" for key, values in axes.items())


def _values(values: Any) -> str:
    texts = list(dict.fromkeys(map(value_text, values)))
    return f"{texts[0]} … {texts[-1]} ({len(texts)})" if len(texts) > MOST_VALUES else " / ".join(texts)


def _flat(settings: TrialSettings) -> dict[str, Any]:
    """Return every setting by its dotted key, with the numbers that null stands for."""
    model, train = settings.model, settings.train
    flat = {key: list(value) if isinstance(value, tuple) else value for key, value in leaves(settings)}
    flat |= {"model.depth": model.layers, "model.width": model.width or model.spec.width}
    return flat if train.steps else flat | {"train.epochs": train.epochs or DEFAULT_EPOCHS}


def claims_table(
    reports: Sequence[ClaimReport], title: str = "", *, wide: bool = False, everything: bool = False
) -> Table:
    """Return the table of claims: a line for each regime.

    Args:
        reports: as from bnexp.claims.report.rows.
        title: above the table.
        wide: all columns; otherwise what fits a terminal, with the wording of claims that the data contradict below.
        everything: also the measures that stand beside those that decide.
    """
    shown = [row for each in reports for row in each.rows if everything or row.measure == each.head.measure]
    wide = wide or everything
    if wide:
        return Table(COLUMNS, shown, title, tuple(not_run(reports)))
    notes = [DIVERGED_NOTE] if _counts_diverged(reports, shown) else []
    return Table(NARROW, shown, title, (*notes, *_contradicted(reports), *not_run(reports)))


def _contradicted(reports: Sequence[ClaimReport]) -> Iterator[str]:
    """Yield what claims say that fail, or whose opposite was found, and what to do about those that can't be read."""
    for report in reports:
        row = report.head
        if row.verdict == UNREADABLE:
            yield f"{row.claim}: {'; '.join((row.verdict, *row.reasons))}"
        elif report.evidence.label in (VerdictLabel.opposite, VerdictLabel.fails):
            verdict = "; ".join((row.verdict, *row.reasons)) if report.evidence.result else row.verdict
            yield f"{row.claim}: {verdict}. The claim: {' '.join(report.claim.settings.claim.split())}"


def _counts_diverged(reports: Sequence[ClaimReport], shown: Sequence[Row]) -> bool:
    """Whether a row is about how many trials diverged."""
    measures = [measure for each in reports for measure in each.claim.settings.measures]
    labels = {measure.label for measure in measures if measure.value == "diverged"}
    return any(row.measure in labels for row in shown)


def not_run(reports: Sequence[ClaimReport]) -> list[str]:
    """Return the line that names the command for what has not run, if something has not."""
    missing = [each for each in reports if each.head.verdict in (NOT_RUN, UNREADABLE)]
    if not missing:
        return []
    every = len(missing) == len(reports) and len(reports) > 1
    names = [command_line_name(each.claim) for each in missing]
    if not every and len(missing) > MOST_NAMED:
        return [f"not run: {len(missing)} of {len(reports)} claims, such as {names[0]}; bnexp claims run runs them all"]
    return [f"not run: {' '.join(['bnexp claims run', *([] if every else names)])}"]


def verdicts_table(tiers: Mapping[str, Sequence[ClaimReport]]) -> Table:
    """Return the verdicts, a column for each tier, and what was tested; every claim links to its section."""
    lines = tuple(
        (
            f"[{each[0].claim.id}](#{each[0].claim.id})",
            *(report.head.verdict for report in each),
            " ".join((each[0].claim.settings.tested or each[0].claim.settings.claim).split()),
        )
        for each in zip(*tiers.values(), strict=True)
    )
    return plain_table(("claim", *(f"{tier} tier" for tier in tiers), "what was tested"), lines)


def measures_table(report: ClaimReport) -> Table:
    """Return what is known about one claim: a line for each measure and regime, the deciding one marked."""
    marked = tuple(place for place, row in enumerate(report.measured) if row.decides)
    shown = ("measure", "regime", "n", "baseline", "arm", "Δ [interval]", "margin", "d_z", "p (Holm)", "verdict")
    columns = tuple(replace(column, legend="") for column in COLUMNS if column.header in shown)
    return Table(columns, report.measured, marked=marked)


def findings_table(report: ClaimReport) -> Table:
    """Return what a check found, line by line."""
    findings = report.evidence.result.findings if report.evidence.result else ()
    lines = [
        (
            each.what,
            each.found,
            "told" if each.error is None else f"{each.error:.2g} of {each.tolerance or 0:.2g}",
            "" if each.error is None else "holds" if each.holds else "FAILS",
        )
        for each in findings
    ]
    return plain_table(("what", "found", "error", ""), lines)


def _arm(row: Row, place: int) -> str:
    values = (row.baseline, row.treated)[place]
    return "-" if row.arms is None else f"{row.arms[place]} {spread_text(values)}"


COLUMNS: tuple[Column[Row], ...] = (
    Column("claim", lambda row: row.claim, kind="text"),
    Column("measure", lambda row: row.measure or "-", kind="text"),
    Column(
        "regime",
        lambda row: row.regime,
        kind="text",
        legend="regime: equal, all arms with the same settings; tuned, every arm with what it chose on validation "
        "images, with seeds of its own; measured, side by side by a check; exact, a check that holds or fails",
    ),
    Column(
        "rates",
        lambda row: " | ".join(row.rates) or "-",
        kind="text",
        legend="rates: what each arm chose, or its learning rate; (edge): the end of what was tried, so that better "
        "may lie beyond",
    ),
    Column("n", lambda row: number(row.n, "d")),
    Column("baseline", lambda row: _arm(row, 0), kind="text"),
    Column("arm", lambda row: _arm(row, 1), kind="text"),
    Column(
        "Δ [interval]",
        lambda row: change_text(row.change, row.ratio),
        legend="Δ: mean and 95 % t interval over the paired seeds; a number above 0 agrees with the claim, a ratio (×) "
        "above 1; margin: the least Δ that counts, written down before the runs",
    ),
    Column("margin", lambda row: margin_text(row.margin, row.ratio)),
    Column("d_z", lambda row: number(row.effect, ".2f")),
    Column(
        "p (Holm)",
        lambda row: "-" if row.p is None else f"{p_value(row.p)} ({p_value(row.p_holm)})",
        legend="p (Holm): of the paired t test, and adjusted for the number of claims that are judged together",
    ),
    Column("epochs to threshold", lambda row: " | ".join(row.time_to) or "-", kind="text"),
    Column(
        "diverged",
        lambda row: " | ".join(row.diverged) or "-",
        kind="text",
        legend=f"epochs to threshold: median, censored; diverged: of all trials; {DIVERGED}",
    ),
    Column(
        "s/step",
        lambda row: "-" if row.step_ratio is None else f"×{row.step_ratio:.2f}",
        legend="s/step: arm / baseline, from the runs as they went, on one clock and not in turns; left out below a "
        "second; costs_per_step measures it properly",
    ),
    Column(
        "verdict",
        lambda row: "; ".join((row.verdict, *row.reasons)),
        kind="text",
        legend="verdict: OPPOSITE, the interval is below 0; SUPPORTED, above 0 and its mean at least the margin; TOO "
        "SMALL, its upper end is below the margin; INCONCLUSIVE, else. It holds for the setting that was tested, "
        "and no other",
    ),
    Column(
        "published",
        lambda row: "; ".join(row.published) or "-",
        kind="text",
        legend="published: † from memory of the paper, unverified",
    ),
)
NARROW: tuple[Column[Row], ...] = (
    *(column for column in COLUMNS if column.header in ("claim", "measure", "regime", "Δ [interval]")),
    *(replace(column, drop=1) for column in COLUMNS if column.header in ("margin", "n")),
    *(replace(column, cell=lambda row: row.verdict) for column in COLUMNS if column.header == "verdict"),
)
"""What a verdict is judged by, without remarks."""
