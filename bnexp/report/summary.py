"""A comparison for other programs and for the run folder: CSV, JSON, LaTeX and a Markdown page."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path
from typing import Any

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.runs import compare_study, study_of
from bnexp.analysis.study import Study
from bnexp.report.figures.curves import default_curve_metric, draw_curves
from bnexp.report.table import Table, to_markdown
from bnexp.report.views import remarks, rows_of, tables
from bnexp.store.cells import cell, csv_line
from bnexp.store.files import replace
from bnexp.store.reader import RunRecord

ROW_COLUMNS = tuple(field.name for field in fields(ArmRow) if field.name != "point")
"""Columns of summary.csv between the grid keys and `threshold`: the fields of a row under their own names."""


def summary_csv(comparison: Comparison, view: str = "equal") -> str:
    """Return a view's rows: `metric`, a column per grid key, their fields, `threshold`; blank for None."""
    rows = rows_of(comparison, view)
    names = [field.name for field in fields(rows[0]) if field.name != "point"] if rows else list(ROW_COLUMNS)
    keys = list(rows[0].point) if rows and hasattr(rows[0], "point") else []
    lines = [("metric", *(keys if rows else comparison.grid_keys), *names, "threshold")]
    for row in rows:
        values = [getattr(row, name) for name in names]
        point = [row.point[key] for key in keys]
        lines.append((comparison.metric, *point, *values, comparison.threshold))
    return "".join(csv_line(map(cell, line)).decode() + "\n" for line in lines)


def summary_markdown(comparison: Comparison, title: str, question: str = "") -> str:
    """Return summary.md: the title, the question the experiment asks, the tables, their notes and remarks."""
    head = [f"# {title}", question.strip()] if question.strip() else [f"# {title}"]
    return "\n\n".join([*head, markdown(comparison)])


def markdown(comparison: Comparison, view: str = "main", title: str = "") -> str:
    """Return the tables of a view for a pull request or a page."""
    remarked = "".join(f"- {line}\n" for line in remarks(comparison))
    return "\n".join([*(to_markdown(table) for table in tables(comparison, view, title)), *filter(None, [remarked])])


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as dictionaries, lists and numbers for json, with null for what isn't finite."""
    plain: dict[str, Any] = _plain(asdict(comparison))
    return plain


def latex(found: Sequence[Table], remarked: Sequence[str] = ()) -> str:
    """Return tables as LaTeX tabulars for the booktabs package; titles, notes and remarks are comments."""
    remarks_under = "".join(map(_comment, remarked))
    return "\n".join([*map(_tabular, found), *filter(None, [remarks_under])])


def _comment(text: str) -> str:
    return f"% {' '.join(text.split())}\n"


def _tabular(table: Table) -> str:
    lines = [
        rf"\begin{{tabular}}{{{'l' * len(table.headers)}}}",
        r"\toprule",
        _latex_row(table.headers),
        r"\midrule",
        *map(_latex_row, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    title, notes = (_comment(table.title) if table.title else ""), "".join(map(_comment, table.notes))
    return title + "".join(f"{line}\n" for line in lines) + notes


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join("".join(_LATEX.get(letter, letter) for letter in cell) for cell in cells) + r" \\"


_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "×": r"$\times$",
    "\n": " ",
}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


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
    from bnexp.report.figures.pictures import write_pictures, write_probe_pictures
    from bnexp.report.html.page import page as html  # templates and charts: not needed after a run

    replace(page, html(study, comparison))
    pictures.mkdir(exist_ok=True)
    return [page, *write_pictures(study, comparison, pictures), *write_probe_pictures(study, pictures)]
