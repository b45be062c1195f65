"""The comparison for other programs and for the run folder: CSV, JSON and a Markdown page."""

import csv
import io
from dataclasses import asdict
from typing import Any

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.report.comparison_table import comparison_table
from bnexp.report.table import to_markdown

ROW_COLUMNS = tuple(name for name in ArmRow.__dataclass_fields__ if name != "point")
"""Columns of summary.csv between the grid keys and `threshold`: the fields of a row under their own names."""


def summary_csv(comparison: Comparison) -> str:
    """Return summary.csv: `metric`, a column per grid key, ROW_COLUMNS, `threshold`; full precision, blank for None."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("metric", *comparison.grid_keys, *ROW_COLUMNS, "threshold"))
    for row in comparison.rows:
        point = [row.point[key] for key in comparison.grid_keys]
        values = [getattr(row, name) for name in ROW_COLUMNS]
        writer.writerow([comparison.metric, *point, *values, comparison.threshold])
    return file.getvalue()


def summary_markdown(comparison: Comparison, title: str, question: str = "") -> str:
    """Return summary.md: the title, the question the experiment asks, the table and its notes."""
    head = [f"# {title}", question.strip()] if question.strip() else [f"# {title}"]
    return "\n\n".join([*head, to_markdown(comparison_table(comparison))])


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as dictionaries, lists and numbers that json writes as they are."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(comparison).items()}
