"""YAML as people mean it: `1e-4` is a number, `no` is a word, and a key given twice is a mistake."""

import re
from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path
from typing import Any

import yaml

from bnexp.config.text import ESCAPES, printable
from bnexp.errors import ConfigError, InputError, Problem

LARGEST = 2**19
"""Characters of a document, both as it stands in its file and with its aliases written out."""
TOO_LARGE = f"larger than {LARGEST // 1024} KiB, which no configuration needs to be; ranges stand for long lists"
DEEPEST = 50
"""Levels that values may be nested in one another; a configuration needs seven."""
TOO_DEEP = f"nested more than {DEEPEST} levels deep"
MOST_DIGITS = 300
"""Digits of a whole number: any number of that many is a finite float too."""

TAG = "tag:yaml.org,2002:"
"""What `!!` stands for in YAML."""
_PLAIN = tuple(f"{TAG}{kind}" for kind in ("map", "seq", "str", "bool", "null"))
"""What PyYAML reads as YAML 1.2 does."""
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

    def get_single_node(self) -> Any:
        """Return the document before any of its values is made, so that one that would fill the memory never is.

        Raises:
            yaml.MarkedYAMLError: as _check.
        """
        node = super().get_single_node()
        if node is not None:
            _check(node, {})
        return node


def _check(node: yaml.Node, known: dict[yaml.Node, tuple[int, int] | None]) -> tuple[int, int]:
    """Return the characters of a value with its aliases written out, one more for each value in it, and its levels.

    Args:
        node: the value.
        known: the same of the values that were checked before; None for those that are being checked.

    Raises:
        yaml.MarkedYAMLError: it is too large or too deep, an alias holds itself, or a key is given twice.
    """
    if node not in known:
        known[node] = None
        _check_keys(node)
        parts = [_check(part, known) for part in _parts(node)]
        size = 1 + sum(size for size, _ in parts) + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
        levels = 1 + max((levels for _, levels in parts), default=0)
        if size > LARGEST:
            raise _refusal(f"with its aliases written out it is larger than {LARGEST:,} characters", node)
        if levels > DEEPEST:
            raise _refusal(TOO_DEEP, node)
        known[node] = size, levels
    if (extent := known[node]) is None:
        raise _refusal("an alias within it stands for all of it", node)
    return extent


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        yield from (part for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _check_keys(node: yaml.Node) -> None:
    seen: set[str] = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode) and key.tag != f"{TAG}merge":
            if key.value in seen:
                raise _refusal(f"{key.value} is given twice", key)
            seen.add(key.value)


def _refusal(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > MOST_DIGITS:
        raise _refusal(f"a whole number of {len(node.value)} digits; at most {MOST_DIGITS} are read", node)
    return int(loader.construct_scalar(node))


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    # Python writes infinities and NaN without the dot.
    return float(re.sub(r"\.(?=[in])", "", loader.construct_scalar(node).lower()))


def _unknown_tag(loader: _Loader, node: yaml.Node) -> None:
    tag = f"!!{node.tag.removeprefix(TAG)}" if node.tag.startswith(TAG) else node.tag
    raise _refusal(f"{tag} is not used here; write text, numbers, lists and mappings without a tag", node)


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"{TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _first)
_Loader.yaml_constructors = {
    **{tag: yaml.SafeLoader.yaml_constructors[tag] for tag in _PLAIN},
    f"{TAG}int": _integer,
    f"{TAG}float": _float,
    f"{TAG}merge": lambda loader, node: loader.construct_scalar(node),  # as a value, << is text
    None: _unknown_tag,
}


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
        InputError: it is not YAML, or more than a configuration may be; the message names the source, and mostly line
            and column.
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
    except RecursionError:
        raise InputError(f"{source}: not valid YAML: {TOO_DEEP}") from None


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


def plain(value: Any, key: str = "", level: int = 0) -> Any:
    """Return a value in the types that a file is read into: dict, list, str, int, float, bool and None.

    Scripts also pass what is as good: tuples, other mappings, and subclasses such as NumPy's float64 or enums.

    Raises:
        ConfigError: no file could hold it; the problem has its place, but no source.
    """
    if level > DEEPEST:
        raise ConfigError([Problem("", printable(key), TOO_DEEP)])
    if isinstance(value, Mapping):
        names = [_plain_scalar(name, key, "a key is ") for name in value]
        places = [f"{key}.{name}".lstrip(".") for name in names]
        return {
            name: plain(inner, place, level + 1)
            for name, place, inner in zip(names, places, value.values(), strict=True)
        }
    if isinstance(value, list | tuple):
        return [plain(inner, f"{key}[{place}]", level + 1) for place, inner in enumerate(value)]
    return _plain_scalar(value, key)


def _plain_scalar(value: Any, key: str, what: str = "") -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and abs(value) < 10**MOST_DIGITS:
        return int(value)
    if isinstance(value, str) and value.encode(errors="ignore").decode() == value:
        return str.__str__(value)  # str() of an enum may be its name
    problem = {int: f"a whole number of more than {MOST_DIGITS} digits", str: "text that can't be written as UTF-8"}
    other = f"of type {type(value).__name__}, expected text, a number, true, false, null, a list or a mapping"
    raise ConfigError([Problem("", printable(key), what + problem.get(type(value), other))])
