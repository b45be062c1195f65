"""YAML as people mean it: `1e-4` is a number, `no` is a word, and a key given twice is a mistake."""

import re
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

import yaml

from bnexp.config.text import ESCAPES, printable
from bnexp.errors import ConfigError, InputError, Problem

DEEPEST = 50
"""Levels that values may be nested in one another; a configuration needs seven."""
LARGEST = 10**300
"""A whole number beyond it counts as infinite, as in floating point."""

HINTS = {
    "\\t": "; indent with spaces, not with tabs",
    "mapping values are not allowed": "; text with a colon needs quotes, a key needs a space after its colon, and the "
    "keys of a section need the same indentation",
}
"""The remedy by a part of PyYAML's message."""

TAG = "tag:yaml.org,2002:"
"""Stands for `!!` in YAML."""
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
)
"""Plain scalars of YAML 1.2: the tag, how they look, and what they may begin with."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader for text, numbers, lists and mappings as in YAML 1.2."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping in which no key is given twice."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != f"{TAG}merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return node


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    # Python writes infinities and NaN without the dot.
    return float(re.sub(r"\.(?=[in])", "", loader.construct_scalar(node).lower()))


def _unknown_tag(loader: _Loader, node: yaml.Node) -> None:
    tag = f"!!{node.tag.removeprefix(TAG)}" if node.tag.startswith(TAG) else node.tag
    problem = f"{tag} is not used here; write text, numbers, lists and mappings without a tag"
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"{TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _first)
_KINDS = ("map", "seq", "str", "bool", "null")
_Loader.yaml_constructors = {
    **{f"{TAG}{kind}": yaml.SafeLoader.yaml_constructors[f"{TAG}{kind}"] for kind in _KINDS},
    f"{TAG}int": lambda loader, node: int(loader.construct_scalar(node)),
    f"{TAG}float": _float,
    None: _unknown_tag,
}


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which also quotes text that only the loader above would read as something else."""


_Dumper.yaml_implicit_resolvers = {
    first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *_Loader.yaml_implicit_resolvers.get(first, [])]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}


_Dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)  # keyword arguments of networks are one, too


def to_yaml(value: Any, *, width: float = 80) -> str:
    """Return a value as YAML that `parse` and any other reader turn back into it.

    Text goes on in another line behind the first word that is beyond the width.
    """
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)
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
        InputError: it is not YAML; the message names the source, and mostly line and column.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        problem = str(error.problem or error.context)
        hint = ESCAPES if "escape" in problem else _hint(problem, error)
        raise InputError(f"{source}:{place} not valid YAML: {printable(problem)}{hint}") from None
    except (yaml.YAMLError, ValueError, KeyError, RecursionError) as error:
        raise InputError(f"{source}: not valid YAML: {printable(str(error).splitlines()[0])}") from None


def _hint(problem: str, error: yaml.MarkedYAMLError) -> str:
    opened = error.context_mark
    if opened and error.problem_mark and opened.line < error.problem_mark.line and "block" not in str(error.context):
        return f"; what line {opened.line + 1}, column {opened.column + 1} opens is not closed"
    return next((hint for said, hint in HINTS.items() if said in problem), "")


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        InputError: no such file, not text, not YAML, or something else than a mapping at the top.
    """
    try:
        raw = parse(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror).lower()
        if isinstance(error, IsADirectoryError):
            reason = "is a folder; expected a YAML file"
        raise InputError(f"{path}: {reason}") from None
    except UnicodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    if not isinstance(raw, dict):
        kind = {list: "a list", str: "text", type(None): "nothing"}.get(type(raw), "a single value")
        raise InputError(f"{path}: expected a mapping of keys (name:, model:, train:, …) at the top, found {kind}")
    return raw


def plain(value: Any, key: str = "", level: int = 0) -> Any:
    """Return a value in the types that a file is read into: dict, list, str, int, float, bool and None.

    Scripts may also pass similar types: tuples, other mappings, and subclasses such as NumPy's float64 or enums.

    Raises:
        ConfigError: no file could hold it; the problem has its place, but no source.
    """
    if level > DEEPEST:
        raise ConfigError([Problem("", printable(key), f"nested more than {DEEPEST} levels deep")])
    if isinstance(value, Mapping):
        return {name: plain(each, f"{key}.{name}".lstrip("."), level + 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, f"{key}[{place}]", level + 1) for place, each in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # str() of an enum may be its name
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value) if abs(value) < LARGEST else inf
    expected = "expected text, a number, true, false, null, a list or a mapping"
    raise ConfigError([Problem("", printable(key), f"of type {type(value).__name__}, {expected}")])
