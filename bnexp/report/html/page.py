"""The report as one HTML page: readable from a file without network, its charts drawn by the plotly.js inside it."""

from markupsafe import Markup

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.sign_flip import EXACT_PAIRS
from bnexp.analysis.study import Study
from bnexp.records import DIVERGED_FACTOR
from bnexp.report.html.arms import arm_looks
from bnexp.report.html.charts import chart_data, embedded
from bnexp.report.html.networks import network_pictures
from bnexp.report.html.records import baseline_table, environment_table, settings_table, trials_table
from bnexp.report.html.tables import comparison_tables
from bnexp.report.html.templates import asset, template
from bnexp.report.html.verdict import verdict
from bnexp.report.views import usable_text

PACKAGE = "bnexp.report.html"
SCRIPTS = ("charts.js", "page.js")


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
        verdict=verdict(comparison, study.settings),
        looks=arm_looks(study.arms),
        tables=comparison_tables(comparison, arms),
        networks=network_pictures(study),
        trials=trials_table(study, arms),
        arm_settings=settings_table(study.settings, comparison.baseline),
        baseline_settings=baseline_table(study.settings, comparison.baseline),
        environments=environment_table(study.environments),
        exact_pairs=EXACT_PAIRS,
        usable=usable_text(comparison.robustness),
        diverged_factor=DIVERGED_FACTOR,
        charts=charts,
        data=Markup(embedded(charts)),
        style=asset(PACKAGE, "page.css"),
        plotly=_plotly(),
        scripts=[asset(PACKAGE, name) for name in SCRIPTS],
    )


def _plotly() -> Markup:
    """Return plotly.js, with what would end its script element written another way."""
    from plotly.offline import get_plotlyjs  # only a page needs it

    return Markup(get_plotlyjs().replace("</script", "<\\/script").replace("<!--", "<\\!--"))
