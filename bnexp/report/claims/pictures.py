"""A picture for each claim, and one of all verdicts."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnexp.analysis.metrics import METRICS
from bnexp.analysis.runs import compare_study
from bnexp.analysis.study import Study
from bnexp.claims.evidence import Evidence, Judged
from bnexp.claims.verdicts import Word
from bnexp.report.figures.curves import curves_figure, default_curve_metric
from bnexp.report.figures.differences import difference_figure
from bnexp.report.figures.probes.pictures import probe_figures
from bnexp.report.figures.sheet import GREY, LINE, PALE, SMALL, dress, make_sheet

COLOURS = {
    Word.supported: "#009E73",
    Word.opposite: "#D55E00",
    Word.too_small: "#999999",
    Word.inconclusive: "#E69F00",
}
"""Of the Okabe-Ito palette; the words stand beside them."""
OF_PROBES = {
    "gradient_norm": "gradient_norms",
    "drift": "activations",
    "saturation": "saturation",
    "dead_units": "saturation",
    "loss_variation": "landscape_bands",
    "gradient_predictiveness": "landscape_bands",
    "effective_smoothness": "landscape_bands",
    "landscape_slice": "slices",
    "covariate_shift": "covariate_shift",
}
"""Which picture shows what a probe found."""
_WIDTH, _FURTHEST = 8.0, 8.0
"""Inches, and margins: a change beyond is drawn at the end of the axis."""


def claim_figure(evidence: Evidence) -> Figure | None:
    """Return the picture of what decides a claim: its probes, or the arms along what is swept, or their curves."""
    if not evidence.studies:
        return None
    decisive = evidence.decisive
    study = evidence.studies[decisive.regime] if decisive else list(evidence.studies.values())[-1]
    title = evidence.claim.id.replace("_", " ")
    probes = [probe.name for probe in evidence.claim.experiments["small"].probes]
    for probe in [str(decisive.measure.probe).partition(".")[0]] if decisive else probes:
        if figure := _of_probe(study, probe, title):
            return figure
    comparison = compare_study(study, baseline=decisive.measure.baseline if decisive else None)
    if comparison.points > 1:
        return difference_figure(
            comparison.rows, baseline=comparison.baseline, arms=study.arms, metric=comparison.metric, title=title
        )
    column = METRICS[comparison.metric]
    return curves_figure(
        study.trials,
        study.curves,
        grid_keys=study.grid_keys,
        arms=study.arms,
        column=default_curve_metric(study.curves) if study.curves[column].isna().all() else column,
        title=title,
    )


def _of_probe(study: Study, probe: str, title: str) -> Figure | None:
    drawn = dict(probe_figures(study, title=title))
    return drawn.get(OF_PROBES.get(probe, ""))


def verdicts_figure(found: Sequence[Evidence]) -> Figure:
    """Return all changes that decide, in margins: what lies right of 1 is SUPPORTED if its interval is above 0."""
    rows = [(each.claim.id, each.decisive) for each in found if each.decisive]
    figure, body = make_sheet(
        title="Verdicts from data",
        caption="The mean change of each claim's measure with its 95 % interval, in units of the least that counts, "
        "the claim's margin. Right of 0 agrees with the claim. What lies beyond the axis is drawn at its end.",
        handles=[Line2D([], [], color=colour, marker="o", ls="", ms=5, label=word) for word, colour in COLOURS.items()],
        width=_WIDTH,
        height=LINE * (1.3 * len(rows) + 4),
    )
    axes = body.subplots()
    dress(axes)
    axes.set(xlim=(-_FURTHEST, _FURTHEST), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=SMALL)
    axes.set_xlabel("mean change / margin", fontsize=SMALL, color=GREY)
    axes.axvline(0, color=GREY, lw=0.8)
    axes.axvline(1, color=GREY, lw=0.8, ls="dotted")
    axes.grid(axis="y", color=PALE, lw=0.5)
    for y, (_, row) in enumerate(rows):
        _line(axes, y, row)
    return figure


def _line(axes: Axes, y: int, row: Judged) -> None:
    verdict, colour = row.verdict, COLOURS[row.verdict.word]
    if verdict.change is None:
        return
    mean, *ends = (
        max(-_FURTHEST, min(_FURTHEST, value / row.measure.margin))
        for value in (verdict.change, verdict.low, verdict.high)
        if value is not None
    )
    if ends:
        axes.plot(ends, [y, y], color=colour, lw=1.6, solid_capstyle="butt")
    axes.plot([mean], [y], marker="o", ms=4.5, color=colour)
