"""A comparison for other programs and for the run folder: CSV, JSON, LaTeX and a Markdown page."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from math import isfinite
from typing import Any

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.report.table import Table, to_markdown
from bnexp.report.views import remarks, rows_of, tables
from bnexp.store.cells import cell, csv_line

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
