"""The files of a run folder that people look at: summary.csv, summary.md and curves.png."""

from bnexp.analysis.runs import compare_run
from bnexp.report.figures import default_curve_metric, draw_curves
from bnexp.report.summary import summary_csv, summary_markdown
from bnexp.store.files import replace
from bnexp.store.reader import RunRecord


def write_report_files(run: RunRecord) -> None:
    """Write the comparison as CSV and Markdown, and the accuracy curves as a picture, into the run's folder."""
    comparison, config = compare_run(run), run.config
    replace(run.path / "summary.csv", summary_csv(comparison))
    replace(run.path / "summary.md", summary_markdown(comparison, config.name, config.question))
    draw_curves(
        run.trials,
        run.curves,
        grid_keys=config.swept,
        arms=tuple(config.arms),
        metric_column=default_curve_metric(run.curves),
        title=config.question or config.name,
        path=run.path / "curves.png",
    )
