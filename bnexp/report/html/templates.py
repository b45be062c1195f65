"""Templates and other files that pages are made of."""

from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup


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
    return environment.get_template(name)


def asset(package: str, name: str) -> Markup:
    """Return a file of a package's assets, to stand in a page as it is."""
    return Markup(files(package).joinpath("assets", name).read_text(encoding="utf-8"))
