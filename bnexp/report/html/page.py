"""The report as one HTML page: readable from a file without network, its charts drawn by the plotly.js inside it."""

import gzip
from base64 import b64encode
from dataclasses import dataclass
from functools import cache

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.stats import EXACT_PAIRS
from bnexp.analysis.study import Study
from bnexp.records import DIVERGED_FACTOR
from bnexp.report.figures.pictures import probe_figures
from bnexp.report.html.charts import chart_data
from bnexp.report.html.tables import baseline_table, comparison_tables, environment_table, settings_table, trials_table
from bnexp.report.html.templates import asset, script_json, svg_uri, template
from bnexp.report.html.verdict import verdict
from bnexp.report.style import ON_DARK
from bnexp.report.views import usable_text


@dataclass(frozen=True)
class Words:
    """What is said about a picture."""

    heading: str
    kind: str
    """What it is, for who can't see it."""
    reading: str
    trap: str


WORDS = {
    "gradient_norms": Words(
        "Gradients by layer",
        "Heat maps of the gradient’s norm times the weights’, layers over steps, one map per arm.",
        "A map per arm: where it darkens towards the bottom, the gradient vanishes on its way to the first layers; "
        "where a column has one colour, all layers get their share.",
        "The norm is multiplied by that of the weights; raw norms of arms with BN and without don’t compare.",
    ),
    "activations": Words(
        "Inputs of the activations",
        "Bands from the 15th to the 85th percentile over steps, with the median, in three layers of every arm.",
        "A level band is a distribution that stays; a band that moves or widens is what Ioffe and Szegedy called "
        "internal covariate shift.",
        "A steady band doesn’t prove that BN helps because of it: bands can be steady where learning is slow.",
    ),
    "saturation": Words(
        "Units that don’t pass gradients on",
        "Lines of a share over steps, one per layer, in one panel per arm.",
        "The share of activations at their flat ends, or of units that are zero for every image, layer by layer.",
        "Counted on a fixed set of images: a unit that is silent here may answer to others.",
    ),
    "landscape_bands": Words(
        "The loss along the gradient",
        "Bands over steps, one per arm: the loss, the gradient’s change and the effective smoothness.",
        "The narrower a band, the better the gradient foretells what a step will do, and the larger the steps may be.",
        "A network that hardly learns has narrow bands, too; and steps are multiples of each arm’s own learning rate.",
    ),
    "slices": Words(
        "The loss around the trained weights",
        "Contours of the loss over two directions, one panel per arm.",
        "Contours that lie far apart are a flat place, long and narrow ones a place that is steep in one direction.",
        "Two random directions of very many: what looks convex here need not be, and one seed shows one place.",
    ),
    "covariate_shift": Words(
        "How layers disturb one another",
        "Lines of the relative shift and of the cosine over steps, one per layer, in one panel per arm.",
        "A relative shift near 0 with a cosine near 1 says that a layer’s gradient holds although the layers before it "
        "have moved.",
        "It grows with the updates: an arm that hardly learns has hardly a shift, and BN may well have the larger one "
        "(Santurkar et al. 2018).",
    ),
}
"""By the name of the picture."""


PACKAGE = "bnexp.report.html"


def page(study: Study, comparison: Comparison) -> str:
    """Return the page of a comparison of a study's arms.

    Names that come from configurations are text wherever they stand: the template escapes them, the charts'
    numbers are JSON that can't end its script element, and the script writes text nodes only.
    """
    arms = {arm: i for i, arm in enumerate(study.arms)}
    charts = chart_data(study, comparison)
    return template(PACKAGE, "page.html.j2").render(
        study=study,
        comparison=comparison,
        metric=comparison.metric.replace("_", " "),
        baseline=study.label(comparison.baseline),
        verdict=verdict(comparison, study.settings),
        tables=comparison_tables(comparison, arms),
        networks=[(name, WORDS[name], svg_uri(figure)) for name, figure in probe_figures(study, title="")],
        trials=trials_table(study, arms),
        arm_settings=settings_table(study.settings, comparison.baseline),
        baseline_settings=baseline_table(study.settings, comparison.baseline),
        environments=environment_table(study.environments),
        exact_pairs=EXACT_PAIRS,
        usable=usable_text(comparison.robustness),
        diverged_factor=DIVERGED_FACTOR,
        charts=charts,
        data=script_json(charts),
        on_dark=script_json(ON_DARK),
        style=asset(PACKAGE, "page.css"),
        plotly=_plotly(),
        scripts=[asset(PACKAGE, name) for name in ("theme.js", "charts.js", "page.js")],
    )


@cache
def _plotly() -> str:
    """Return plotly.js, compressed by gzip and in base64: less than half as long."""
    from plotly.offline import get_plotlyjs  # only a page needs it

    return b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
