"""The building blocks of HTML pages: templates and other files, and JSON."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from bnexp.report.table import MISSING, Cell, Column, in_print


@cache
def template(package: str, name: str) -> Template:
    """Return a template of a package's assets; it escapes all values, and refuses names without a value."""
    environment = Environment(
        loader=PackageLoader(package, "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cells_html": cells_html, "in_print": in_print}
    return environment.get_template(name)


def cells_html(cells: Sequence[Cell], columns: Sequence[Column[Any]], *, heads: bool, swatch: str) -> Markup:
    """Return the cells of a table's row, in which the arm is a header; a template would take three times as long.

    Args:
        cells: of the row.
        columns: of the table.
        heads: True if the first cell is a header, too.
        swatch: markup before the arm's name.
    """
    written = []
    for place, (cell, column) in enumerate(zip(cells, columns, strict=True)):
        tag = "th" if column.kind == "arm" or (heads and place == 0) else "td"
        write = in_print if column.kind == "number" or cell.text == MISSING else str
        scope = ' scope="row"' if tag == "th" else ""
        kind = "" if column.kind == "number" else f' class="{column.kind}"'
        sort = "" if cell.sort is None else f' data-sort="{cell.sort}"'
        mark = swatch if column.kind == "arm" else ""
        detail = f" <small>{escape(write(cell.detail))}</small>" if cell.detail else ""
        written.append(f"<{tag}{scope}{kind}{sort}>{mark}{escape(write(cell.text))}{detail}</{tag}>\n")
    return Markup("".join(written))


def asset(package: str, name: str) -> Markup:
    """Return a file of a package's assets, which goes into a page unchanged."""
    return Markup(files(package).joinpath("assets", name).read_text(encoding="utf-8"))


def script_json(data: Any) -> Markup:
    """Return JSON for a script element, in which nothing can end that element or open a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
