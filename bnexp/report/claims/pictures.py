"""The picture of a claim: the pairs that decide it, arm beside arm and as changes; of a described one, its probes."""

from matplotlib.figure import Figure

from bnexp.analysis.metrics import METRICS, choose_metric
from bnexp.analysis.study import Study
from bnexp.claims.evidence import Evidence
from bnexp.report.claims.pairs_picture import pairs_figure
from bnexp.report.figures.curves import curves_figure
from bnexp.report.figures.probes.pictures import probe_figures

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


def claim_figure(evidence: Evidence) -> Figure | None:
    """Return the picture of a claim: of what decides it, or of what is described; None where nothing has run."""
    if evidence.decisive:
        return pairs_figure(evidence)
    described = evidence.claim.settings.kind == "descriptive" and evidence.experiment and evidence.studies
    if not described:
        return None
    title, study = evidence.claim.id.replace("_", " "), list(evidence.studies.values())[-1]
    drawn = dict(probe_figures(study, title=title))
    probes = [probe.name for probe in evidence.experiment.probes] if evidence.experiment else []
    wanted = [OF_PROBES[probe] for probe in probes if OF_PROBES.get(probe) in drawn]
    return drawn[wanted[0]] if wanted else _curves(study, title)


def _curves(study: Study, title: str) -> Figure:
    column = METRICS[choose_metric(study.trials)]
    return curves_figure(
        study.trials, study.curves, grid_keys=study.grid_keys, arms=study.arms, column=column, title=title
    )
