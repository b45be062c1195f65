"""A comparison for other programs and for the run folder: CSV, JSON, LaTeX and a Markdown page."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.runs import ComparedRun
from bnexp.analysis.study import Study
from bnexp.engines.forked import side_by_side
from bnexp.report.table import to_latex, to_markdown
from bnexp.report.views import chosen_fields, numbers, remarks, tables
from bnexp.store.files import replace
from bnexp.store.tables import csv_text, to_row


def summary_csv(comparison: Comparison, view: str = "equal", columns: Sequence[str] = ()) -> str:
    """Return a view as numbers (see views.numbers), between the columns `metric` and `threshold`; blank for None.

    Args:
        comparison: what to write.
        view: which.
        columns: only these fields, or those behind the tables' columns of these names.

    Raises:
        InputError: a column that is neither.
    """
    names, rows = numbers(comparison, view)
    chosen = chosen_fields(comparison, columns, names)
    places = [names.index(name) for name in chosen]
    lines = [(comparison.metric, *(row[place] for place in places), comparison.threshold) for row in rows]
    return csv_text(map(to_row, [("metric", *chosen, "threshold"), *lines]))


RECORDS = ("rows", "overall", "best", "robustness", "evaluations", "ladder", "sequence", "across", "plan", "tuning")
"""Fields of a comparison that hold a record per arm."""


def comparison_json(comparison: Comparison, columns: Sequence[str] = ()) -> dict[str, Any]:
    """Return the comparison as dictionaries, lists and numbers for json, with null for what isn't finite.

    The fields are those of bnexp.analysis.comparison, under their own names. With `columns` the records keep only
    these, besides `point`, `axis` and `arm`.
    """
    plain: dict[str, Any] = without_nan(asdict(comparison))
    for name in RECORDS if columns else ():
        plain[name] = [_picked(record, comparison, columns) for record in plain[name]]
    return plain


def _picked(record: dict[str, Any], comparison: Comparison, columns: Sequence[str]) -> dict[str, Any]:
    kept = {"point", "axis", "arm", *chosen_fields(comparison, columns, list(record))}
    return {name: value for name, value in record.items() if name in kept}


def without_nan(value: Any) -> Any:
    """Return dictionaries, lists and numbers for json: null for what isn't finite."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def summary_markdown(comparison: Comparison, title: str, question: str = "") -> str:
    """Return summary.md: the title, the question the experiment asks, the tables, their notes and remarks."""
    head = [f"# {title}", question.strip()] if question.strip() else [f"# {title}"]
    return "\n\n".join([*head, markdown(comparison)])


def markdown(comparison: Comparison, view: str = "main", title: str = "", columns: Sequence[str] = ()) -> str:
    """Return the tables of a view for a pull request or a page."""
    found = [to_markdown(table) for table in tables(comparison, view, title, columns)]
    remarked = "".join(f"- {line}\n" for line in remarks(comparison))
    return "\n".join([*found, *filter(None, [remarked])])


def latex(comparison: Comparison, view: str = "main", title: str = "", columns: Sequence[str] = ()) -> str:
    """Return the tables of a view for a paper, the remarks as notes under the last of them."""
    *others, last = tables(comparison, view, title, columns)
    return "\n".join([*map(to_latex, others), to_latex(last, remarks(comparison))])


def write_report_files(run: ComparedRun) -> None:
    """Write the comparison as CSV and Markdown, and the accuracy curves as a picture, into the run's folder."""
    replace(run.path / "summary.csv", summary_csv(run.comparison))
    replace(run.path / "summary.md", summary_markdown(run.comparison, run.config.name, run.question))
    replace(run.path / "curves.png", curves_png(run))


def curves_png(run: ComparedRun) -> bytes:
    """Return the picture of a run's accuracy curves."""
    from bnexp.report.figures.curves import curves_figure  # Matplotlib: not needed to print tables
    from bnexp.report.figures.frame import figure_bytes

    return figure_bytes(curves_figure(run.study, run.comparison.metric), "png")


def write_report(
    study: Study, comparison: Comparison, page: Path, pictures: Path | None, reload: int | None = None
) -> list[Path]:
    """Write the page and every picture that applies, each on a core of its own; return their paths.

    Args:
        study: the trials.
        comparison: of that study.
        page: where the HTML page goes.
        pictures: folder of the pictures, made if it is missing; None: only the page is written.
        reload: see `bnexp.report.html.page.page`.
    """
    from bnexp.report.html.page import page as html  # templates and charts: not needed after a run

    def write_page() -> list[Path]:
        replace(page, html(study, comparison, reload))
        return [page]

    if not pictures:
        return write_page()
    from joblib import cpu_count

    from bnexp.report.figures.pictures import writers  # Matplotlib

    pictures.mkdir(exist_ok=True)
    writes = [write_page, *writers(study, comparison, pictures)]
    written = side_by_side(lambda number: writes[number](), range(len(writes)), cpu_count())
    return list(chain.from_iterable(written))
