"""YAML as people mean it: `1e-4` is a number, `no` is a word, and a key given twice is a mistake."""

import re
from math import inf
from pathlib import Path
from typing import Any

import yaml

from bnexp.config.text import ESCAPES, printable
from bnexp.config.yaml_limits import LARGEST, MOST_DIGITS, TAG, LimitedLoader, refusal
from bnexp.errors import InputError

TOO_LARGE = f"larger than {LARGEST // 1024} KiB, which no configuration needs to be; ranges stand for long lists"


class _Loader(LimitedLoader):
    """The loader with the plain scalars of YAML 1.2 instead of 1.1."""


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"{TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _first)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > MOST_DIGITS:
        raise refusal(f"a whole number of {len(node.value)} digits; at most {MOST_DIGITS} are read", node)
    return int(node.value)


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    # Python writes infinities and NaN without the dot.
    return float(re.sub(r"\.(?=[in])", "", node.value.lower()))


_Loader.add_constructor(f"{TAG}int", _integer)
_Loader.add_constructor(f"{TAG}float", _float)
# As a value, << is text.
_Loader.add_constructor(f"{TAG}merge", lambda loader, node: node.value)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which also puts quotes around text that only the loader above takes for something else."""


_Dumper.yaml_implicit_resolvers = {
    first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *_Loader.yaml_implicit_resolvers.get(first, [])]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}


def to_yaml(value: Any) -> str:
    """Return a value as YAML that `parse` reads back to it, and so does any other reader."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def flow(value: Any) -> str:
    """Return a value as YAML in one line, with brackets."""
    text: str = yaml.dump(
        [value], Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=inf
    )
    return text.strip()[1:-1]


def parse(text: str, source: str) -> Any:
    """Return what a piece of YAML says: text, numbers, booleans and None, in lists and mappings.

    Raises:
        InputError: it is not YAML, or more than a configuration may be (see yaml_limits); the message names the
            source, and mostly line and column.
    """
    if len(text) > LARGEST:
        raise InputError(f"{source}: {TOO_LARGE}")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        problem = str(error.problem or error.context)
        hint = ESCAPES if "escape" in problem else ""
        raise InputError(f"{source}:{place} not valid YAML: {printable(problem)}{hint}") from None
    except (yaml.YAMLError, ValueError, KeyError) as error:
        raise InputError(f"{source}: not valid YAML: {printable(str(error).splitlines()[0])}") from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping; of a pipe or a device no more than a file may hold.

    Raises:
        InputError: no such file, not text, too large, not YAML, or something else than a mapping at the top.
    """
    raw = parse(_text(path), str(path))
    if not isinstance(raw, dict):
        kind = {list: "a list", str: "text", type(None): "nothing"}.get(type(raw), "a single value")
        raise InputError(f"{path}: expected a mapping of keys (name:, model:, train:, …) at the top, found {kind}")
    return raw


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror).lower()
        raise InputError(f"{path}: {reason}") from None
    if len(content) > LARGEST:
        raise InputError(f"{path}: {TOO_LARGE}")
    try:
        if b"\0" in content:  # UTF-16, or no text at all
            raise UnicodeError
        return content.decode()
    except UnicodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
