"""The building blocks of HTML pages: templates and other files, JSON, and figures."""

import json
from base64 import b64encode
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from matplotlib.figure import Figure

from bnexp.report.figures.frame import figure_bytes
from bnexp.report.table import in_print


@cache
def template(package: str, name: str) -> Template:
    """Return a template of a package's assets; it escapes what it is given, and refuses names that it isn't given."""
    environment = Environment(
        loader=PackageLoader(package, "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["in_print"] = in_print
    return environment.get_template(name)


def asset(package: str, name: str) -> Markup:
    """Return a file of a package's assets, to stand in a page as it is."""
    return Markup(files(package).joinpath("assets", name).read_text(encoding="utf-8"))


def script_json(data: Any) -> Markup:
    """Return JSON for a script element, in which nothing can end that element or open a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def svg_uri(figure: Figure) -> str:
    """Return a figure as an SVG in a data URI: it is drawn apart from the page, so no name in it is more than text."""
    return f"data:image/svg+xml;base64,{b64encode(figure_bytes(figure, 'svg')).decode()}"
