"""The files that people look at: tables and a picture after every run, all pictures and the page on request."""

from pathlib import Path

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.runs import compare_study, study_of
from bnexp.analysis.study import Study
from bnexp.report.figures.curves import default_curve_metric, draw_curves
from bnexp.report.summary import summary_csv, summary_markdown
from bnexp.store.files import replace
from bnexp.store.reader import RunRecord


def write_report_files(run: RunRecord) -> None:
    """Write the comparison as CSV and Markdown, and the accuracy curves as a picture, into the run's folder."""
    study, config = study_of([run]), run.config
    comparison = compare_study(study)
    replace(run.path / "summary.csv", summary_csv(comparison))
    replace(run.path / "summary.md", summary_markdown(comparison, config.name, config.question))
    draw_curves(
        study.trials,
        study.curves,
        grid_keys=study.grid_keys,
        arms=study.arms,
        metric_column=default_curve_metric(run.curves),
        title=config.question or config.name,
        path=run.path / "curves.png",
    )


def write_report(study: Study, comparison: Comparison, page: Path, pictures: Path) -> list[Path]:
    """Write the page and every picture that applies; return their paths.

    Args:
        study: the trials.
        comparison: of that study.
        page: where the HTML page goes.
        pictures: folder of the pictures; made where it is missing.
    """
    from bnexp.report.figures.pictures import write_pictures
    from bnexp.report.figures.probes.pictures import write_probe_pictures
    from bnexp.report.html.page import page as html  # templates and charts: not needed after a run

    replace(page, html(study, comparison))
    pictures.mkdir(exist_ok=True)
    return [page, *write_pictures(study, comparison, pictures), *write_probe_pictures(study, pictures)]
