"""YAML as people mean it: `1e-4` is a number, `no` is a word, and a key given twice is a mistake."""

import re
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bnexp.config.text import ESCAPES, printable
from bnexp.errors import InputError

# What a YAML document may ask for: aliases written out, it stays small and flat, and it holds plain values only.
#
# The limits are checked while the document is put together, before any of its values exist, so that a file made to fill
# the memory is refused as soon as it crosses one.

LARGEST = 2**19
"""Characters of a document, both as it stands in its file and with every alias replaced by what it stands for."""
OVERHEAD = 8
"""Characters that a value counts besides its own: indentation, separator and line break."""
DEEPEST = 50
"""Levels that values may be nested in one another; a configuration needs seven."""
MOST_DIGITS = 300
"""Digits of a whole number: any of that many is a finite float too."""

TAG = "tag:yaml.org,2002:"
"""What `!!` stands for in YAML."""

_KINDS = {
    f"{TAG}map": yaml.MappingNode,
    f"{TAG}seq": yaml.SequenceNode,
    **dict.fromkeys((f"{TAG}{name}" for name in ("str", "int", "float", "bool", "null", "merge")), yaml.ScalarNode),
}


class _Extent(NamedTuple):
    """What a value takes with its aliases written out."""

    size: int
    """Characters."""
    levels: int
    """Levels below its own."""


class LimitedLoader(yaml.SafeLoader):
    """PyYAML's safe loader for small documents of text, numbers, lists and mappings, each key given once."""

    def __init__(self, text: str):
        super().__init__(text)
        self._extents: dict[yaml.Node, _Extent] = {}
        self._size = 0  # of all that is put together so far
        self._level = self._deepest = 0  # of the value that is being put together, and the deepest within it

    def compose_node(self, parent: yaml.Node | None, index: Any) -> Any:
        """Put a value together, or fetch the one that an alias stands for.

        Raises:
            yaml.MarkedYAMLError: it would be too much, its alias holds itself, or a key is given twice.
        """
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        size, deepest = self._size, self._deepest
        self._level += 1
        self._grow(event, OVERHEAD + len(getattr(event, "value", "")), levels=0)
        node: Any = super().compose_node(parent, index)
        if not isinstance(event, yaml.AliasEvent):
            _check_keys(node)
            self._extents[node] = _Extent(self._size - size, self._deepest - self._level)
        elif node in self._extents:
            self._grow(event, *self._extents[node])
        else:
            raise refusal(f"*{event.anchor} holds itself", event)
        self._level -= 1
        self._deepest = max(deepest, self._deepest)
        return node

    def _grow(self, event: yaml.Event, size: int, levels: int) -> None:
        self._size += size
        self._deepest = self._level + levels
        if self._size > LARGEST:
            raise refusal(f"with its aliases written out it is larger than {LARGEST:,} characters", event)
        if self._deepest > DEEPEST:
            raise refusal(f"nested more than {DEEPEST} levels deep", event)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value.

        Raises:
            yaml.MarkedYAMLError: its tag asks for anything else than a plain value, or for another than it is.
        """
        if not isinstance(node, _KINDS.get(node.tag, ())):
            tag = f"!!{node.tag.removeprefix(TAG)}" if node.tag.startswith(TAG) else node.tag
            raise refusal(f"{tag} is not used here; write text, numbers, lists and mappings without a tag", node)
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError):
            raise refusal(f"{node.value!r} is no {node.tag.removeprefix(TAG)}", node) from None


def _check_keys(node: yaml.Node) -> None:
    # Now and not as the mapping is made, when merging has put keys in that may be given anew.
    seen: set[str] = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.tag != f"{TAG}merge" and isinstance(key.value, str):
            if key.value in seen:
                raise refusal(f"{key.value} is given twice", key)
            seen.add(key.value)


def refusal(problem: str, place: Any) -> yaml.MarkedYAMLError:
    """Return the error that says what is wrong, and where."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


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
