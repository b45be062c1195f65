"""What was found about a claim, in sentences: the verdict, where it was tested, what it cost, and what surprises."""

from collections.abc import Iterator

from bnexp.analysis.comparison import ArmRow
from bnexp.analysis.metrics import lower_is_better, metric_text
from bnexp.analysis.runs import compare_study
from bnexp.analysis.study import Study
from bnexp.claims.evidence import Evidence, Judged
from bnexp.claims.verdicts import Word
from bnexp.report.claims.rows import Row, rows
from bnexp.report.claims.table import change_text
from bnexp.report.labels import counted, point_texts, short_keys, value_text

MOST_VALUES = 4
"""Of a swept setting that are named; of more the first and the last."""
MOST_POINTS = 3
"""Grid points at which the arm is behind that are named; of more the number is said."""


def verdict_sentence(evidence: Evidence) -> str:
    """Say what was found in one sentence, with the numbers."""
    row = rows([evidence])[0]
    if evidence.result and not evidence.rows:
        held = sum(finding.error is not None for finding in evidence.result.findings)
        return f"{counted(held, 'test')}; {'; '.join(row.reasons)}." if row.reasons else f"{counted(held, 'test')}."
    if not evidence.decisive:
        described = evidence.studies and not evidence.missing
        return "It has no verdict: what was seen is described." if described else "It has not run, or not to its end."
    return f"{_measured(row)}{_regime(row)}.{''.join(f' {_sentence(reason)}' for reason in row.reasons)}"


def _measured(row: Row) -> str:
    if row.arms is None or row.change is None:
        return f"{row.measure}: nothing to compare"
    baseline, arm = row.arms
    sign = "above 1" if row.ratio else "positive"
    return f"{_capital(row.measure)}: {change_text(row)}, {arm} against {baseline} ({sign} agrees), n = {row.n}"


def _regime(row: Row) -> str:
    if row.regime == "tuned" and len(row.rates) == 2 and row.arms:
        return f"; each with what it chose: {row.arms[0]} {row.rates[0]}, {row.arms[1]} {row.rates[1]}"
    return "; with equal settings" if row.regime == "equal" else ""


def setting(evidence: Evidence) -> str:
    """Say on what it was tested, which is what the verdict holds for."""
    if not evidence.studies:
        return ""
    study = list(evidence.studies.values())[-1]
    first = study.settings[study.arms[0]]
    data, model, train = first.data, first.model, first.train
    size = f", {data.train_size:,} training images" if data.train_size else ""
    length = f"{train.steps:,} steps" if train.steps else counted(train.epochs or 10, "epoch")
    widths = "×".join(map(str, dict.fromkeys(model.widths)))
    swept = [f"{short_keys(study.grid_keys)[key]} {_values(study, key)}" for key in study.grid_keys]
    return "; ".join(
        [
            f"{data.name}{size}",
            f"{model.family} of depth {model.layers}, width {widths}, {model.activation}",
            f"{train.optimizer}, batches of {train.batch_size}, {length}",
            *(["over " + ", ".join(swept)] if swept else []),
        ]
    )


def _values(study: Study, key: str) -> str:
    values = study.trials[key].astype(object).where(study.trials[key].notna(), None)
    texts = list(dict.fromkeys(map(value_text, values)))
    return f"{texts[0]} … {texts[-1]} ({len(texts)})" if len(texts) > MOST_VALUES else ", ".join(texts)


def cost(evidence: Evidence) -> str:
    """Say what it took, and what a step with the arm costs."""
    if evidence.result:
        return f"{evidence.result.seconds:.0f} s"
    trials = sum(len(study.trials) for study in evidence.studies.values())
    seconds = sum(study.trials["seconds"].sum() for study in evidence.studies.values())
    found = f"{counted(trials, 'measured trial')}, {seconds:.0f} s"
    row = rows([evidence])[0]
    if row.step_ratio is None or row.arms is None:
        return found
    return f"{found}; a step of {row.arms[1]} takes {row.step_ratio:.2f} times one of {row.arms[0]}"


def surprises(evidence: Evidence) -> list[str]:
    """Return what a reader may not expect, above all where the arm loses: each from the data, none where nothing is."""
    return [*_regimes_disagree(evidence), *_measures_against(evidence), *_points_against(evidence)]


def _regimes_disagree(evidence: Evidence) -> Iterator[str]:
    words = {row.regime: row.verdict.word for row in evidence.rows if row.measure == evidence.rows[0].measure}
    if len(words) == 2 and len(set(words.values())) == 2:
        yield f"With equal settings it is {words['equal']}, with each arm's own {words['tuned']}."


def _measures_against(evidence: Evidence) -> Iterator[str]:
    for row in rows([evidence]):
        if row.verdict.startswith(Word.opposite) and not row.decides:
            yield f"OPPOSITE: {row.measure}, {row.regime}: {change_text(row)}."


def _points_against(evidence: Evidence) -> Iterator[str]:
    decisive = evidence.decisive
    if decisive is None or decisive.regime not in evidence.studies:
        return
    for regime, study in evidence.studies.items():
        comparison = compare_study(study, baseline=decisive.measure.baseline)
        if lower_is_better(comparison.metric) or not comparison.grid_keys:
            continue
        behind = [row for row in comparison.rows if _behind(row, decisive)]
        metric = comparison.metric
        named = ", ".join(
            f"{' '.join(point_texts(row.point))} by {metric_text(metric, -(row.difference or 0))}"
            for row in sorted(behind, key=lambda row: row.difference or 0)[:MOST_POINTS]
        )
        more = f" and at {len(behind) - MOST_POINTS} more" if len(behind) > MOST_POINTS else ""
        if behind:
            what = f"{decisive.measure.arm} is behind {decisive.measure.baseline} in {metric.replace('_', ' ')}"
            yield f"At {counted(len(behind), 'grid point')} of {comparison.points} ({regime}) {what}: {named}{more}."


def _behind(row: ArmRow, decisive: Judged) -> bool:
    return row.arm == decisive.measure.arm and row.difference_high is not None and row.difference_high < 0


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(text: str) -> str:
    return f"{_capital(text)}."
