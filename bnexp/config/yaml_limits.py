"""What a YAML document may ask for: aliases written out, it stays small and flat, and it holds plain values only.

The limits are checked while the document is put together, before any of its values exist, so that a file made to fill
the memory is refused as soon as it crosses one.
"""

from typing import Any, NamedTuple

import yaml

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
